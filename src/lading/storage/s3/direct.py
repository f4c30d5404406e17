"""The most frequent requests, with the SDK's credentials, but not made by its layers.

Those describe and check each request, which takes several times as long as all the rest. What is not answered as
it should be is asked again by the SDK: it tries several times, finds buckets in other regions and reads errors.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime
import ssl
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit
from xml.etree import ElementTree

from aiobotocore.credentials import AioCredentials
from botocore.exceptions import BotoCoreError
from botocore.httpsession import create_urllib3_context, get_cert_path
from botocore.utils import get_environ_proxies, parse_timestamp

from lading.storage.s3 import answers, signing
from lading.storage.s3.transport import REGION
from lading.storage.s3.wire import Answer, Host

_OPERATIONS = {
    "abort_multipart_upload": ("DELETE", ""),
    "complete_multipart_upload": ("POST", ""),
    "copy_object": ("PUT", ""),
    "create_multipart_upload": ("POST", "uploads="),
    "delete_object": ("DELETE", ""),
    "delete_objects": ("POST", "delete="),
    "get_object": ("GET", ""),
    "head_object": ("HEAD", ""),
    "list_multipart_uploads": ("GET", "uploads="),
    "list_objects_v2": ("GET", "list-type=2&encoding-type=url"),
    "list_parts": ("GET", ""),
    "put_object": ("PUT", ""),
    "upload_part": ("PUT", ""),
    "upload_part_copy": ("PUT", ""),
}
"""The method of each, and what its query has in any case."""

_HEADERS = {
    "ACL": "x-amz-acl",
    "ContentType": "content-type",
    "CopySource": "x-amz-copy-source",
    "CopySourceRange": "x-amz-copy-source-range",
    "IfMatch": "if-match",
    "IfNoneMatch": "if-none-match",
    "MetadataDirective": "x-amz-metadata-directive",
    "Range": "range",
    "SSEKMSKeyId": "x-amz-server-side-encryption-aws-kms-key-id",
    "ServerSideEncryption": "x-amz-server-side-encryption",
    "StorageClass": "x-amz-storage-class",
}
_ALWAYS = {"accept": "*/*", "accept-encoding": "identity"}
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
_READING = frozenset({"GET", "HEAD"})
_SUCCESSES = frozenset({200, 204, 206})
_ELSEWHERE = frozenset({301, 307, 400})
"""With these answers a store tells that the bucket is in another region."""
_PLAIN = "/~"
"""What is not encoded in the names of objects, beside what never is."""
_PROBE = "x"
_SPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


class Missing(Exception):  # noqa: N818  an answer like others
    """There is no such object, or upload."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the objects of a bucket are: what the paths of their URLs begin with, and who is asked for them."""

    path: str
    name: str
    region: str
    host: Host


class Direct:
    """Asks what a client of the SDK would, with its names of operations, arguments and fields of answers.

    From the client it learns, at the first request, where the objects of its bucket are. Of one that is in another
    region it asks nothing more: the SDK remembers where. Nor of one behind a proxy. `timeout` is for connecting
    and for silence, in seconds; `verify` as in the SDK.
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
        self._timeout = timeout
        self._connections = connections
        self._verify = verify
        self._learning = asyncio.Lock()
        self._place: _Place | None = None
        self._elsewhere = False

    @property
    def asks(self) -> bool:
        """False where the SDK makes all requests."""
        return not self._elsewhere

    async def close(self) -> None:
        if self._place is not None:
            self._place.host.close()

    async def ask(self, operation: str, arguments: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """None where the SDK is to ask. Raises `Missing`."""
        if operation not in _OPERATIONS or not self.asks:
            return None
        try:
            place = self._place or await self.learn()
            if place is None:
                return None
            answer = await self._send(place, operation, arguments)
            if answer.status in _ELSEWHERE:
                self._elsewhere |= answer.headers.get(REGION, place.region) != place.region
            return await _answer(operation, answer)
        except (BotoCoreError, OSError):
            return None

    async def learn(self) -> _Place | None:
        """Where the objects are; None where the SDK is to ask. Makes no request, unless for credentials."""
        async with self._learning:
            if self._place is None and not self._elsewhere:
                probe = {"Bucket": self._bucket, "Key": _PROBE}
                url = urlsplit(await self._client.generate_presigned_url("get_object", Params=probe))
                if url.scheme in get_environ_proxies(url.geturl()):
                    self._elsewhere = True
                    return None
                encrypted = url.scheme == "https"
                port = 443 if encrypted else 80
                host = Host(
                    url.hostname or "",
                    url.port or port,
                    await asyncio.to_thread(_trusting, self._verify) if encrypted else None,
                    connect_seconds=self._timeout[0],
                    silence=self._timeout[1],
                    connections=self._connections,
                )
                region = parse_qs(url.query)["X-Amz-Credential"][0].split("/")[-3]
                name = url.netloc.removesuffix(f":{port}")
                self._place = _Place(url.path.removesuffix(_PROBE), name, region, host)
        return self._place

    async def _send(self, place: _Place, operation: str, arguments: Mapping[str, Any]) -> Answer:
        method, query = _OPERATIONS[operation]
        path = place.path + quote(arguments.get("Key", ""), safe=_PLAIN)
        if "Key" not in arguments and path != "/":
            path = path.removesuffix("/")
        headers = {"host": place.name}
        given: dict[str, str] = {}
        for name, value in arguments.items():
            if name in _PARAMETERS:
                given[_PARAMETERS[name]] = value
            elif name in _HEADERS:
                headers[_HEADERS[name]] = quote(value, safe=_PLAIN) if name == "CopySource" else value
        if given:
            query = "&".join(filter(None, (query, urlencode(given, quote_via=quote, safe="~"))))
        body: bytes = arguments.get("Body", b"")
        if "MultipartUpload" in arguments:
            body = _document("CompleteMultipartUpload", arguments["MultipartUpload"], "Parts", "Part")
        elif "Delete" in arguments:
            body = _document("Delete", arguments["Delete"], "Objects", "Object")
            # Stores take no list of what is to be deleted without a sum of it.
            headers["x-amz-sdk-checksum-algorithm"] = "CRC32"
            headers["x-amz-checksum-crc32"] = base64.b64encode(zlib.crc32(body).to_bytes(4)).decode()
        credentials = await self._credentials.get_frozen_credentials()
        headers = signing.signed(method, path, query, headers, credentials, place.region)
        headers |= {**_ALWAYS, "user-agent": self._client.meta.config.user_agent}
        if method not in _READING:
            headers["content-length"] = str(len(body))
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        target = f"{path}?{query}" if query else path
        return await place.host.send(method, f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode(), body)


def _trusting(verify: bool | str) -> ssl.SSLContext:
    """As the SDK's transport makes it."""
    context: ssl.SSLContext = create_urllib3_context()
    if verify:
        context.check_hostname = True
        context.load_verify_locations(get_cert_path(verify))
    else:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class _Body:
    """As the SDK's body of an object."""

    __slots__ = ("close", "read")

    def __init__(self, answer: Answer) -> None:
        self.read = answer.read
        self.close = answer.close

    async def __aenter__(self) -> _Body:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()


def _document(kind: str, content: Mapping[str, Any], several: str, one: str) -> bytes:
    """With an element of the name `one` for each of the list `several`, and one for each other value."""
    root = ElementTree.Element(kind, xmlns=_SPACE)
    for name, value in content.items():
        for each in value if name == several else ():
            element = ElementTree.SubElement(root, one)
            for inner, text in each.items():
                ElementTree.SubElement(element, inner).text = str(text)
        if name != several:
            ElementTree.SubElement(root, name).text = str(value).lower()
    # Ends of lines in names are no layout.
    return ElementTree.tostring(root).replace(b"\r", b"&#xD;").replace(b"\n", b"&#xA;")


async def _answer(operation: str, answer: Answer) -> Mapping[str, Any] | None:
    """Raises `Missing`. The answer is left open if it is an object."""
    opens = operation == "get_object" and answer.status in _SUCCESSES
    read: dict[str, Any] | None = None
    try:
        told = b"" if opens else await answer.read()
        read = _read(operation, answer.status, answer.headers, told)
    finally:
        if not opens or read is None:
            answer.close()
    if opens and read is not None:
        read["Body"] = _Body(answer)
    return read


def _read(operation: str, status: int, headers: Mapping[str, str], told: bytes) -> dict[str, Any] | None:
    if status not in _SUCCESSES:
        if status == 404 and (operation == "head_object" or any(code in told for code in _MISSING)):
            raise Missing
        return None
    made: dict[str, Any] = {
        "ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": headers},
        "ETag": headers.get("etag", ""),
    }
    if answers.expected(operation):
        document = answers.read(operation, told)
        return None if document is None else made | document
    if operation in {"get_object", "head_object"}:
        dated = "last-modified" in headers
        modified = _time(headers["last-modified"]) if dated else None
        if "content-length" not in headers or (dated and modified is None):
            return None
        made["ContentLength"] = int(headers["content-length"])
        made["LastModified"] = modified
    if "content-range" in headers:
        made["ContentRange"] = headers["content-range"]
    return made


def _time(text: str) -> datetime.datetime | None:
    """Stores write it in the form of HTTP; what the SDK understands besides takes it longer."""
    for read in (parsedate_to_datetime, parse_timestamp):
        with contextlib.suppress(ValueError):
            made: datetime.datetime = read(text)
            return made
    return None
