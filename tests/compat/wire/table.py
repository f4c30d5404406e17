"""What one row of the wire comparison is, and how two answers to it are compared."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.message import Message
from http.client import IncompleteRead
from typing import Any

from tests.servers.client import ACCEPT, Answer, Client

HEADERS = [
    "Accept-Ranges",
    "Allow",
    "Cache-Control",
    "Content-Length",
    "Content-Range",
    "Content-Type",
    "Docker-Content-Digest",
    "Docker-Distribution-API-Version",
    "Docker-Upload-UUID",
    "ETag",
    "Link",
    "Location",
    "OCI-Filters-Applied",
    "OCI-Subject",
    "OCI-Tag",
    "Range",
    "WWW-Authenticate",
    "X-Content-Type-Options",
    "X-Of-The-Test",
]

_VARIABLE = [
    (re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "UUID"),
    (re.compile(r"_state=[A-Za-z0-9_%=-]+"), "_state=STATE"),
    (re.compile(r"127\.0\.0\.1:\d+"), "HOST"),
]

_SHORT = [
    (re.compile(r"([0-9a-zA-Z]{6})[0-9a-zA-Z]{26,}"), r"\1~"),
    (re.compile(r"application/vnd\.(?:oci|docker)(?:\.image|\.distribution)?\."), "~"),
]


@dataclass(frozen=True)
class Expected:
    """What one side answers where the two are meant to differ. What is not named is not looked at."""

    status: int
    """0 where the connection is closed without a whole answer."""
    code: str | None = None
    """The code of the first error in the body."""
    headers: Mapping[str, str | None] = field(default_factory=dict)
    """Normalised values; None where the header must be absent."""
    body: str | None = None

    def check(self, answer: Answer) -> None:
        seen = normalised(answer)
        assert seen["status"] == self.status, str(answer)
        if self.code is not None:
            assert answer.json()["errors"][0]["code"] == self.code, str(answer)
        for name, value in self.headers.items():
            assert seen["headers"].get(name) == value, f"{name}: expected {value}: {answer}"
        if self.body is not None:
            assert seen["body"] == self.body, str(answer)


@dataclass(frozen=True)
class Difference:
    """An intended one. `why` is a number in the register of defects (reference, section 11) or a section."""

    why: str
    distribution: Expected
    lading: Expected


@dataclass(frozen=True)
class Case:
    """One request. The target and the header values may name what `Place` prepares, in braces."""

    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | tuple[bytes, ...] | None = None
    """Several pieces are sent with chunked transfer encoding."""
    differs: Difference | None = None
    note: str = ""

    @property
    def title(self) -> str:
        """What the row is called in reports: the request, with long words cut."""
        shown = [f"{name}={value.replace(ACCEPT, 'all')}" for name, value in self.headers.items()]
        words = " ".join([self.method, self.target, *shown, self.note]).strip()
        for pattern, short in _SHORT:
            words = pattern.sub(short, words)
        return words


def normalised(answer: Answer) -> dict[str, Any]:
    """The parts of an answer that are compared, without what differs between any two runs."""
    headers = {
        name: _without_variables(", ".join(values)) for name in HEADERS if (values := answer.headers.get_all(name))
    }
    return {
        "status": answer.status,
        "headers": headers,
        "body": _without_variables(answer.body.decode("latin-1")),
    }


def _without_variables(text: str) -> str:
    for pattern, name in _VARIABLE:
        text = pattern.sub(name, text)
    return text


class Place:
    """What the requests of one case find on one side.

    `{repo}` is shared by all cases, `{fresh}` and `{bare}` belong to this one: with content, and without. The
    other names are upload sessions in `{bare}`, each made when a request names it.
    """

    def __init__(self, client: Client, shared: str, fresh: str) -> None:
        self._client = client
        self._names = {"repo": shared, "fresh": fresh, "bare": fresh}

    def send(self, case: Case) -> Answer:
        target = self._fill(case.target)
        headers = {name: self._fill(value) for name, value in case.headers.items()}
        try:
            return self._client.request(case.method, target, headers, case.body)
        except (ConnectionError, IncompleteRead):
            return Answer(f"{case.method} {target}", 0, Message(), b"")

    def _fill(self, text: str) -> str:
        return re.sub(r"\{(\w+)\}", lambda match: self._named(match[1]), text)

    def _named(self, name: str) -> str:
        if name in self._names:
            return self._names[name]
        repository = self._names["bare"]
        started = self._client.start_upload(repository).location
        if name == "upload":  # a session without any bytes, with its token
            return started
        if name == "stale":  # the token of before the first four bytes
            self._client.patch(started, b"1234").expect(202)
            return started
        stored = {"one": b"1", "partial": b"1234"}[name.removesuffix("_status")]
        location = self._client.patch(started, stored).expect(202).location
        return location.partition("?")[0] if name.endswith("_status") else location
