"""The `_state` token of an upload's URL: signed, so that any process with the secret can continue the session.

Byte-compatible with the original: base64url of an HMAC-SHA256 and the JSON document it signs. A hash algorithm
other than SHA-256 is added as a field of our own, which the original ignores.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass

import orjson

from lading.oci import errors
from lading.oci.digest import CANONICAL, HEX_DIGITS
from lading.registry.uploads import Upload

_MAC_BYTES = 32
_MAX_TOKEN = 4096


@dataclass(frozen=True, slots=True)
class State:
    """What the client was told last of its session."""

    name: str
    id: str
    offset: int
    started_at: str
    algorithm: str = CANONICAL


@dataclass(frozen=True, slots=True)
class StateTokens:
    secret: bytes

    def issue(self, upload: Upload, algorithm: str = CANONICAL) -> str:
        document: dict[str, object] = {
            "Name": upload.name,
            "UUID": upload.id,
            "Offset": upload.offset,
            "StartedAt": upload.started_at,
        }
        if algorithm != CANONICAL:
            document["Algorithm"] = algorithm
        payload = orjson.dumps(document)
        return base64.urlsafe_b64encode(self._mac(payload) + payload).decode("ascii")

    def verify(self, token: str) -> State:
        """Raises BLOB_UPLOAD_INVALID."""
        try:
            if len(token) > _MAX_TOKEN:
                raise ValueError("invalid secret")
            signed = base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True)
            mac, payload = signed[:_MAC_BYTES], signed[_MAC_BYTES:]
            if not hmac.compare_digest(mac, self._mac(payload)):
                raise ValueError("invalid secret")
            return _parse(payload)
        except (binascii.Error, UnicodeEncodeError) as error:
            raise errors.BLOB_UPLOAD_STATE_INVALID(detail="malformed _state") from error
        except ValueError as error:
            raise errors.BLOB_UPLOAD_STATE_INVALID(detail=str(error)) from error

    def _mac(self, payload: bytes) -> bytes:
        return hmac.digest(self.secret, payload, hashlib.sha256)


def _parse(payload: bytes) -> State:
    """Raises `ValueError`. The payload is ours or the original's: it is signed."""
    document = orjson.loads(payload)
    if not isinstance(document, dict):
        raise ValueError("malformed _state")
    name, upload_id, offset = document.get("Name"), document.get("UUID"), document.get("Offset")
    if not isinstance(name, str) or not isinstance(upload_id, str) or not isinstance(offset, int):
        raise ValueError("malformed _state")
    algorithm, started_at = document.get("Algorithm", CANONICAL), document.get("StartedAt")
    if not isinstance(algorithm, str) or algorithm not in HEX_DIGITS:
        algorithm = CANONICAL
    return State(name, upload_id, offset, started_at if isinstance(started_at, str) else "", algorithm)
