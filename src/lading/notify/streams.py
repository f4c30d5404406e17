"""Events as entries of a stream in redis."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisClusterException, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from lading.notify.envelope import message
from lading.notify.transport import Answer

Client = Any
"""`Redis` or `RedisCluster`: they have no type in common."""

_WORD = re.compile(r"(?:^|error: )([A-Z]+)\b")


class Stream:
    """The `Transport` to the stream `key` of the redis that `connect` makes a client of.

    With `longest`, about so many entries are kept. `timeout` is in seconds, for all that is sent at once.
    """

    def __init__(
        self, connect: Callable[[], Client], key: str, longest: int, timeout: float, *, cloudevents: bool
    ) -> None:
        self._connect = connect
        self._key = key
        self._longest = longest or None
        self._timeout = timeout
        self._cloudevents = cloudevents
        self._client: Client | None = None

    async def send(self, events: Sequence[bytes]) -> Answer:
        if self._client is None:
            self._client = self._connect()
        # In one transaction, whose keys are one: none is added without those before it.
        adding = self._client.pipeline(transaction=True)
        for event in events:
            made = message([event], cloudevents=self._cloudevents, batch=False)
            fields = {"contenttype": made.media_type, "body": made.body}
            adding.xadd(self._key, fields, maxlen=self._longest)
        try:
            async with asyncio.timeout(self._timeout):
                answers = await adding.execute(raise_on_error=False)
        except (RedisConnectionError, RedisTimeoutError, RedisClusterException, OSError) as error:
            return Answer(f"redis: {type(error).__name__}", answered=False)
        except RedisError as error:
            answers = [error]
        for answer in answers:
            if isinstance(answer, Exception):
                # Never that of an event: what one is refused for, all are.
                return Answer(f"redis: {_kind(answer)}", busy=True)
        return Answer("added", taken=True)

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()


def _kind(error: Exception) -> str:
    """The word in capitals that a refusal begins with; the client has replaced some by types of its own."""
    word = _WORD.search(str(error)) if type(error) is ResponseError else None
    return word[1] if word else type(error).__name__
