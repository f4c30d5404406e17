"""The password file: lines `user:hash`, of which only bcrypt's are of use."""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import re
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

import bcrypt

from lading.auth.watched import FileError

log = logging.getLogger(__name__)

MAX_COST = 17
"""A hash of a higher cost would hold a thread for more than ten seconds at each sign-in."""

_BCRYPT = re.compile(r"\$2[abxy]\$([0-9]{2})\$[./A-Za-z0-9]{53}", re.ASCII)
_OTHERS = {"$apr1$": "Apache MD5 (apr1)", "{SHA}": "SHA-1", "$5$": "SHA-256 crypt", "$6$": "SHA-512 crypt"}


@dataclass(frozen=True, slots=True)
class Users:
    """Users and their hashes, in the form `$2b$…`, and the cost of each hash."""

    hashes: Mapping[str, str] = field(default_factory=dict)
    costs: tuple[int, ...] = ()
    seed: bytes = field(default=b"", compare=False)
    """As secret as the file."""

    def cost_for(self, user: str) -> int:
        """For a name that is not in the file: one of those that are, and the same one in every process."""
        number = int.from_bytes(hmac.digest(self.seed, user.encode("utf-8", "surrogateescape"), "sha256")[:8])
        return self.costs[number % len(self.costs)] if self.costs else 10


def parse(text: bytes, path: str) -> Users:
    """Of a repeated user the last line counts.

    A line with another hash is logged, and its user cannot sign in. Raises `FileError` for what is no entry.
    """
    users: dict[str, str] = {}
    for number, line in enumerate(text.decode("utf-8", "surrogateescape").splitlines(), 1):
        entry = line.strip()
        if not entry or entry.startswith("#"):
            continue
        user, colon, stored = entry.partition(":")
        if not colon:
            # The line may be a password that slipped: it is not repeated.
            raise FileError(f"{path}:{number}: invalid entry: not user:hash")
        users.pop(user, None)
        if problem := _problem(stored):
            log.error("%s:%d: user %r cannot sign in: %s", path, number, user, problem)
        else:
            users[user] = f"$2b${stored[4:]}"
    return Users(users, tuple(int(stored[4:6]) for stored in users.values()), hashlib.sha256(text).digest())


def _problem(stored: str) -> str:
    found = _BCRYPT.fullmatch(stored)
    if found is None:
        kind = next((kind for prefix, kind in _OTHERS.items() if stored.startswith(prefix)), "unknown or crypt")
        if stored.startswith("$2"):
            kind = "damaged bcrypt"
        return f"{kind} hash, only bcrypt is accepted (make one with: htpasswd -B)"
    cost = int(found[1])
    return "" if 4 <= cost <= MAX_COST else f"bcrypt cost {cost} is not between 4 and {MAX_COST}"


def provision(path: str) -> None:
    """Without a file, make one with the user `docker`, whose password is shown once. Raises `FileError`."""
    if os.path.lexists(path):
        return
    password = secrets.token_urlsafe(32)
    line = b"docker:" + bcrypt.hashpw(password.encode("ascii"), bcrypt.gensalt(10))
    try:
        os.makedirs(os.path.dirname(os.path.abspath(path)), 0o700, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        if os.path.lexists(path):
            return  # another registry was faster, and has shown its password
        raise FileError(f"{path}: cannot be made: {error.strerror}") from None
    with open(descriptor, "wb") as file:
        file.write(line)
        file.flush()
        os.fsync(descriptor)
    log.warning("htpasswd is missing, provisioning with default user: %s", path)
    # Not by way of the log: that may be kept, and sent elsewhere.
    print(f'user "docker", password "{password}": shown this once', file=sys.stderr, flush=True)
