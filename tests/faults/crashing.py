"""A program that runs a scenario and dies just before its n-th change of the disk, for every n; or draws up a
list of all the changes. The production code knows nothing of it: the functions of `os` are replaced in here.

    python -m tests.faults.crashing crash SCENARIO DIRECTORY      a directory for every n, with `data` and `ledger`
    python -m tests.faults.crashing trace SCENARIO DIRECTORY      one run, with a `trace` of changes and facts
"""

from __future__ import annotations

import base64
import functools
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.faults.inprocess import in_process
from tests.faults.ledger import Ledger
from tests.faults.scenarios import SCENARIOS, Scenario

CRASHED = 9
_REAL = {name: getattr(os, name) for name in dir(os) if callable(getattr(os, name))}
_CHANGES = ("open", "write", "writev", "ftruncate", "fsync", "replace", "unlink", "mkdir", "rmdir")
_WRITES = ("write", "writev")


class Crash:
    """Counts changes once it is armed; with `torn` only writes, of which the last is half done."""

    def __init__(self, at: int, *, torn: bool) -> None:
        self.at = at
        self.torn = torn
        self.armed = False
        self.seen = 0

    def install(self) -> None:
        for name in _CHANGES:
            setattr(os, name, functools.partial(self._change, name))

    def _change(self, name: str, *arguments: Any, **keywords: Any) -> Any:
        if self.armed and (name in _WRITES if self.torn else name != "open" or arguments[1] & os.O_CREAT):
            self.seen += 1
            if self.seen == self.at:
                if self.torn:
                    data = arguments[1] if name == "write" else b"".join(arguments[1])
                    _REAL["write"](arguments[0], data[: len(data) // 2])
                _REAL["_exit"](CRASHED)
        return _REAL[name](*arguments, **keywords)


class Trace:
    """Writes down every change, in the order in which they happened."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write

    def install(self) -> None:
        for name in (*_CHANGES, "lseek", "close"):
            setattr(os, name, functools.partial(self._change, name))

    def fact(self, line: str) -> None:
        self._note("fact", [line], None)

    def _change(self, name: str, *arguments: Any, **keywords: Any) -> Any:
        path = arguments[0]
        if "dir_fd" in keywords and keywords["dir_fd"] is not None and isinstance(path, str):
            path = os.readlink(f"/proc/self/fd/{keywords['dir_fd']}") + "/" + path
        result = _REAL[name](*arguments, **keywords)
        rest = [b"".join(arguments[1])] if name == "writev" else list(arguments[1:])
        self._note(name, [path, *rest], result)
        return result

    def _note(self, name: str, arguments: list[Any], result: Any) -> None:
        shown = [
            {"bytes": base64.b64encode(bytes(argument)).decode()}
            if isinstance(argument, bytes | memoryview)
            else argument
            for argument in arguments
        ]
        self._write(json.dumps([name, shown, result]) + "\n")


def crash(scenario: Scenario, directory: Path) -> None:
    for torn in (False, True):
        for at in range(1, 10_000):
            place = directory / f"{'torn' if torn else 'before'}-{at:04}"
            place.mkdir(parents=True)
            child = os.fork()
            if child == 0:
                _run_to_the_end(scenario, place, Crash(at, torn=torn))
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            if code == 0:
                break
            assert code == CRASHED, f"{place} ended with {code}"


def _run_to_the_end(scenario: Scenario, place: Path, fault: Crash) -> None:
    code = 1
    try:
        fault.install()
        _run(scenario, place, lambda: setattr(fault, "armed", True))
        code = 0
    except BaseException:  # noqa: BLE001  it must not return into the parent's loop
        import traceback

        traceback.print_exc()
    finally:
        _REAL["_exit"](code)


def _run(scenario: Scenario, place: Path, arm: Callable[[], None], trace: Trace | None = None) -> None:
    descriptor = _REAL["open"](place / "ledger", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def note(line: str) -> None:
        _REAL["write"](descriptor, line.encode())
        if trace is not None:
            trace.fact(line)

    root = place / "data"
    _REAL["mkdir"](root)
    with in_process(root) as client:
        ledger = Ledger(note)
        scenario.prepare(client, ledger)
        arm()
        scenario.run(client, ledger)


def trace(scenario: Scenario, directory: Path) -> None:
    directory.mkdir(parents=True)
    with (directory / "trace").open("w") as file:
        changes = Trace(file.write)
        changes.install()
        _run(scenario, directory, lambda: None, changes)


if __name__ == "__main__":
    what, name, where = sys.argv[1:]
    if what == "crash":
        crash(SCENARIOS[name], Path(where))
    else:
        trace(SCENARIOS[name], Path(where))
