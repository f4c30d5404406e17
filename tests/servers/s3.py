"""A stand-in of S3 that takes everything and writes down what it was asked: no server tells what it was sent."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from aiohttp import web

MIB = 1024 * 1024
TOMORROW = (datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
CREDENTIALS = {"Code": "Success", "Type": "AWS-HMAC", "Expiration": TOMORROW}


@dataclass
class Asked:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def operation(self) -> str:
        copies = "copy " if "x-amz-copy-source" in self.headers else ""
        return f"{copies}{self.method} {' '.join(sorted(self.query.keys() - {'x-id'}))}".strip()


@dataclass
class Store:
    host: str = ""
    asked: list[Asked] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    """Of web identities that were shown to it as the token service."""
    refusals: list[int] = field(default_factory=list)
    """The statuses of the next answers, all with the text `told`."""
    told: str = ""
    object: bytes = b""
    """What a part of is asked for."""
    bare: bool = False
    """The instance has no credentials."""
    region: str = ""
    """Of which requests are to be signed, if it is of any."""
    tells_region_in_header: bool = True
    redirecting: tuple[int, str] | None = None
    """The status of every answer, and where it sends."""
    size: int | None = None
    """Of the object that HEAD finds, if it finds one."""
    listed: str = ""
    """The name of the only object that is listed, without a date."""
    modified: str = "Thu, 01 Jan 2026 00:00:00 GMT"
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    """Parts are answered when it is open."""

    def __post_init__(self) -> None:
        self.gate.set()

    async def answer(self, request: web.Request) -> web.Response:
        if request.path.startswith("/latest/"):
            return web.Response(status=404) if self.bare else self._metadata(request)
        if request.path == "/sts":
            return await self._identity(request)
        headers = {name.lower(): value for name, value in request.headers.items()}
        asked = Asked(request.method, request.path, dict(request.query), headers, await request.read())
        self.asked.append(asked)
        if asked.operation == "PUT partNumber uploadId":
            await self.gate.wait()
        if self.redirecting is not None:
            status, to = self.redirecting
            return web.Response(status=status, headers={"Location": to})
        if self.refusals:
            return web.Response(status=self.refusals.pop(0), text=self.told)
        if self.region and f"/{self.region}/s3/" not in headers["authorization"]:
            told = f"<Error><Code>AuthorizationHeaderMalformed</Code><Region>{self.region}</Region></Error>"
            region = {"x-amz-bucket-region": self.region} if self.tells_region_in_header else {}
            return web.Response(status=400, text=told, headers=region)
        now = "2026-01-01T00:00:00.000Z"
        texts = {
            "POST uploads": "<InitiateMultipartUploadResult><UploadId>u</UploadId>"
            "</InitiateMultipartUploadResult>",
            "POST delete": "<DeleteResult></DeleteResult>",
            "GET prefix uploads": "<ListMultipartUploadsResult></ListMultipartUploadsResult>",
            "POST uploadId": "<CompleteMultipartUploadResult><ETag>e</ETag></CompleteMultipartUploadResult>",
            "copy PUT": f"<CopyObjectResult><ETag>e</ETag><LastModified>{now}</LastModified></CopyObjectResult>",
            "copy PUT partNumber uploadId": f"<CopyPartResult><ETag>e</ETag><LastModified>{now}</LastModified>"
            "</CopyPartResult>",
        }
        dated = {"ETag": '"e"', **({"Last-Modified": self.modified} if self.modified else {})}
        if asked.method == "HEAD" and not asked.path.endswith("~lock"):
            if self.size is None:
                return web.Response(status=404)
            return web.Response(headers={**dated, "Content-Length": str(self.size)})
        if self.object and (span := headers.get("range")):
            first, _, last = span.removeprefix("bytes=").partition("-")
            content = self.object[int(first) : int(last) + 1]
            of_range = {**dated, "Content-Range": f"bytes {first}-{last}/1"}
            return web.Response(status=206, body=content, headers=of_range)
        there = f"<Contents><Key>{self.listed}</Key><Size>7</Size></Contents>" if self.listed else ""
        listing = asked.query.get("list-type") and f"<ListBucketResult>{there}</ListBucketResult>"
        return web.Response(text=listing or texts.get(asked.operation, ""), headers=dated)

    def _metadata(self, request: web.Request) -> web.Response:
        if request.method == "PUT":
            return web.Response(text="token of the instance")
        assert request.headers["x-aws-ec2-metadata-token"] == "token of the instance"
        if request.path.endswith("/security-credentials/"):
            return web.Response(text="role")
        named = {"AccessKeyId": "instance", "SecretAccessKey": "s", "Token": "of the instance"}
        return web.json_response({**CREDENTIALS, **named})

    async def _identity(self, request: web.Request) -> web.Response:
        form = await request.post()
        self.tokens.append(str(form["WebIdentityToken"]))
        inner = (
            "<AccessKeyId>identity</AccessKeyId><SecretAccessKey>s</SecretAccessKey>"
            f"<SessionToken>of the identity</SessionToken><Expiration>{TOMORROW}</Expiration>"
        )
        name = "AssumeRoleWithWebIdentity"
        result = f"<{name}Result><Credentials>{inner}</Credentials></{name}Result>"
        answer = f"<{name}Response>{result}</{name}Response>"
        return web.Response(text=answer, content_type="text/xml")


@contextlib.asynccontextmanager
async def standing(tls: ssl.SSLContext | None = None) -> AsyncIterator[Store]:
    made = Store()
    app = web.Application(client_max_size=64 * MIB)
    app.router.add_route("*", "/{path:.*}", made.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    address = runner.addresses[0]
    made.host = f"{'https' if tls else 'http'}://{address[0]}:{address[1]}"
    yield made
    await runner.cleanup()
