"""URLs that operators have written down: they may hold logins and tokens."""

from __future__ import annotations

import base64
from urllib.parse import unquote_to_bytes, urlsplit


def shown(url: str) -> str:
    """A URL without what may be secret in it: the login and the query."""
    parts = urlsplit(url)
    login, _, host = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"***@{host}" if login else host, query="***" if parts.query else "").geturl()


def split_login(url: str) -> tuple[str, str]:
    """The URL without its login, and the value of an Authorization header that says it; empty without one."""
    parts = urlsplit(url)
    login, _, host = parts.netloc.rpartition("@")
    value = base64.b64encode(unquote_to_bytes(login)).decode("ascii")
    return parts._replace(netloc=host).geturl(), f"Basic {value}" if login else ""
