"""A client of OCI registries: typed, verifying, without a server.

    async with RegistryClient("https://registry.example") as registry:
        manifest = await registry.manifest("team/app", "latest")
        async with await registry.blob("team/app", digest) as blob:
            async for piece in blob: ...

Signing in, retries and redirects are its business; what it cannot get is a `ClientError`. `Registries` is several
at once, `copy` brings images from one place to another; `SyncRegistryClient` and `SyncRegistries` are the same for
programs without an event loop. docs/client.md has examples.
"""

from lading.client.authfile import AuthFile, AuthFileError, default_files
from lading.client.copying import Copied, Place, Step, copy
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
from lading.client.files import FilesError, pull_files, push_files
from lading.client.layout import Layout, LayoutError
from lading.client.registries import Registries
from lading.client.registry import RegistryClient
from lading.client.repository import Repository
from lading.client.sources import of_bytes, of_file
from lading.client.sync import SyncDownload, SyncRegistries, SyncRegistryClient
from lading.client.tls import TLS
from lading.client.transport import Options, Timing
from lading.client.upload import Outcome, Upload
from lading.oci.building import Content, InvalidManifestError
from lading.oci.digest import Digest, InvalidDigestError
from lading.oci.digestset import DigestSet
from lading.oci.manifest import Descriptor, Manifest, Platform
from lading.oci.reference import ImageReference, InvalidReferenceError

__all__ = [
    "TLS",
    "AnswerError",
    "AuthFile",
    "AuthFileError",
    "ClientError",
    "Content",
    "Copied",
    "Credentials",
    "Descriptor",
    "Digest",
    "DigestSet",
    "Download",
    "FilesError",
    "HelperCredentials",
    "ImageReference",
    "InvalidAnswerError",
    "InvalidDigestError",
    "InvalidManifestError",
    "InvalidReferenceError",
    "Layout",
    "LayoutError",
    "Login",
    "Manifest",
    "NotFoundError",
    "Options",
    "Outcome",
    "Place",
    "Platform",
    "RateLimitedError",
    "RefusedError",
    "Registries",
    "RegistryClient",
    "Repository",
    "StaticCredentials",
    "Step",
    "SyncDownload",
    "SyncRegistries",
    "SyncRegistryClient",
    "Timing",
    "UnreachableError",
    "Upload",
    "copy",
    "default_files",
    "of_bytes",
    "of_file",
    "pull_files",
    "push_files",
]
