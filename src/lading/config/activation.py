"""Sockets that a service manager has opened for this process: the protocol of sd_listen_fds(3)."""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from dataclasses import dataclass

_FIRST = 3
_VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


class ActivationError(ValueError):
    """More sockets than there is a use for; the text is for the operator."""


@dataclass(frozen=True, slots=True)
class Activation:
    """Descriptors; None where nothing was passed."""

    http: int | None = None
    debug: int | None = None


NOT_PASSED = Activation()


def take(environ: MutableMapping[str, str] | None = None) -> Activation:
    """What was passed to this process; the variables are removed, so that no child takes it for its own.

    Two sockets are those of the registry and of the debug listener, in this order, or as `LISTEN_FDNAMES` calls
    them: `http`, `debug`. A single one is the registry's, unless it is called `debug`. Raises `ActivationError`.
    """
    environ = os.environ if environ is None else environ
    pid, count, names = (environ.pop(name, "") for name in _VARIABLES)
    if pid != str(os.getpid()) or not (count.isascii() and count.isdigit()) or int(count) < 1:
        return NOT_PASSED
    if int(count) > 2:
        raise ActivationError(f"found {count} socket-activation listeners, only expected 1 or 2")
    passed = list(range(_FIRST, _FIRST + int(count)))
    match names.split(":"):
        case ["debug"] if len(passed) == 1:
            return Activation(debug=passed[0])
        case ["debug", "http"]:
            passed.reverse()
    return Activation(*passed)
