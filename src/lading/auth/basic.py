"""`htpasswd`: a name and a password with every request."""

from __future__ import annotations

from dataclasses import dataclass

from lading.auth.accounts import Accounts
from lading.auth.headers import basic_challenge, parse_basic
from lading.auth.policy import Policy
from lading.registry.access import (
    EVERYTHING,
    Attempt,
    ChallengeError,
    ForbiddenError,
    Grants,
    Identity,
    Needs,
)

_NOBODY = ("", "")
"""What some clients send who have no credentials."""


@dataclass(frozen=True, slots=True)
class BasicAuthorizer:
    """Without a policy every user may do everything."""

    realm: str
    accounts: Accounts
    policy: Policy | None = None

    async def authorize(self, attempt: Attempt, needs: Needs) -> Identity:
        credentials = parse_basic(attempt.authorization)
        if not attempt.authorization or credentials == _NOBODY:
            return self._anonymous(needs)
        if credentials is None:
            raise ChallengeError(basic_challenge(self.realm), "not Basic credentials")
        user, password = credentials
        account = await self.accounts.check(user, password, attempt.client)
        if account is None:
            raise ChallengeError(basic_challenge(self.realm), "unknown user or wrong password", user)
        grants: Grants = EVERYTHING
        if self.policy is not None:
            grants = self.policy.grants(self.policy.caller(user, account.groups))
            if not all(map(grants.allows, needs.required)):
                raise ForbiddenError("no rule allows it", user)
        return Identity(user, grants, account.groups)

    def _anonymous(self, needs: Needs) -> Identity:
        """Base requests are never anonymous: by their challenge clients find out how to sign in."""
        if self.policy is not None and needs.required:
            grants = self.policy.grants(self.policy.caller(""))
            if all(map(grants.allows, needs.required)):
                return Identity("", grants)
        raise ChallengeError(basic_challenge(self.realm))
