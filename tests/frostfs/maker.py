"""Objects that a node of the stand-in makes for a client that only names them: it hashes, splits and signs."""

from __future__ import annotations

import hashlib
import uuid
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from tests.frostfs.store import Store
from tests.frostfs.wire import canonical, pb, sign


class Maker:
    """In the name of the owner who gave the session's `token`; `key` is the session's."""

    def __init__(self, store: Store, key: ec.EllipticCurvePrivateKey, token: Any) -> None:
        self._store = store
        self._key = key
        self._token = token

    def make(self, wanted: Any, payload: bytes) -> bytes:
        """The id of an object with the container, owner and attributes that are wanted."""
        size = self._store.max_object_size
        whole = self._header(wanted, payload)
        whole.attributes.extend(wanted.attributes)
        if len(payload) <= size:
            return self._put(whole, payload)
        split_id, ids, parent = uuid.uuid4().bytes, list[bytes](), self._parent(whole)
        for start in range(0, len(payload), size):
            part = payload[start : start + size]
            header = self._header(wanted, part)
            header.split.split_id = split_id
            if ids:
                header.split.previous.value = ids[-1]
            if start + size >= len(payload):
                header.split.MergeFrom(parent)
            ids.append(self._put(header, part))
        link = self._header(wanted, b"")
        link.split.MergeFrom(parent)
        link.split.split_id = split_id
        link.split.children.extend(pb.ID(value=each) for each in ids)
        self._put(link, b"")
        found: bytes = parent.parent.value
        return found

    def _header(self, wanted: Any, payload: bytes) -> Any:
        return pb.Header(
            version=pb.Version(major=2, minor=14),
            container_id=wanted.container_id,
            owner_id=wanted.owner_id,
            creation_epoch=self._store.epoch,
            payload_length=len(payload),
            payload_hash=pb.Checksum(type=2, sum=hashlib.sha256(payload).digest()),
            session_token=self._token,
        )

    def _signed(self, header: Any) -> tuple[bytes, Any]:
        object_id = hashlib.sha256(canonical(header)).digest()
        return object_id, sign(self._key, canonical(pb.ID(value=object_id)))

    def _parent(self, header: Any) -> Any:
        object_id, signature = self._signed(header)
        return pb.Split(parent=pb.ID(value=object_id), parent_signature=signature, parent_header=header)

    def _put(self, header: Any, payload: bytes) -> bytes:
        object_id, signature = self._signed(header)
        self._store.put(object_id, signature, header, payload)
        return object_id
