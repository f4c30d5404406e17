"""The contract of `lading.registry.ports.Storage`, as cases that a driver has to pass.

Any test runner can drive it. With pytest (and pytest-asyncio):

    @pytest.mark.parametrize("case", CASES, ids=case_name)
    async def test_my_driver(case: Case) -> None:
        await run(case, lambda: MyStorage("a place that is empty"))

The factory is called twice for a driver whose content is shared: the second storage stands for another process.
"""

from __future__ import annotations

from types import ModuleType

from lading.testing.storage import keys, large, objects, readers, tree, writers
from lading.testing.storage.trial import FULL, SMALL, Case, Sizes, Trial, run

__all__ = ["CASES", "FULL", "LARGE_CASES", "SMALL", "Case", "Sizes", "Trial", "case_name", "run"]


def case_name(case: Case) -> str:
    return case.__name__.removeprefix("case_")


def _cases(*modules: ModuleType) -> tuple[Case, ...]:
    return tuple(value for module in modules for name, value in vars(module).items() if name.startswith("case_"))


LARGE_CASES = _cases(large)
"""The cases that move as much as `Sizes` says: run them once more with `FULL`."""

CASES = _cases(keys, objects, readers, writers, tree) + LARGE_CASES
