"""An asynchronous client of OCI registries: typed, verifying, without a server.

    async with RegistryClient("https://registry.example") as registry:
        manifest = await registry.manifest("team/app", "latest")
        async with await registry.blob("team/app", digest) as blob:
            async for piece in blob: ...

Signing in, retries and redirects are its business; what it cannot get is a `ClientError`.
"""

from lading.client.credentials import Credentials, HelperCredentials, Login, StaticCredentials
from lading.client.download import Download
from lading.client.errors import (
    AnswerError,
    ClientError,
    InvalidAnswerError,
    NotFoundError,
    RateLimitedError,
    RefusedError,
    UnreachableError,
)
from lading.client.registry import FetchedManifest, RegistryClient

__all__ = [
    "AnswerError",
    "ClientError",
    "Credentials",
    "Download",
    "FetchedManifest",
    "HelperCredentials",
    "InvalidAnswerError",
    "Login",
    "NotFoundError",
    "RateLimitedError",
    "RefusedError",
    "RegistryClient",
    "StaticCredentials",
    "UnreachableError",
]
