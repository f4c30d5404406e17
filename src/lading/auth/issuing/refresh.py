"""Refresh tokens: proof of an earlier sign-in, void as soon as the account or its password changes."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from dataclasses import dataclass

from lading.auth.accounts import Account, Accounts
from lading.auth.keys import encode

_PREFIX = "lading-refresh."
_MAX_LENGTH = 4096


@dataclass(frozen=True, slots=True)
class RefreshTokens:
    """`lifetime` is in seconds. Nothing is kept: the tokens are signed, and name the password they stand for."""

    secret: bytes
    lifetime: float

    def issue(self, account: Account, service: str, now: float) -> str:
        told = {"user": account.user, "mark": account.mark, "service": service, "exp": int(now + self.lifetime)}
        payload = encode(json.dumps(told).encode())
        return f"{_PREFIX}{payload}.{self._mac(payload)}"

    def redeem(self, token: str, service: str, accounts: Accounts, now: float) -> Account | None:
        """The account as it is now; None if the token is not, or no longer, of use for this service."""
        if not token.startswith(_PREFIX) or len(token) > _MAX_LENGTH or not token.isascii():
            return None
        payload, _, mac = token.removeprefix(_PREFIX).partition(".")
        if not hmac.compare_digest(mac, self._mac(payload)):
            return None
        try:
            told = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        except (binascii.Error, ValueError):
            return None
        if told["service"] != service or told["exp"] <= now:
            return None
        account = accounts.find(told["user"])
        return account if account is not None and account.mark == told["mark"] else None

    def _mac(self, payload: str) -> str:
        return encode(hmac.digest(self.secret, payload.encode("ascii"), hashlib.sha256))
