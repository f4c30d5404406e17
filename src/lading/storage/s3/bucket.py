"""A bucket: requests to it, with the errors and the attributes that all of them share."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import time
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import aiohttp
from aiobotocore.config import AioConfig
from aiobotocore.credentials import AioCredentials
from aiobotocore.session import AioSession, get_session
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    HTTPClientError,
    NoCredentialsError,
    ReadTimeoutError,
)

from lading.registry.ports import PathNotFoundError, StorageError, StorageFullError, UnavailableError
from lading.storage.s3.direct import Direct, Missing
from lading.storage.s3.transport import REGION, Transport

T = TypeVar("T")

log = logging.getLogger(__name__)

DRIVER = "s3"

MEBIBYTE = 1024 * 1024
MINIMUM_PART = 5 * MEBIBYTE
"""No part of a multipart upload but its last may be smaller."""
MAXIMUM_PART = 5 * 1024 * MEBIBYTE
MAXIMUM_PARTS = 10_000

PRESIGNED_SECONDS = 20 * 60
SHARED_SECONDS = 30.0
"""So long all who ask for an object are sent to the same URL: to sign one takes as long as the rest."""
SHARED_URLS = 4096
ATTEMPTS = 4
"""The first is made directly, where it can be."""
SILENCES = 2
"""Of one request, the direct one's among them: who was silent so often is not asked again, for a client waits."""
CONNECT_SECONDS = 5.0
CONNECTIONS = 128
WITHOUT_SECONDS = 5.0
"""So long nobody looks again for credentials where none were: to ask an instance that is silent takes seconds."""

_OTHER_AUTHORITIES = "requests_ca_bundle"

MISSING = {"404", "NoSuchKey", "NotFound", "NoSuchUpload"}
_SILENT = (ConnectTimeoutError, ReadTimeoutError)
_FULL = {"507", "InsufficientStorage", "QuotaExceeded", "XMinioStorageFull", "XMinioStorageQuotaExceeded"}
_UNAVAILABLE = {"429", "500", "502", "503", "504"}
_EXISTS = {"409", "412", "ConditionalRequestConflict", "PreconditionFailed"}


class ConditionError(StorageError):
    """What a conditional request demanded is not so."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the configuration says. Sizes are in bytes; empty text is the default of the SDK."""

    bucket: str
    region: str = "us-east-1"
    accesskey: str = ""
    secretkey: str = ""
    sessiontoken: str = ""
    endpoint: str = ""
    redirectendpoint: str = ""
    rootdirectory: str = ""
    pathstyle: bool = False
    secure: bool = True
    verify: bool = True
    v4: bool = True
    encrypt: bool = False
    keyid: str = ""
    chunksize: int = 10 * MEBIBYTE
    equalparts: bool = False
    copysize: int = 32 * MEBIBYTE
    copythreshold: int = 32 * MEBIBYTE
    copies: int = 100
    storageclass: str = ""
    useragent: str = ""
    acl: str = ""
    dualstack: bool = False
    accelerate: bool = False
    fips: bool = False
    silence: float = 60.0
    """Seconds that the store may say nothing before a request is tried again."""
    logs: bool = False
    """Each request is a line of the log."""

    @property
    def attributes(self) -> dict[str, str]:
        """What each new object is given."""
        encryption = ("aws:kms" if self.keyid else "AES256") if self.encrypt else ""
        given = {
            "ACL": self.acl,
            "ServerSideEncryption": encryption,
            "SSEKMSKeyId": self.keyid if self.encrypt else "",
            "StorageClass": self.storageclass,
            "ContentType": "application/octet-stream",
        }
        return {name: value for name, value in given.items() if value}


class Bucket:
    """The client is made by `connect`, or at the first request, in the event loop that is running then."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self._root = options.rootdirectory.rstrip("/")
        self._clients = contextlib.AsyncExitStack()
        self._opening: asyncio.Lock | None = None
        self._client: Any = None
        self._signer: Any = None
        self._direct: Direct | None = None
        self._region = options.region
        self._told = ""
        """The region that the store has named."""
        self._moved = False
        self._signed: dict[tuple[str, str], str] = {}
        """The URLs that were made since `_signed_since`."""
        self._signed_since = 0.0
        self._without_until = 0.0
        self._static = (options.accesskey, options.secretkey) if options.accesskey and options.secretkey else None

    def name(self, key: str) -> str:
        """The object's name in the bucket."""
        return (self._root + key).lstrip("/")

    def below(self, key: str) -> str:
        """How the names of all below a directory begin."""
        return self.name(key if key.endswith("/") else f"{key}/")

    async def call(self, operation: str, key: str, **arguments: Any) -> Mapping[str, Any]:
        """Raises `PathNotFoundError` of `key`, `ConditionError`, and else `StorageError`."""
        started = time.monotonic()
        outcome = "failed"
        try:
            with errors(key):
                client = self._client or await self._open()
                answer: Mapping[str, Any] | None = None
                if self._direct is not None:
                    answer = await self._direct.ask(operation, arguments)
                if answer is None:
                    answer = await getattr(client, operation)(Bucket=self.options.bucket, **arguments)
                    await self._follow(client)
                outcome = str(answer["ResponseMetadata"]["HTTPStatusCode"])
                return answer
        except Missing as error:
            outcome = "404"
            raise PathNotFoundError(DRIVER, key) from error
        finally:
            if self.options.logs:
                log.info("s3: %s of %s: %s, %.3f s", operation, key, outcome, time.monotonic() - started)

    async def pages(
        self, key: str, prefix: str, *, after: str = "", delimiter: str = "", limit: int = 1000
    ) -> AsyncIterator[Mapping[str, Any]]:
        """The objects whose names begin with `prefix` and sort after `after`."""
        arguments: dict[str, Any] = {"Prefix": prefix, "MaxKeys": limit}
        arguments |= {"Delimiter": delimiter} if delimiter else {}
        arguments |= {"StartAfter": after} if after else {}
        while True:
            page = await self.call("list_objects_v2", key, **arguments)
            yield page
            if not page.get("IsTruncated"):
                return
            arguments["ContinuationToken"] = page["NextContinuationToken"]
            arguments.pop("StartAfter", None)

    async def first(self, key: str, prefix: str) -> Mapping[str, Any] | None:
        """The first object whose name begins so."""
        page = await self.call("list_objects_v2", key, Prefix=prefix, MaxKeys=1)
        found: list[Mapping[str, Any]] = page.get("Contents", [])
        return found[0] if found else None

    async def url(self, operation: str, key: str) -> str:
        """One that is valid for `PRESIGNED_SECONDS`, or up to `SHARED_SECONDS` less."""
        now = time.monotonic()
        if now - self._signed_since > SHARED_SECONDS or len(self._signed) >= SHARED_URLS:
            self._signed.clear()
            self._signed_since = now
        if (signed := self._signed.get((operation, key))) is not None:
            return signed
        with errors(key):
            if self._client is None:
                await self._open()
            arguments = {"Bucket": self.options.bucket, "Key": self.name(key)}
            url: str = await self._signer.generate_presigned_url(
                operation, Params=arguments, ExpiresIn=PRESIGNED_SECONDS
            )
            self._signed[operation, key] = url
            return url

    async def connect(self) -> None:
        """What the first request would else wait for. No request is made, unless for credentials."""
        with errors("/"):
            await self._open()
            if self._direct is not None:
                await self._direct.learn()

    async def close(self) -> None:
        self._client = self._signer = self._direct = None
        await self._clients.aclose()

    async def _open(self) -> Any:
        self._opening = self._opening or asyncio.Lock()
        async with self._opening:
            if self._client is None:
                await self._make()
        return self._client

    async def _make(self) -> None:
        credentials = await self._credentials()
        client = await self._connect(self.options.endpoint)
        elsewhere = self.options.redirectendpoint
        self._signer = await self._connect(elsewhere) if elsewhere else client
        self._direct = self._beside(client, credentials)
        self._client = client

    async def _follow(self, client: Any) -> None:
        """Go, once, to the region in which the SDK has found the bucket: it keeps signing URLs for another."""
        assert self._opening is not None
        async with self._opening:
            if self._told in ("", self._region) or client is not self._client or self._moved:
                return
            log.warning("s3: the bucket %s is in %s: configure that as region", self.options.bucket, self._told)
            self._moved, before = True, self._region
            try:
                self._region = self._told
                await self._make()
            except (BotoCoreError, ValueError):
                self._region = before
            self._signed.clear()

    def _hear(
        self,
        response: tuple[Any, Mapping[str, Any]] | None,
        attempts: int,
        caught_exception: Exception | None,
        **_: object,
    ) -> None:
        """The SDK calls it after each attempt. Some answers tell the bucket's region."""
        asked = self._direct is not None and self._direct.asks
        if isinstance(caught_exception, _SILENT) and (asked or attempts == SILENCES):
            raise caught_exception
        if response is not None:
            headers = response[1].get("ResponseMetadata", {}).get("HTTPHeaders", {})
            self._told = str(headers.get(REGION) or response[1].get("Error", {}).get("Region") or self._told)

    async def _credentials(self) -> AioCredentials:
        """A client that was made without them would never have any."""
        if self._static:
            return AioCredentials(*self._static, self.options.sessiontoken or None)
        if time.monotonic() >= self._without_until:
            credentials: AioCredentials | None = await _session().get_credentials()
            if credentials is not None:
                return credentials
            self._without_until = time.monotonic() + WITHOUT_SECONDS
        raise NoCredentialsError

    def _beside(self, client: Any, credentials: AioCredentials) -> Direct | None:
        """None where requests are not signed with version 4."""
        options = self.options
        if not options.v4:
            return None
        direct = Direct(
            client,
            options.bucket,
            credentials,
            timeout=(CONNECT_SECONDS, options.silence),
            connections=CONNECTIONS,
            verify=options.verify and (_authorities() or True),
        )
        self._clients.push_async_callback(direct.close)
        return direct

    async def _connect(self, endpoint: str) -> Any:
        options = self.options
        # The SDK logs bodies and tokens at DEBUG, for which this registry's own log may be set.
        for name in ("botocore", "aiobotocore"):
            logging.getLogger(name).setLevel(logging.WARNING)
        # Without a style, the SDK signs URLs for a host of another region, which sends clients on or refuses them.
        style = "auto" if endpoint or "." in options.bucket else "virtual"
        config = AioConfig(
            signature_version="s3v4" if options.v4 else "s3",
            s3={
                "addressing_style": "path" if options.pathstyle else style,
                "use_accelerate_endpoint": options.accelerate,
                "payload_signing_enabled": False,
            },
            use_dualstack_endpoint=options.dualstack,
            use_fips_endpoint=options.fips,
            # Trailing checksums are refused by many a store that is not Amazon's.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS - 1 if options.v4 else ATTEMPTS},
            connect_timeout=CONNECT_SECONDS,
            read_timeout=options.silence,
            max_pool_connections=CONNECTIONS,
            user_agent_extra=options.useragent or None,
            http_session_cls=Transport,
        )
        accesskey, secretkey = self._static or (None, None)
        made = _session().create_client(
            "s3",
            region_name=self._region,
            endpoint_url=endpoint or None,
            use_ssl=options.secure,
            verify=None if options.verify else False,
            aws_access_key_id=accesskey,
            aws_secret_access_key=secretkey,
            aws_session_token=(options.sessiontoken or None) if self._static else None,
            config=config,
        )
        client = await self._clients.enter_async_context(made)
        client.meta.events.register("needs-retry.s3", self._hear)
        return client


@functools.cache
def _session() -> AioSession:
    # Reading the description of the service takes 0.1 s; it is kept here.
    session = get_session()
    # Its clients read this one where none is configured, and it does not tell of it.
    session.session_var_map[_OTHER_AUTHORITIES] = (None, "REQUESTS_CA_BUNDLE", None, None)
    return session


def _authorities() -> str | None:
    """The file of certificates that the SDK takes."""
    named: str | None = _session().get_config_variable("ca_bundle")
    other: str | None = _session().get_config_variable(_OTHER_AUTHORITIES)
    return named or other


async def together(calls: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """All at a time; the first error ends the others, and is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(call) for call in calls]
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from failures
    return [task.result() for task in tasks]


@contextlib.contextmanager
def errors(key: str) -> Iterator[None]:
    """Only the port's errors leave the driver."""
    try:
        yield
    except ClientError as error:
        raise _translated(key, error) from error
    except (HTTPClientError, aiohttp.ClientError, TimeoutError, OSError) as error:
        raise UnavailableError(DRIVER, f"{key}: {error or type(error).__name__}") from error
    except (BotoCoreError, ValueError) as error:
        raise StorageError(DRIVER, f"{key}: {error or type(error).__name__}") from error


def _translated(key: str, error: ClientError) -> StorageError:
    answer = error.response
    code = str(answer.get("Error", {}).get("Code", ""))
    status = str(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", ""))
    if code in MISSING:
        return PathNotFoundError(DRIVER, key)
    if code in _FULL or status in _FULL:
        return StorageFullError(DRIVER, f"{code}: {key}")
    if code in _EXISTS or status in _EXISTS:
        return ConditionError(DRIVER, f"{code}: {key}")
    kind = UnavailableError if status in _UNAVAILABLE else StorageError
    return kind(DRIVER, f"{code} (status {status}): {error.operation_name} of {key}")


def modified(found: Mapping[str, Any]) -> float:
    """Seconds since 1970. What a store does not date is as of now: nothing is removed because it was old."""
    at = found.get("LastModified")
    return time.time() if at is None else float(at.timestamp())
