"""Clients are sent to CloudFront, which stands in front of the bucket, by signed URLs."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from lading.registry.ports import Storage, StorageError
from lading.storage.wrappers.addresses import PublishedRanges
from lading.storage.wrappers.passing import PassingStorage

_SAFE = str.maketrans("+=/", "-_~")


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs with the key that CloudFront knows as `pair`, for `seconds` from now on."""

    key: RSAPrivateKey
    pair: str
    seconds: float

    def sign(self, url: str) -> str:
        """`url` with what the canned policy asks for (CloudFront developer guide, "canned policy")."""
        expires = int(time.time() + self.seconds)
        policy = {"Statement": [{"Resource": url, "Condition": {"DateLessThan": {"AWS:EpochTime": expires}}}]}
        text = json.dumps(policy, separators=(",", ":")).encode("ascii")
        # CloudFront takes no other hash for this.
        signature = self.key.sign(text, PKCS1v15(), hashes.SHA1())  # noqa: S303
        encoded = base64.b64encode(signature).decode("ascii").translate(_SAFE)
        joint = "&" if "?" in url else "?"
        return f"{url}{joint}Expires={expires}&Signature={encoded}&Key-Pair-Id={self.pair}"


class CloudfrontStorage(PassingStorage):
    """`base` ends with a slash; `name_of` tells what an object is called in the bucket.

    Clients whose address is in `direct` are redirected as `inner` does it.
    """

    def __init__(
        self,
        inner: Storage,
        base: str,
        name_of: Callable[[str], str],
        signer: Signer,
        direct: PublishedRanges | None = None,
    ) -> None:
        super().__init__(inner)
        self.traits = replace(inner.traits, redirects=True)
        self._base = base
        self._name_of = name_of
        self._signer = signer
        self._direct = direct

    async def redirect(self, key: str, method: str, client: str = "") -> str | None:
        name = self._name_of(key)
        if self._direct is not None and await self._direct.contain(client):
            return await self.inner.redirect(key, method, client)
        if not name.isascii():
            raise StorageError(self.name, f"CloudFront cannot sign names that are not ASCII: {name}")
        return self._signer.sign(self._base + name)
