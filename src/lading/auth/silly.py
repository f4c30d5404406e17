"""`silly`: any Authorization header will do. For trying out what clients do with a challenge."""

from __future__ import annotations

from dataclasses import dataclass

from lading.auth.headers import bearer_challenge
from lading.registry.access import Attempt, ChallengeError, Identity, Needs

_SILLY = Identity("silly")


@dataclass(frozen=True, slots=True)
class SillyAuthorizer:
    realm: str
    service: str

    async def authorize(self, attempt: Attempt, needs: Needs) -> Identity:
        if attempt.authorization:
            return _SILLY
        raise ChallengeError(bearer_challenge(self.realm, self.service, " ".join(map(str, needs.all))))
