"""The most frequent requests, signed by the SDK's signer and sent by its transport, but not made by its layers.

Those describe and check each request, which takes several times as long as all the rest. What is not answered as
it should be is asked again by the SDK: it tries several times, finds buckets in other regions and reads errors.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import aiohttp
from aiobotocore.credentials import AioCredentials
from aiobotocore.httpsession import AIOHTTPSession
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSPreparedRequest, AWSRequest
from botocore.exceptions import BotoCoreError, HTTPClientError
from botocore.utils import get_environ_proxies

from lading.storage.s3 import answers

_METHODS = {
    "get_object": "GET",
    "head_object": "HEAD",
    "put_object": "PUT",
    "upload_part": "PUT",
    "delete_object": "DELETE",
    "list_objects_v2": "GET",
}
_HEADERS = {
    "ACL": "x-amz-acl",
    "ContentType": "Content-Type",
    "IfMatch": "If-Match",
    "IfNoneMatch": "If-None-Match",
    "Range": "Range",
    "SSEKMSKeyId": "x-amz-server-side-encryption-aws-kms-key-id",
    "ServerSideEncryption": "x-amz-server-side-encryption",
    "StorageClass": "x-amz-storage-class",
}
_PARAMETERS = {
    "ContinuationToken": "continuation-token",
    "Delimiter": "delimiter",
    "MaxKeys": "max-keys",
    "PartNumber": "partNumber",
    "Prefix": "prefix",
    "StartAfter": "start-after",
    "UploadId": "uploadId",
}
_MISSING = (b"<Code>NoSuchKey</Code>", b"<Code>NoSuchUpload</Code>")
_SUCCESSES = frozenset({200, 204, 206})
_PROBE = "x"


class Missing(Exception):  # noqa: N818  an answer like others
    """There is no such object, or upload."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the objects of a bucket are: what their URLs begin with."""

    url: str
    region: str
    http: AIOHTTPSession


class Direct:
    """Asks what a client of the SDK would, with its names of operations, arguments and fields of answers.

    From the client it learns, at the first request, where the objects of its bucket are. `timeout` is for
    connecting and for silence, in seconds; `verify` as in the SDK.
    """

    def __init__(
        self,
        client: Any,
        bucket: str,
        credentials: AioCredentials,
        *,
        timeout: tuple[float, float],
        connections: int,
        verify: bool | str,
    ) -> None:
        self._client = client
        self._bucket = bucket
        self._credentials = credentials
        self._transport = functools.partial(
            AIOHTTPSession, timeout=timeout, max_pool_connections=connections, verify=verify
        )
        self._learning = asyncio.Lock()
        self._place: _Place | None = None

    async def close(self) -> None:
        if self._place is not None:
            await self._place.http.close()

    async def ask(self, operation: str, arguments: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """None where the SDK is to ask. Raises `Missing`."""
        if operation not in _METHODS:
            return None
        try:
            place = self._place or await self._learn()
            request = await self._request(place, operation, arguments)
            response: aiohttp.ClientResponse = (await place.http.send(request)).raw
            return await _answer(operation, response)
        except (BotoCoreError, HTTPClientError, aiohttp.ClientError, TimeoutError):
            return None

    async def _learn(self) -> _Place:
        async with self._learning:
            if self._place is None:
                probe = {"Bucket": self._bucket, "Key": _PROBE}
                url = urlsplit(await self._client.generate_presigned_url("get_object", Params=probe))
                base = url._replace(query="").geturl().removesuffix(_PROBE)
                region = parse_qs(url.query)["X-Amz-Credential"][0].split("/")[-3]
                http = await self._transport(proxies=get_environ_proxies(base)).__aenter__()
                self._place = _Place(base, region, http)
        return self._place

    async def _request(self, place: _Place, operation: str, arguments: Mapping[str, Any]) -> AWSPreparedRequest:
        query = {_PARAMETERS[name]: value for name, value in arguments.items() if name in _PARAMETERS}
        if operation == "list_objects_v2":
            url = place.url if urlsplit(place.url).path == "/" else place.url.removesuffix("/")
            query |= {"list-type": "2", "encoding-type": "url"}
        else:
            url = place.url + quote(arguments["Key"], safe="/~")
        if query:
            url += "?" + urlencode(query, quote_via=quote, safe="~")
        request = AWSRequest(_METHODS[operation], url, data=arguments.get("Body"))
        request.context["client_config"] = config = self._client.meta.config
        request.headers["User-Agent"] = config.user_agent
        for name, value in arguments.items():
            if name in _HEADERS:
                request.headers[_HEADERS[name]] = value
        credentials = await self._credentials.get_frozen_credentials()
        S3SigV4Auth(credentials, "s3", place.region).add_auth(request)
        return AWSPreparedRequest(request.method, url, request.headers, request.data, stream_output=True)


class _Body:
    """As the SDK's body of an object."""

    __slots__ = ("_response",)

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def read(self, limit: int = -1) -> bytes:
        return await self._response.content.read(limit)

    def close(self) -> None:
        self._response.close()

    async def __aenter__(self) -> _Body:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()


async def _answer(operation: str, response: aiohttp.ClientResponse) -> Mapping[str, Any] | None:
    headers, method = response.headers, _METHODS[operation]
    told = b""
    if operation != "get_object" or response.status not in _SUCCESSES:
        told = await response.read()
    if response.status not in _SUCCESSES:
        if response.status == 404 and (method == "HEAD" or any(code in told for code in _MISSING)):
            raise Missing
        return None
    answer: dict[str, Any] = {
        "ResponseMetadata": {"HTTPStatusCode": response.status, "HTTPHeaders": headers},
        "ETag": headers.get("ETag", ""),
    }
    if operation == "list_objects_v2":
        page = answers.page(told)
        return None if page is None else answer | page
    if operation == "get_object":
        answer["Body"] = _Body(response)
    if method in {"GET", "HEAD"}:
        if "Content-Length" not in headers or "Last-Modified" not in headers:
            response.close()
            return None
        answer["ContentLength"] = int(headers["Content-Length"])
        answer["LastModified"] = parsedate_to_datetime(headers["Last-Modified"])
    if "Content-Range" in headers:
        answer["ContentRange"] = headers["Content-Range"]
    return answer
