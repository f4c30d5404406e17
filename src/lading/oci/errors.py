"""The error catalogue: one row for each answer a client can be refused with.

`Code` rows carry what the client sees (specification: "Error Codes"); calling a row makes the exception to
raise. Two rows may share a wire code and differ in HTTP status.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Code:
    """One row of the catalogue: the code on the wire, the HTTP status, the default message."""

    code: str
    status: int
    message: str

    def __call__(self, detail: Any = None, message: str | None = None) -> RegistryError:
        return RegistryError([Entry(self, detail, message)])


@dataclass(frozen=True, slots=True)
class Entry:
    """One error of an answer; `detail` is any JSON value, `None` leaves it out."""

    code: Code
    detail: Any = None
    message: str | None = None


@dataclass
class RegistryError(Exception):
    """A refusal with a place in the catalogue. The status of the answer is that of the first entry.

    `retry_after` is in seconds; 0 says nothing.
    """

    entries: list[Entry] = field(default_factory=list)
    retry_after: float = 0.0

    @property
    def status(self) -> int:
        return self.entries[0].code.status

    def __str__(self) -> str:
        return "; ".join(f"{e.code.code}: {e.message or e.code.message} ({e.detail})" for e in self.entries)


UNKNOWN = Code("UNKNOWN", 500, "unknown error")
UNSUPPORTED = Code("UNSUPPORTED", 405, "The operation is unsupported.")
UNAVAILABLE = Code("UNAVAILABLE", 503, "service unavailable")
STORAGE_FULL = Code("UNAVAILABLE", 507, "the registry has no space left to store this content")
UNAUTHORIZED = Code("UNAUTHORIZED", 401, "authentication required")
UPSTREAM_DOWN = Code("UNAVAILABLE", 503, "the upstream registry does not answer as it should")
UPSTREAM_WRONG = Code("UNAVAILABLE", 502, "the upstream registry sends what was not asked for")
TOO_MANY_REQUESTS = Code("TOOMANYREQUESTS", 429, "too many requests")
DENIED = Code("DENIED", 403, "requested access to the resource is denied")
TAG_IMMUTABLE = Code("DENIED", 403, "the tag is immutable")

NAME_INVALID = Code("NAME_INVALID", 400, "invalid repository name")
NAME_UNKNOWN = Code("NAME_UNKNOWN", 404, "repository name not known to registry")
TAG_INVALID = Code("TAG_INVALID", 400, "manifest tag did not match URI")
TOO_MANY_TAGS = Code("TAG_INVALID", 414, "too many tags in one request")
DIGEST_INVALID = Code("DIGEST_INVALID", 400, "provided digest did not match uploaded content")
PAGINATION_NUMBER_INVALID = Code("PAGINATION_NUMBER_INVALID", 400, "invalid number of results requested")

MANIFEST_UNKNOWN = Code("MANIFEST_UNKNOWN", 404, "manifest unknown")
MANIFEST_INVALID = Code("MANIFEST_INVALID", 400, "manifest invalid")
MANIFEST_TOO_LARGE = Code("MANIFEST_INVALID", 413, "manifest exceeds the size limit")
MANIFEST_BLOB_UNKNOWN = Code("MANIFEST_BLOB_UNKNOWN", 400, "blob unknown to registry")

BLOB_UNKNOWN = Code("BLOB_UNKNOWN", 404, "blob unknown to registry")
BLOB_UPLOAD_UNKNOWN = Code("BLOB_UPLOAD_UNKNOWN", 404, "blob upload unknown to registry")
BLOB_UPLOAD_STATE_INVALID = Code("BLOB_UPLOAD_INVALID", 404, "blob upload invalid")
BLOB_UPLOAD_MEDIA_TYPE = Code("BLOB_UPLOAD_INVALID", 415, "blob upload invalid")
SIZE_INVALID = Code("SIZE_INVALID", 400, "provided length did not match content length")
RANGE_INVALID = Code("RANGE_INVALID", 416, "invalid content range")
CLIENT_CLOSED = Code("UNKNOWN", 499, "the client closed the connection")
REQUEST_TIMEOUT = Code("BLOB_UPLOAD_INVALID", 408, "the request body stalled")
