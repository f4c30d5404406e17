"""How the SDK sends what `direct` leaves to it."""

from __future__ import annotations

import functools
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiobotocore.httpsession import AIOHTTPSession
from botocore.awsrequest import AWSPreparedRequest
from botocore.exceptions import BotoCoreError

REGION = "x-amz-bucket-region"
"""The header in which a store tells where the bucket is."""
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


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
