"""What the nodes of the stand-in share: containers, objects, the index over them, the rules for new ones."""

from __future__ import annotations

import hashlib
import math
import random
import threading
import uuid
from typing import Any

from tests.frostfs.wire import Refused, base58, canonical, owner_of, pb, valid

GET, HEAD, PUT, DELETE, SEARCH, RANGE = range(6)
PUBLIC = 0x0FFFFFFF
PRIVATE = 0x1C8C8CCC
EXPIRATION = ("__NEOFS__EXPIRATION_EPOCH", "__SYSTEM__EXPIRATION_EPOCH")


class Store:
    def __init__(self, max_object_size: int = 64 * 1024) -> None:
        self.lock = threading.RLock()
        self.max_object_size = max_object_size
        self.epoch = 10
        self.containers: dict[bytes, Any] = {}
        self.objects: dict[bytes, tuple[Any, bytes]] = {}
        """Header and payload of what is stored."""
        self.signatures: dict[bytes, Any] = {}
        self.parents: dict[bytes, Any] = {}
        """Headers of objects that only exist in parts."""
        self.removed: set[bytes] = set()
        self.locked: set[bytes] = set()
        self.lagging: set[bytes] = set()
        """Ids that a search still gives although they are gone."""

    def add_container(self, owner: bytes, basic_acl: int = PUBLIC) -> bytes:
        container = pb.Container(
            version=pb.Version(major=2, minor=14),
            owner_id=pb.ID(value=owner),
            nonce=uuid.uuid4().bytes,
            basic_acl=basic_acl,
        )
        found = hashlib.sha256(canonical(container)).digest()
        self.containers[found] = container
        return found

    def allow(self, container: bytes, who: bytes, operation: int) -> None:
        found = self.containers.get(container)
        if found is None:
            raise Refused(3072, "container not found")
        bit = 3 if found.owner_id.value == who else 1
        if not found.basic_acl >> (4 * operation + bit) & 1:
            raise Refused(2048, "basic ACL check failed")

    def validate(self, object_id: bytes, signature: Any, header: Any, payload: bytes | None) -> None:
        """The rules for an object that comes prepared."""
        keys = [pair.key for pair in header.attributes]
        rules = {
            "container": header.container_id.value in self.containers,
            "owner": len(header.owner_id.value) == 25,
            "duplicate attributes": len(set(keys)) == len(keys),
            "empty attribute": all(pair.key and pair.value for pair in header.attributes),
            "payload checksum": header.payload_hash.type == 2 and len(header.payload_hash.sum) == 32,
            "id": hashlib.sha256(canonical(header)).digest() == object_id,
            "signature": valid(signature, canonical(pb.ID(value=object_id))),
            "signer": self._speaks(signature.key, header),
            "creation epoch": header.creation_epoch <= self.epoch,
            "expired": self._expires(header) >= self.epoch,
            "header size": len(canonical(header)) <= 16 * 1024,
        }
        if payload is not None:
            rules["too large"] = len(payload) <= self.max_object_size
            rules["payload length"] = len(payload) == header.payload_length
            rules["payload hash"] = hashlib.sha256(payload).digest() == header.payload_hash.sum
        for rule, kept in rules.items():
            if not kept:
                raise Refused(1024, f"invalid object: {rule}")
        split = header.split
        if header.HasField("split") and split.HasField("parent_header"):
            self.validate(split.parent.value, split.parent_signature, split.parent_header, None)

    def _speaks(self, key: bytes, header: Any) -> bool:
        """Whether the key is the owner's, or that of a session the owner has opened."""
        token = header.session_token
        if header.HasField("session_token") and token.body.session_key == key:
            key = token.signature.key if valid(token.signature, canonical(token.body)) else b""
        return owner_of(key) == header.owner_id.value

    def _expires(self, header: Any) -> float:
        """The last epoch the object is there."""
        for pair in header.attributes:
            if pair.key in EXPIRATION:
                return int(pair.value) if pair.value.isdecimal() else -1
        return math.inf

    def put(self, object_id: bytes, signature: Any, header: Any, payload: bytes) -> None:
        with self.lock:
            self.validate(object_id, signature, header, payload)
            if object_id in self.removed:
                raise Refused(2052, "object already removed")
            self.objects[object_id] = header, payload
            self.signatures[object_id] = signature
            if header.split.HasField("parent_header"):
                self.parents[header.split.parent.value] = header.split.parent_header
                self.signatures[header.split.parent.value] = header.split.parent_signature

    def header(self, object_id: bytes) -> Any:
        with self.lock:
            if object_id in self.removed:
                raise Refused(2052, "object already removed")
            if object_id in self.objects:
                return self.objects[object_id][0]
            if object_id in self.parents:
                return self.parents[object_id]
        raise Refused(2049, "object not found")

    def split_info(self, parent: bytes) -> Any:
        info = pb.SplitInfo()
        for object_id, (header, _) in self.objects.items():
            if header.split.parent.value == parent and object_id not in self.removed:
                info.split_id = header.split.split_id
                (info.link if header.split.children else info.last_part).value = object_id
        return info

    def payload(self, object_id: bytes) -> bytes:
        """Put together by the link, or without one from the last part back."""
        header = self.header(object_id)
        with self.lock:
            if object_id in self.objects:
                return self.objects[object_id][1]
            info = self.split_info(object_id)
            if info.HasField("link"):
                link = self.objects[info.link.value][0]
                assert canonical(link.split.parent_header) == canonical(header)
                ids = [child.value for child in link.split.children]
            else:
                ids = [info.last_part.value]
                while previous := self.header(ids[0]).split.previous.value:
                    ids.insert(0, previous)
            payload = b"".join(self.payload(each) for each in ids)
        if len(payload) != header.payload_length or hashlib.sha256(payload).digest() != header.payload_hash.sum:
            raise Refused(1024, "the parts are not the whole")
        return payload

    def delete(self, object_id: bytes, owner: bytes) -> bytes:
        with self.lock:
            header = self.header(object_id)
            members = {object_id}
            if object_id not in self.objects:
                split_id = self.split_info(object_id).split_id
                members |= {each for each, (other, _) in self.objects.items() if other.split.split_id == split_id}
            if members & self.locked:
                raise Refused(2050, "object is locked")
            self.removed |= members
            tombstone = pb.Header(
                version=pb.Version(major=2, minor=14),
                container_id=header.container_id,
                owner_id=pb.ID(value=owner),
                object_type=1,
                creation_epoch=self.epoch,
                attributes=[pb.Pair(key="Deleted", value=uuid.uuid4().hex)],
            )
            found = hashlib.sha256(canonical(tombstone)).digest()
            self.objects[found] = tombstone, b"".join(members)
            return found

    def search(self, container: bytes, filters: Any) -> list[bytes]:
        with self.lock:
            headers = {each: header for each, (header, _) in self.objects.items()} | self.parents
            gone = self.removed - self.lagging
            found = [
                each
                for each, header in headers.items()
                if each not in gone
                and header.container_id.value == container
                and all(self._meets(each, header, wanted) for wanted in filters)
            ]
        random.Random(len(found)).shuffle(found)
        return found

    def _meets(self, object_id: bytes, header: Any, wanted: Any) -> bool:
        if wanted.key == "$Object:PHY":
            return object_id in self.objects
        if wanted.key == "$Object:ROOT":
            return header.object_type == 0 and not header.HasField("split")
        value = _value(object_id, header, wanted.key)
        match wanted.match_type:
            case 1:  # equal
                return value == wanted.value
            case 2:  # not equal
                return value is not None and value != wanted.value
            case 3:  # not present
                return value is None
            case 4:  # common prefix
                return value is not None and value.startswith(wanted.value)
        raise Refused(1024, f"unsupported match {wanted.match_type}")


def _value(object_id: bytes, header: Any, key: str) -> str | None:
    """What a filter of that key is compared with."""
    if not key.startswith("$Object:"):
        return next((pair.value for pair in header.attributes if pair.key == key), None)
    split = header.split
    fields: dict[str, str | None] = {
        "version": f"v{header.version.major}.{header.version.minor}",
        "objectID": base58(object_id),
        "containerID": base58(header.container_id.value),
        "ownerID": base58(header.owner_id.value),
        "creationEpoch": str(header.creation_epoch),
        "payloadLength": str(header.payload_length),
        "payloadHash": header.payload_hash.sum.hex(),
        "objectType": ("REGULAR", "TOMBSTONE", "STORAGE_GROUP", "LOCK")[header.object_type],
        "split.parent": base58(split.parent.value) if split.HasField("parent") else None,
        "split.splitID": str(uuid.UUID(bytes=split.split_id)) if split.split_id else None,
    }
    name = key.removeprefix("$Object:")
    if name not in fields:
        raise Refused(1024, f"unsupported filter {key}")
    return fields[name]
