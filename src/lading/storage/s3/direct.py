"""The most frequent requests, signed by the SDK's signer and sent by its transport, but not made by its layers.

Those describe and check each request, which takes several times as long as all the rest. What is not answered as
it should be is asked again by the SDK: it tries several times, finds buckets in other regions and reads errors.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import functools
import io
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit
from xml.etree import ElementTree

import aiohttp
from aiobotocore.credentials import AioCredentials
from aiobotocore.httpsession import AIOHTTPSession
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSPreparedRequest, AWSRequest
from botocore.exceptions import BotoCoreError, HTTPClientError
from botocore.utils import get_environ_proxies, parse_timestamp

from lading.storage.s3 import answers

_OPERATIONS = {
    "abort_multipart_upload": ("DELETE", ""),
    "complete_multipart_upload": ("POST", ""),
    "copy_object": ("PUT", ""),
    "create_multipart_upload": ("POST", "uploads"),
    "delete_object": ("DELETE", ""),
    "get_object": ("GET", ""),
    "head_object": ("HEAD", ""),
    "list_multipart_uploads": ("GET", "uploads"),
    "list_objects_v2": ("GET", "list-type=2&encoding-type=url"),
    "list_parts": ("GET", ""),
    "put_object": ("PUT", ""),
    "upload_part": ("PUT", ""),
    "upload_part_copy": ("PUT", ""),
}
"""The method of each, and what its query has in any case."""

_HEADERS = {
    "ACL": "x-amz-acl",
    "ContentType": "Content-Type",
    "CopySource": "x-amz-copy-source",
    "CopySourceRange": "x-amz-copy-source-range",
    "IfMatch": "If-Match",
    "IfNoneMatch": "If-None-Match",
    "MetadataDirective": "x-amz-metadata-directive",
    "Range": "Range",
    "SSEKMSKeyId": "x-amz-server-side-encryption-aws-kms-key-id",
    "ServerSideEncryption": "x-amz-server-side-encryption",
    "StorageClass": "x-amz-storage-class",
}
_PARAMETERS = {
    "ContinuationToken": "continuation-token",
    "Delimiter": "delimiter",
    "KeyMarker": "key-marker",
    "MaxKeys": "max-keys",
    "PartNumber": "partNumber",
    "PartNumberMarker": "part-number-marker",
    "Prefix": "prefix",
    "StartAfter": "start-after",
    "UploadId": "uploadId",
    "UploadIdMarker": "upload-id-marker",
}
_MISSING = (b"<Code>NoSuchKey</Code>", b"<Code>NoSuchUpload</Code>")
_SUCCESSES = frozenset({200, 204, 206})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_ELSEWHERE = frozenset({301, 307, 400})
REGION = "x-amz-bucket-region"
"""With these answers a store tells so where the bucket is."""
_PLAIN = "/~"
"""What is not encoded in the names of objects, beside what never is."""
_PROBE = "x"
_SPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


class Missing(Exception):  # noqa: N818  an answer like others
    """There is no such object, or upload."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the objects of a bucket are: what their URLs begin with."""

    url: str
    region: str
    http: AIOHTTPSession


class ElsewhereError(BotoCoreError):  # type: ignore[misc]
    fmt = (
        "the store sends requests on to {host}: configure that as regionendpoint, or the bucket's region as region"
    )


class Transport(AIOHTTPSession):  # type: ignore[misc]
    """Follows no redirect: what was signed for one host no other takes.

    If the store tells a region, the SDK signs anew for that. If not, it would look for one without an end.
    """

    async def send(self, request: AWSPreparedRequest) -> Any:
        response = await super().send(request)
        if response.status_code in _REDIRECTS and REGION not in response.headers:
            to = urlsplit(response.headers.get("location", ""))
            raise ElsewhereError(host=f"{to.scheme}://{to.netloc}" if to.netloc else "another host")
        return response

    async def _get_session(self, proxy_url: str | None) -> _Unfollowing:
        return _Unfollowing(await super()._get_session(proxy_url))


class _Unfollowing:
    __slots__ = ("request",)

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.request = functools.partial(session.request, allow_redirects=False)


class Direct:
    """Asks what a client of the SDK would, with its names of operations, arguments and fields of answers.

    From the client it learns, at the first request, where the objects of its bucket are. Of one that is in another
    region it asks nothing more: the SDK remembers where. `timeout` is for connecting and for silence, in seconds;
    `verify` as in the SDK.
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
            Transport, timeout=timeout, max_pool_connections=connections, verify=verify
        )
        self._learning = asyncio.Lock()
        self._place: _Place | None = None
        self._elsewhere = False

    async def close(self) -> None:
        if self._place is not None:
            await self._place.http.close()

    async def ask(self, operation: str, arguments: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """None where the SDK is to ask. Raises `Missing`."""
        if operation not in _OPERATIONS or self._elsewhere:
            return None
        try:
            place = self._place or await self._learn()
            request = await self._request(place, operation, arguments)
            response: aiohttp.ClientResponse = (await place.http.send(request)).raw
            if response.status in _ELSEWHERE:
                self._elsewhere |= response.headers.get(REGION, place.region) != place.region
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
        method, fixed = _OPERATIONS[operation]
        url = place.url + quote(arguments.get("Key", ""), safe=_PLAIN)
        if "Key" not in arguments and urlsplit(url).path != "/":
            url = url.removesuffix("/")
        query = {_PARAMETERS[name]: value for name, value in arguments.items() if name in _PARAMETERS}
        if fixed or query:
            url += "?" + "&".join(filter(None, (fixed, urlencode(query, quote_via=quote, safe="~"))))
        parts = arguments.get("MultipartUpload")
        request = AWSRequest(method, url, data=arguments.get("Body") if parts is None else _document(parts))
        request.context["client_config"] = config = self._client.meta.config
        request.headers["User-Agent"] = config.user_agent
        for name, value in arguments.items():
            if name in _HEADERS:
                request.headers[_HEADERS[name]] = quote(value, safe=_PLAIN) if name == "CopySource" else value
        credentials = await self._credentials.get_frozen_credentials()
        S3SigV4Auth(credentials, "s3", place.region).add_auth(request)
        # The transport sends a file piece by piece, and a text at once.
        body = None if request.data is None else io.BytesIO(request.data)
        return AWSPreparedRequest(method, url, request.headers, body, stream_output=True)


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


def _document(parts: Mapping[str, Any]) -> bytes:
    """Of the parts that an upload is completed from."""
    root = ElementTree.Element("CompleteMultipartUpload", xmlns=_SPACE)
    for part in parts["Parts"]:
        element = ElementTree.SubElement(root, "Part")
        for name, value in part.items():
            ElementTree.SubElement(element, name).text = str(value)
    return ElementTree.tostring(root)


async def _answer(operation: str, response: aiohttp.ClientResponse) -> Mapping[str, Any] | None:
    headers, opens = response.headers, operation == "get_object" and response.status in _SUCCESSES
    told = b"" if opens else await response.read()
    if response.status not in _SUCCESSES:
        if response.status == 404 and (operation == "head_object" or any(code in told for code in _MISSING)):
            raise Missing
        return None
    answer: dict[str, Any] = {
        "ResponseMetadata": {"HTTPStatusCode": response.status, "HTTPHeaders": headers},
        "ETag": headers.get("ETag", ""),
    }
    if answers.expected(operation):
        document = answers.read(operation, told)
        return None if document is None else answer | document
    if operation in {"get_object", "head_object"}:
        dated = "Last-Modified" in headers
        modified = _time(headers["Last-Modified"]) if dated else None
        if "Content-Length" not in headers or (dated and modified is None):
            response.close()
            return None
        answer["ContentLength"] = int(headers["Content-Length"])
        answer["LastModified"] = modified
    if "Content-Range" in headers:
        answer["ContentRange"] = headers["Content-Range"]
    if opens:
        answer["Body"] = _Body(response)
    return answer


def _time(text: str) -> datetime.datetime | None:
    """Stores write it in the form of HTTP; what the SDK understands besides takes it longer."""
    for read in (parsedate_to_datetime, parse_timestamp):
        with contextlib.suppress(ValueError):
            made: datetime.datetime = read(text)
            return made
    return None
