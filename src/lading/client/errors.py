"""What a registry did not give. Texts name the registry and what it said, and hold no secret."""

from __future__ import annotations

from typing import Any


class ClientError(Exception):
    """The base of them all."""


class UnreachableError(ClientError):
    """No connection, no answer in time, or an answer that broke off."""


class InvalidAnswerError(ClientError):
    """An answer that no registry gives, or content that is not what its digest or size says."""


class AnswerError(ClientError):
    """An answer with a status that means no.

    `code`, `message` and `detail` are of the specification's first error; "" and None without one. `retry_after`
    is in seconds, 0 where the registry did not say.
    """

    def __init__(
        self,
        what: str,
        status: int,
        code: str = "",
        retry_after: float = 0.0,
        *,
        message: str = "",
        detail: Any = None,
    ) -> None:
        super().__init__(what)
        self.status = status
        self.code = code
        self.retry_after = retry_after
        self.message = message
        self.detail = detail


class NotFoundError(AnswerError):
    """404."""


class RefusedError(AnswerError):
    """401 or 403: other credentials are needed, or no credentials help."""


class RateLimitedError(AnswerError):
    """429."""


KINDS: dict[int, type[AnswerError]] = {
    401: RefusedError,
    403: RefusedError,
    404: NotFoundError,
    429: RateLimitedError,
}
"""Other statuses are an `AnswerError`."""
