"""The `azure` driver: blobs in a container of Azure Blob Storage, as Distribution keeps them.

Small objects are block blobs. What is uploaded is an append blob, which everybody sees grow, so that any process
can go on with an upload that another began, the original's among them. A blob has up to 50,000 blocks of 4 MiB.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import email.utils
import io
import logging
import random
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from azure.core import MatchConditions
from azure.core.exceptions import (
    AzureError,
    HttpResponseError,
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
    ServiceRequestError,
    ServiceRequestTimeoutError,
    ServiceResponseError,
    ServiceResponseTimeoutError,
)
from azure.core.pipeline.transport import AioHttpTransport
from azure.identity.aio import ClientSecretCredential, DefaultAzureCredential
from azure.storage.blob import BlobSasPermissions, StorageErrorCode, UserDelegationKey, generate_blob_sas
from azure.storage.blob.aio import BlobClient, BlobServiceClient, ContainerClient, ExponentialRetry

from lading.registry.ports import BusyError, PathNotFoundError, StorageError, UnavailableError
from lading.storage.objects import ChangedError, Found, ObjectStorage, Pending

DRIVER = "azure"

BLOCK_BYTES = 4 * 1024 * 1024
"""The largest block that every service version appends."""

TRIES = 4
"""Of each request, however it fails."""
SILENCES = 2
"""Of one request: who was silent so often is not asked again, for a client waits."""
FIRST_PAUSE = 0.25
"""Seconds; the pause before the second try is about twice as long, and each further one twice that before it."""
SILENCE_SECONDS = 60.0
"""How long the service may say nothing before a request is tried again."""

REDIRECT_SECONDS = 20 * 60
SKEW_SECONDS = 10
"""By how much the service's clock may be behind ours."""

_SILENCES = "silences"
_SILENT = (ServiceRequestTimeoutError, ServiceResponseTimeoutError)
_UNAVAILABLE = {408, 429, 500, 502, 503, 504}

KEY_HOURS = 48
KEY_LEFT = datetime.timedelta(minutes=30)
"""A user delegation key with less left than this is replaced."""

AUTHORITIES = {
    "core.chinacloudapi.cn": "login.chinacloudapi.cn",
    "core.usgovcloudapi.net": "login.microsoftonline.us",
}
"""Where tokens for a realm come from, if not from the public cloud's."""

logging.getLogger("azure").setLevel(logging.WARNING)  # it tells of each request


class AzureStorage(ObjectStorage):
    """See `lading.registry.ports.Storage`.

    `credentials` has a `type` (`shared_key`, `client_secret` or `default_credentials`) and for the second
    `clientid`, `tenantid` and `secret`. `service` is the account's address, `attempts` and `pause` (seconds) are
    how often and how soon a pending copy is looked at. `silence` is in seconds.
    """

    def __init__(
        self,
        account: str,
        container: str,
        service: str,
        credentials: Mapping[str, str],
        *,
        key: str = "",
        realm: str = "",
        root: str = "",
        attempts: int = 5,
        pause: float = 0.1,
        verify: bool = True,
        silence: float = SILENCE_SECONDS,
    ) -> None:
        blobs = _Blobs(
            account, container, service, credentials, key, realm, attempts, pause, verify=verify, silence=silence
        )
        super().__init__(blobs, f"{root.strip('/')}/".lstrip("/"))


class _Blobs:
    """See `lading.storage.objects.Bucket`."""

    driver = DRIVER

    def __init__(
        self,
        account: str,
        container: str,
        service: str,
        credentials: Mapping[str, str],
        key: str,
        realm: str,
        attempts: int,
        pause: float,
        *,
        verify: bool,
        silence: float,
    ) -> None:
        self.attempts = attempts
        self.pause = pause
        self._account = account
        self._container_name = container
        self._service_url = service
        self._credentials = credentials
        self._key = key
        self._authority = AUTHORITIES.get(realm, "login.microsoftonline.com")
        self._verify = verify
        self._silence = silence
        self._service: BlobServiceClient | None = None
        self._container: ContainerClient | None = None
        self._delegation: UserDelegationKey | None = None
        self._delegation_until = datetime.datetime.min.replace(tzinfo=datetime.UTC)
        self._opening = asyncio.Lock()

    async def container(self) -> ContainerClient:
        async with self._opening:
            if self._container is None:
                # The session is closed with the event loop: a loop closes the generators that it began.
                self._sessions = _session()
                session = await anext(self._sessions)
                # What the client is told of connections counts only for a transport that it makes itself.
                transport = AioHttpTransport(
                    session=session,
                    session_owner=False,
                    connection_timeout=10,
                    read_timeout=self._silence,
                    connection_verify=self._verify,
                )
                self._service = BlobServiceClient(
                    self._service_url,
                    credential=self._credential(transport),
                    transport=transport,
                    retry_policy=_Retry(retry_total=TRIES - 1),
                    logging_enable=False,
                )
                self._container = self._service.get_container_client(self._container_name)
        return self._container

    async def blob(self, name: str) -> BlobClient:
        return (await self.container()).get_blob_client(name)

    async def head(self, name: str) -> Found | None:
        try:
            return await self._properties(name)
        except PathNotFoundError:
            return None

    async def fetch(self, name: str, start: int, length: int, tag: str = "") -> tuple[bytes, Found] | None:
        conditions: dict[str, Any] = {"etag": tag, "match_condition": MatchConditions.IfNotModified} if tag else {}
        answers: list[Any] = []
        try:
            with _storage_errors(name), _closing(answers):
                blob = await self.blob(name)
                got = await blob.download_blob(start, length, raw_response_hook=answers.append, **conditions)
                data = await got.readall()
        except PathNotFoundError:
            return None
        except _BehindTheEndError:
            found = await self.head(name)
            return None if found is None else (b"", found)
        of = got.properties
        size = int(of.content_range.rpartition("/")[2]) if of.content_range else len(data)
        return data, _found(size, of.last_modified, of.etag, answers)

    async def put(self, name: str, data: bytes, only: str | None = None) -> str | None:
        conditions: dict[str, Any] = {"overwrite": only != ""}
        if only:
            conditions |= {"etag": only, "match_condition": MatchConditions.IfNotModified}
        while True:
            with _storage_errors(name):
                blob = await self.blob(name)
                try:
                    etag: str = (await blob.upload_blob(io.BytesIO(data), length=len(data), **conditions))["etag"]
                    return etag
                except (ResourceModifiedError, ResourceExistsError) as error:
                    if getattr(error, "error_code", None) != StorageErrorCode.INVALID_BLOB_TYPE:
                        return None
                # What an upload left here is of another type, which cannot be changed.
                await self.remove(name)

    async def remove(self, name: str, tag: str = "") -> bool:
        conditions: dict[str, Any] = {"etag": tag, "match_condition": MatchConditions.IfNotModified} if tag else {}
        try:
            with _storage_errors(name):
                await (await self.blob(name)).delete_blob(**conditions)
        except (PathNotFoundError, ChangedError):
            return False
        return True

    async def copy(self, source: str, target: str, tag: str = "", *, anew: bool = False) -> bool:
        """Within the account the service does it at once; else it is looked at again after longer and longer."""
        origin, blob = await self.blob(source), await self.blob(target)
        conditions: dict[str, Any] = {"match_condition": MatchConditions.IfMissing} if anew else {}
        if tag:
            conditions |= {"source_etag": tag, "source_match_condition": MatchConditions.IfNotModified}
        status, number = "pending", ""
        try:
            with _storage_errors(source), contextlib.suppress(ResourceExistsError):
                url = origin.url if self._key else await self.signed(source)
                started = await blob.start_copy_from_url(url, **conditions)
                status, number = str(started["copy_status"]), str(started["copy_id"])
        except PathNotFoundError:
            return False
        attempt = 0
        while status == "pending":
            with _storage_errors(target):
                # Without a number it is somebody else's copy, or whole.
                status = str((await blob.get_blob_properties()).copy.status or "success")
                attempt += 1
                if status == "pending" and attempt >= self.attempts:
                    if number:
                        await blob.abort_copy(number)
                    status = f"not done after {attempt} looks"
                if status == "pending":
                    await asyncio.sleep(self.pause * attempt)
        if status != "success":
            if number:
                await self.remove(target)  # the service leaves an empty blob
            raise StorageError(DRIVER, f"cannot copy {source}: {status}")
        return True

    async def pages(
        self,
        prefix: str,
        *,
        start: str = "",  # noqa: ARG002  not every service version can start there
        flat: bool = False,
        size: int = 1000,
    ) -> AsyncGenerator[Sequence[str], None]:
        container = await self.container()
        listed = (
            container.list_blob_names(name_starts_with=prefix, results_per_page=size)
            if flat
            else container.walk_blobs(name_starts_with=prefix, delimiter="/", results_per_page=size)
        )
        pages = listed.by_page()
        while True:
            names: list[str] = []
            try:
                with _storage_errors(prefix):
                    async for entry in await anext(pages):
                        names.append(entry if isinstance(entry, str) else entry.name)
            except StopAsyncIteration:
                return
            if names:
                yield sorted(names)

    async def begin(self, name: str, *, append: bool) -> tuple[Pending, bytes]:
        with _storage_errors(name):
            blob = await self.blob(name)
            there = None
            with contextlib.suppress(ResourceNotFoundError):
                there = await blob.get_blob_properties()
            if there is not None and append:
                if there.blob_type == "AppendBlob":
                    return _Appending(self, name, there.size, str(there.etag)), b""
                if there.size:
                    raise StorageError(DRIVER, f"cannot append to existing {there.blob_type} blob: {name}")
            if there is not None and there.blob_type != "AppendBlob":
                await self.remove(name)
            made = await blob.create_append_blob()
            return _Appending(self, name, 0, str(made["etag"])), b""

    async def signed(self, name: str, method: str = "GET") -> str:  # noqa: ARG002  good for both
        """The blob's address, good for reading for a while."""
        blob, now = await self.blob(name), datetime.datetime.now(datetime.UTC)
        sas = generate_blob_sas(
            self._account,
            self._container_name,
            name,
            account_key=self._key or None,
            user_delegation_key=None if self._key else await self._delegated(now),
            permission=BlobSasPermissions(read=True),
            start=now - datetime.timedelta(seconds=SKEW_SECONDS),
            expiry=now + datetime.timedelta(seconds=REDIRECT_SECONDS),
            protocol="https" if urlsplit(self._service_url).scheme == "https" else "https,http",
        )
        return f"{blob.url}?{sas}"

    async def close(self) -> None:
        async with self._opening:
            if self._container is not None:
                self._container = self._service = None
                await self._sessions.aclose()

    async def _delegated(self, now: datetime.datetime) -> UserDelegationKey:
        async with self._opening:
            if self._delegation is None or self._delegation_until - now < KEY_LEFT:
                assert self._service is not None
                until = now + datetime.timedelta(hours=KEY_HOURS)
                start = now - datetime.timedelta(seconds=SKEW_SECONDS)
                with _storage_errors("user delegation key"):
                    self._delegation = await self._service.get_user_delegation_key(start, until)
                self._delegation_until = until
            return self._delegation

    async def _properties(self, name: str) -> Found:
        answers: list[Any] = []
        with _storage_errors(name):
            blob = await self.blob(name)
            found = await blob.get_blob_properties(raw_response_hook=answers.append)
        return _found(found.size, found.last_modified, found.etag, answers)

    def _credential(self, transport: AioHttpTransport) -> Any:
        if self._credentials["type"] == "shared_key":
            return {"account_name": self._account, "account_key": self._key}
        if self._credentials["type"] == "client_secret":
            return ClientSecretCredential(
                self._credentials["tenantid"],
                self._credentials["clientid"],
                self._credentials["secret"],
                authority=self._authority,
                transport=transport,
            )
        return DefaultAzureCredential(authority=self._authority, transport=transport)


class _Retry(ExponentialRetry):
    """The SDK's own pauses are of whole seconds, and it bears with silence: a client waits for both."""

    def increment(self, settings: dict[str, Any], request: Any, response: Any = None, error: Any = None) -> bool:
        settings[_SILENCES] = settings.get(_SILENCES, 0) + isinstance(error, _SILENT)
        goes_on: bool = super().increment(settings, request, response, error)
        return goes_on and settings[_SILENCES] < SILENCES

    def get_backoff_time(self, settings: dict[str, Any]) -> float:
        pause: float = FIRST_PAUSE * 2 ** settings["count"] * (0.5 + random.random())  # noqa: S311
        return pause


class _Appending:
    """See `lading.storage.objects.Pending`."""

    unit = BLOCK_BYTES

    def __init__(self, blobs: _Blobs, name: str, size: int, tag: str) -> None:
        self.size = size
        self.tag = tag
        self._blobs = blobs
        self._name = name

    async def extend(self, data: bytes) -> None:
        with _storage_errors(self._name):
            blob = await self._blobs.blob(self._name)
            try:
                appended = await blob.append_block(
                    io.BytesIO(data),
                    len(data),
                    appendpos_condition=self.size,
                    etag=self.tag,
                    match_condition=MatchConditions.IfNotModified,
                )
                self.tag = str(appended["etag"])
            except HttpResponseError as error:
                if error.status_code != 412:
                    raise
                # Tried again after an answer that was lost, or somebody else appends: what is there tells.
                there = await self._blobs.fetch(self._name, self.size, len(data) + 1)
                if there is None or there[0] != data:
                    raise BusyError(DRIVER, f"another writer appends: {self._name}") from None
                self.tag = there[1].tag
        self.size += len(data)

    async def suspend(self, rest: bytes) -> None:
        if rest:
            await self.extend(rest)

    async def complete(self, rest: bytes) -> None:
        if rest:
            await self.extend(rest)
            return
        there = await self._blobs.head(self._name)
        if there is None:
            raise PathNotFoundError(DRIVER, self._name)
        if there.tag != self.tag:
            raise BusyError(DRIVER, f"another writer appends: {self._name}")


class _BehindTheEndError(StorageError):
    """The range asked for lies behind the end."""


@contextlib.contextmanager
def _storage_errors(name: str) -> Any:
    """Only the port's errors leave the driver; none tells of addresses, which may be signed."""
    try:
        yield
    except AzureError as error:
        status = error.status_code if isinstance(error, HttpResponseError) else None
        code = getattr(getattr(error, "error_code", None), "value", type(error).__name__)
        if status == 404 and code != StorageErrorCode.CONTAINER_NOT_FOUND.value:
            raise PathNotFoundError(DRIVER, f"/{name}") from error
        kind: type[StorageError] = {412: ChangedError, 416: _BehindTheEndError}.get(status or 0, StorageError)
        if status in _UNAVAILABLE or isinstance(error, ServiceRequestError | ServiceResponseError):
            kind = UnavailableError
        raise kind(DRIVER, f"{code}{f' ({status})' if status else ''}: {name}") from error
    except (OSError, aiohttp.ClientError, TimeoutError) as error:
        raise UnavailableError(DRIVER, f"{type(error).__name__}: {name}") from error


async def _session() -> AsyncGenerator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(
        auto_decompress=False, trust_env=True, cookie_jar=aiohttp.DummyCookieJar()
    ) as session:
        yield session


@contextlib.contextmanager
def _closing(answers: Sequence[Any]) -> Iterator[None]:
    """Of one that is not read to its end the SDK leaves the connection open."""
    try:
        yield
    except BaseException:
        for answer in answers:
            answer.http_response.internal_response.close()
        raise


def _found(size: int, modified: datetime.datetime, etag: str, answers: Sequence[Any]) -> Found:
    """`answers` are those of the service, of which the last tells what time it is there."""
    at, age = modified.timestamp(), 0.0
    with contextlib.suppress(IndexError, KeyError, ValueError):
        date = answers[-1].http_response.headers["Date"]
        age = email.utils.parsedate_to_datetime(date).timestamp() - at
    return Found(size, at, etag, age)
