"""What every authorizer promises."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from lading.registry.access import (
    CATALOG,
    DELETE,
    PULL,
    PUSH,
    AccessError,
    Attempt,
    Authorizer,
    ChallengeError,
    Identity,
    Needs,
    repository,
)

REPOSITORY = "a/b"
_CHALLENGE = re.compile(r'(?:Basic|Bearer) [a-z]+="[^\r\n]*"')

_STRANGE = (
    " ",
    "Basic",
    "Bearer",
    "Basic !!!",
    "Basic " + "A" * 65536,
    "Bearer " + "." * 1000,
    "Bearer a b",
    "bearer\tx",
    "Digest username=x",
    "\x00\xff",
    "Bearer eyJhbGciOiJub25lIn0.e30.",
)


@dataclass(frozen=True, slots=True)
class Trial:
    """`good` may do everything with `a/b`, and what is `bad` nothing; both are Authorization headers."""

    authorizer: Authorizer
    good: str
    bad: tuple[str, ...] = ()
    accepts_anything: bool = False
    """Any Authorization header is good."""

    async def check(self, case: Case) -> None:
        """Run a case, which may take half a minute."""
        async with asyncio.timeout(30):
            await case(self)

    async def ask(self, authorization: str, needs: Needs) -> Identity:
        attempt = Attempt(authorization, client="192.0.2.1", host="registry.example")
        return await self.authorizer.authorize(attempt, needs)

    async def refusal(self, authorization: str, needs: Needs) -> AccessError:
        try:
            identity = await self.ask(authorization, needs)
        except AccessError as refusal:
            return refusal
        raise AssertionError(f"{authorization[:60]!r} was granted {needs}: {identity}")


Case = Callable[[Trial], Awaitable[None]]

_NEEDS = (
    Needs(),
    Needs(repository(REPOSITORY, PULL)),
    Needs(repository(REPOSITORY, PULL, PUSH)),
    Needs(repository(REPOSITORY, DELETE)),
    Needs(repository(REPOSITORY, PULL, PUSH), repository("c/d", PULL)),
    Needs((CATALOG,)),
)


def case_name(case: Case) -> str:
    return getattr(case, "__name__", "case").removeprefix("case_")


async def case_without_credentials_there_is_a_challenge(trial: Trial) -> None:
    for needs in _NEEDS:
        refusal = await trial.refusal("", needs)
        assert isinstance(refusal, ChallengeError)
        assert _CHALLENGE.fullmatch(refusal.header), refusal.header
        assert refusal.reason == "", "asking for credentials is no matter for the audit log"


async def case_a_challenge_is_the_same_each_time(trial: Trial) -> None:
    for needs in _NEEDS:
        told = {str(getattr(await trial.refusal("", needs), "header", "")) for _ in range(5)}
        assert len(told) == 1


async def case_good_credentials_are_known_and_granted(trial: Trial) -> None:
    for needs in _NEEDS[1:4]:
        identity = await trial.ask(trial.good, needs)
        assert identity.user
        assert all(map(identity.may, needs.required))


async def case_the_base_needs_credentials_alone(trial: Trial) -> None:
    assert (await trial.ask(trial.good, Needs())).user


async def case_bad_credentials_are_refused_with_a_reason(trial: Trial) -> None:
    for bad in trial.bad:
        for needs in _NEEDS[:3]:
            refusal = await trial.refusal(bad, needs)
            assert isinstance(refusal, ChallengeError)
            assert refusal.reason
            secret = bad.rpartition(" ")[2]
            assert len(secret) < 4 or secret not in refusal.reason


async def case_strange_headers_are_refused(trial: Trial) -> None:
    if trial.accepts_anything:
        return
    for strange in _STRANGE:
        assert isinstance(await trial.refusal(strange, _NEEDS[1]), ChallengeError)


async def case_many_may_ask_at_a_time(trial: Trial) -> None:
    asked = await asyncio.gather(*(trial.ask(trial.good, _NEEDS[1]) for _ in range(50)))
    assert len({identity.user for identity in asked}) == 1


async def case_repeating_costs_little(trial: Trial) -> None:
    """A thousand requests with the same credentials take no more than a second of the loop."""
    await trial.ask(trial.good, _NEEDS[1])
    started = asyncio.get_running_loop().time()
    for _ in range(1000):
        await trial.ask(trial.good, _NEEDS[1])
    assert asyncio.get_running_loop().time() - started < 1.0


CASES: tuple[Case, ...] = tuple(
    value for name, value in list(globals().items()) if name.startswith("case_") and name != "case_name"
)
