"""The processes of a registry: a parent that serves nothing, workers, and one that keeps house.

The parent makes what is shared, starts the others, starts them again when they die, and passes on its end.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import resource
import signal
import sys
import time
import traceback

from lading.server.listener import Role

log = logging.getLogger(__name__)

CRASH_SECONDS = 1.0
"""A process that dies sooner after its start is started again only after this time."""

_PR_SET_PDEATHSIG = 1

_STOPPING = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGQUIT})
_HANDLED = _STOPPING | {signal.SIGCHLD, signal.SIGHUP}


def run(roles: dict[str, Role], *, drain: float) -> int:
    """Run each role in a process of its own until a signal ends them all. Returns the exit status.

    SIGHUP is passed on to them. A role is given `drain` seconds to finish after SIGTERM, or until a second signal.
    The status is 1 if any did not finish, or not well.
    """
    _raise_descriptor_limit()
    signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)
    running: dict[int, str] = {}
    started: dict[str, float] = {}
    for name in roles:
        running[_start(name, roles)] = name
        started[name] = time.monotonic()
    while True:
        received = signal.sigwait(_HANDLED)
        if received in _STOPPING:
            log.info("stopping server gracefully. Draining connections for %gs", drain)
            for role in roles.values():
                if role.listening is not None:
                    role.listening.close()
            return _stop(running, drain)
        if received == signal.SIGHUP:
            log.info("reading certificates and other files again")
            for pid in running:
                _kill(pid, signal.SIGHUP)
            continue
        for pid, status in _dead():
            name = running.pop(pid, "")
            if not name:
                continue
            log.error("%s (process %d) ended unexpectedly: %s", name, pid, _cause(status))
            if time.monotonic() - started[name] < CRASH_SECONDS:
                time.sleep(CRASH_SECONDS)
            running[_start(name, roles)] = name
            started[name] = time.monotonic()


def end_with_parent(parent: int, how: signal.Signals = signal.SIGTERM) -> None:
    """A parent that is killed outright would leave this process serving, with nobody to end it."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(how))
    if os.getppid() != parent:  # it was killed before this process could ask to be told
        os.kill(os.getpid(), how)


def _raise_descriptor_limit() -> None:
    """Every client takes a descriptor; the soft limit is low for the sake of programs that use select(2)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _start(name: str, roles: dict[str, Role]) -> int:
    sys.stdout.flush()
    sys.stderr.flush()
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        # Ctrl-C and a terminal's end reach the whole group; only the parent decides when to stop. SIGHUP is
        # nothing until the role says what it does then.
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)
        end_with_parent(parent)
        own = roles[name].listening
        for role in roles.values():
            # A socket that another process holds open too would take connections that nobody accepts.
            if role.listening is not None and role.listening is not own:
                role.listening.close()
        status = roles[name].work()
    except BaseException:  # noqa: BLE001  a child must never return into the parent's code
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        os._exit(status)
    raise AssertionError(name)


def _stop(running: dict[int, str], drain: float) -> int:
    for pid in running:
        _kill(pid, signal.SIGTERM)
    status = 0
    deadline = time.monotonic() + drain + 1
    while running and time.monotonic() < deadline:
        received = signal.sigtimedwait(_HANDLED, 0.1)
        if received is not None and received.si_signo in _STOPPING:
            log.warning("told again to stop: requests under way are cut off")
            deadline = 0.0
        for pid, ended in _dead():
            if running.pop(pid, None) and ended:
                status = 1
    for pid, role in running.items():
        log.warning("%s (process %d) did not finish and is killed", role, pid)
        _kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)
    return 1 if running else status


def _dead() -> list[tuple[int, int]]:
    found = []
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            found.append(ended)
    return found


def _kill(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _cause(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
