"""The contract of `lading.registry.access.Authorizer`, as cases that an authorizer has to pass.

Any test runner can drive it. With pytest (and pytest-asyncio):

    @pytest.mark.parametrize("case", CASES, ids=case_name)
    async def test_my_authorizer(case: Case) -> None:
        await Trial(MyAuthorizer(), good="Bearer for-all-of-a/b", bad=("Bearer nonsense",)).check(case)
"""

from __future__ import annotations

from lading.testing.auth.cases import CASES, Case, Trial, case_name

__all__ = ["CASES", "Case", "Trial", "case_name"]
