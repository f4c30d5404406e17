"""The messages of the protocol (API 2.14): what goes into a request, and what an answer says of an object."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass
from typing import NamedTuple

from lading.registry.ports import StorageError
from lading.storage.frostfs.encoding import Message, Nested, Value, encode
from lading.storage.frostfs.signing import Key

DRIVER = "frostfs"

VERSION = encode((1, 2), (2, 14))

FILE_PATH, FILE_NAME, TIMESTAMP = "FilePath", "FileName", "Timestamp"
"""What the Go driver writes of each object: the key, its last component, seconds since 1970."""
NONCE = "RegistryNonce"
"""Nanoseconds since 1970 and something random: orders the objects of one key, and makes their ids differ."""
UPLOAD = "RegistryUpload"
"""On the object that stands at the key of an unfinished object: the split id of its parts."""
STATE = "sha256state"
"""On a part: the state, after it, of the SHA-256 of the whole object, as Go writes it, in hexadecimal."""

_EQUAL, _PREFIX = 1, 4
_SHA256 = 2

Filter = tuple[int, str, str]

ROOT: Filter = (0, "$Object:ROOT", "")
PHYSICAL: Filter = (0, "$Object:PHY", "")


def equals(key: str, value: str) -> Filter:
    return (_EQUAL, key, value)


def starts_with(key: str, value: str) -> Filter:
    return (_PREFIX, key, value)


def parts_of(split_id: bytes) -> tuple[Filter, ...]:
    """The objects a split object is made of, its link among them."""
    return PHYSICAL, equals("$Object:split.splitID", str(uuid.UUID(bytes=split_id)))


ACCESS_DENIED, NOT_FOUND, ALREADY_REMOVED = 2048, 2049, 2052
TOKEN_NOT_FOUND, TOKEN_EXPIRED = 4096, 4097
INTERNAL, MAINTENANCE = 1024, 1027

_STATUSES = {
    INTERNAL: "internal error of a node",
    1025: "wrong network magic",
    1026: "a node does not accept our signature",
    MAINTENANCE: "node under maintenance",
    ACCESS_DENIED: "access denied",
    NOT_FOUND: "object not found",
    2050: "object is locked",
    2051: "object cannot be locked",
    ALREADY_REMOVED: "object already removed",
    2053: "out of range",
    3072: "container not found",
    3073: "container has no access rules",
    3074: "access to the container denied",
    TOKEN_NOT_FOUND: "session not found",
    TOKEN_EXPIRED: "session has expired",
}


class StatusError(StorageError):
    """A node refused. `code` is the status, which the text names."""

    def __init__(self, code: int, said: str) -> None:
        what = _STATUSES.get(code, "refused")
        super().__init__(DRIVER, f"{what} (status {code}){f': {said}' if said else ''}")
        self.code = code

    @property
    def gone(self) -> bool:
        """The object is not there, or no longer."""
        return self.code in (NOT_FOUND, ALREADY_REMOVED)


def meta(token: Nested | None = None) -> Nested:
    """The header of every request: version, two hops, and the session."""
    return encode((1, VERSION), (3, 2), (5, token))


def identifier(value: bytes) -> Nested:
    """A message of `ObjectID`, `ContainerID`, `OwnerID`."""
    return encode((1, value))


def address(container: bytes, object_id: bytes) -> Nested:
    return encode((1, identifier(container)), (2, identifier(object_id)))


def lifetime_token(key: Key, owner: bytes, session: Message, container: bytes, expires: int, verb: int) -> Nested:
    """A token that lets a node act for the owner on every object of the container, up to an epoch."""
    context = encode((1, verb), (2, encode((1, identifier(container)))))
    body = encode(
        (1, session.data(1)),
        (2, identifier(owner)),
        (3, encode((1, expires))),
        (4, session.data(2)),
        (5, context),
    )
    return encode((1, body), (2, key.sign(body)))


def search(container: bytes, filters: tuple[Filter, ...]) -> Nested:
    encoded = [encode((1, match), (2, key), (3, value)) for match, key, value in filters]
    return encode((1, identifier(container)), (2, 1), (3, encoded))


@dataclass(frozen=True, slots=True)
class Author:
    """In whose name objects are made, and where."""

    key: Key
    owner: bytes
    container: bytes

    def header(
        self, epoch: int, size: int, digest: bytes, attributes: list[tuple[str, str]], split: Nested | None = None
    ) -> Nested:
        """The header of an object; its id is the hash of it."""
        return encode(
            (1, VERSION),
            (2, identifier(self.container)),
            (3, identifier(self.owner)),
            (4, epoch),
            (5, size),
            (6, encode((1, _SHA256), (2, digest))),
            (10, [encode((1, key), (2, value)) for key, value in attributes]),
            (11, split),
        )

    def signed(self, header: Nested) -> tuple[bytes, Nested]:
        """The id of the object with that header, and the signature over it."""
        object_id = hashlib.sha256(header).digest()
        return object_id, self.key.sign(identifier(object_id))


@dataclass(frozen=True, slots=True)
class Parent:
    """The object that parts are parts of. It is never sent: nodes know it by its last part and its link."""

    id: bytes
    signature: Nested
    header: Nested


def split(
    split_id: bytes, previous: bytes = b"", parent: Parent | None = None, children: list[bytes] | None = None
) -> Nested:
    fields: list[tuple[int, Value]] = [
        (1, identifier(parent.id) if parent else None),
        (2, identifier(previous) if previous else None),
        (3, parent.signature if parent else None),
        (4, parent.header if parent else None),
        (5, [identifier(child) for child in children or ()]),
        (6, split_id),
    ]
    return encode(*fields)


class Info(NamedTuple):
    """What the header of an object says, as far as it is needed here. `order` ranks the objects of one key."""

    id: bytes
    path: str
    size: int
    digest: bytes
    order: int
    upload: bytes
    previous: bytes
    has_parent: bool
    is_link: bool
    state: str

    @property
    def modified(self) -> float:
        return self.order / 1e9


def info(object_id: bytes, header: Message) -> Info:
    """Raises `EncodingError`."""
    attributes = {}
    for raw in header.all(10):
        attribute = Message(raw)
        attributes[attribute.text(1)] = attribute.text(2)
    nanoseconds = attributes.get(NONCE, "").partition("-")[0]
    if nanoseconds.isdecimal():
        order = int(nanoseconds)
    else:
        seconds = attributes.get(TIMESTAMP, "")
        order = int(seconds) * 10**9 if seconds.isdecimal() else 0
    chain = header.message(11)
    return Info(
        object_id,
        attributes.get(FILE_PATH, ""),
        header.number(5),
        header.message(6).data(2) if header.message(6).number(1) == _SHA256 else b"",
        order,
        _uuid_bytes(attributes.get(UPLOAD, "")),
        chain.message(2).data(1),
        chain.has(1),
        chain.has(5),
        attributes.get(STATE, ""),
    )


def _uuid_bytes(text: str) -> bytes:
    try:
        return uuid.UUID(text).bytes if text else b""
    except ValueError:
        return b""
