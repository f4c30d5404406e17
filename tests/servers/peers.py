"""The real clients that `tests/peers.sh` installs, each run in a home of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

import pytest

RUN_SECONDS = 90.0

_PLAIN_HTTP = {"--plain-http", "--to-plain-http", "--from-plain-http", "--allow-http-registry"}
"""Options of several clients, that no registry with a certificate needs."""

_FROM_DEBIAN = {
    *("skopeo", "podman", "buildah", "umoci", "pebble", "pebble-challtestsrv"),
    *("apache2", "containerd", "ctr", "dpkg-deb", "htpasswd", "jq", "nginx", "redis-server"),
}

_PACKAGES = (
    *("skopeo", "podman", "buildah", "umoci", "pebble", "apache2", "apache2-utils", "containerd"),
    *("jq", "nginx", "nodejs", "redis-server"),
)


def executable(name: str) -> str:
    """The path of a peer. Without it the test is skipped, or fails where CI=true: there it must not be missing.

    What Go built is looked for in its own folder alone: `registry` on the PATH may well be Lading.
    """
    found = shutil.which(name, path=None if name in _FROM_DEBIAN else str(peers_folder() / "bin"))
    return found if found is not None else missing(name)


def debian_root() -> Path:
    """A tar archive of a small Debian; skips or fails as `executable` does."""
    found = sorted(peers_folder().glob("debian-*.tar"))
    return found[-1] if found else missing("debian-root")


def peers_folder() -> Path:
    return Path(os.environ.get("LADING_PEERS", Path.home() / ".cache/lading/peers"))


def versions() -> list[str]:
    """Of all peers that are installed: what Go and Node.js were told to build, and what Debian has."""
    built = [stamp.read_text().strip() for stamp in sorted(peers_folder().glob("stamps/*"))]
    if shutil.which("dpkg-query") is None:
        return built
    command = ["dpkg-query", "--show", "--showformat", "${db:Status-Abbrev} ${Package} ${Version}\n", *_PACKAGES]
    # Its status is 1 where one of them is not installed.
    known = subprocess.run(command, capture_output=True, text=True, timeout=RUN_SECONDS, check=False).stdout
    return [*built, *(line.removeprefix("ii  ") for line in known.splitlines() if line.startswith("ii "))]


def missing(name: str) -> NoReturn:
    reason = f"{name} is not installed: run tests/peers.sh"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


class Peer:
    """A client program. Nothing of the user's own configuration reaches it, and nothing of it stays behind."""

    def __init__(self, path: str, home: Path, authority: Path | None = None) -> None:
        """With an `authority` it trusts what that has signed, and options for plain HTTP are left out."""
        home.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._encrypted = authority is not None
        self._environment = {
            "PATH": f"{Path(path).parent}:{os.environ.get('PATH', os.defpath)}",
            "HOME": str(home),
            "TMPDIR": str(home),
            "XDG_RUNTIME_DIR": str(home),
            "LANG": "C.UTF-8",
        }
        if authority is not None:
            self._environment["SSL_CERT_FILE"] = str(authority)

    def __call__(
        self,
        *arguments: str | Path,
        folder: Path | None = None,
        given: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> str:
        """Run to the end and return standard output; `given` goes to standard input."""
        return self._succeed(arguments, folder, given, environment).stdout

    def said(self, *arguments: str | Path, folder: Path | None = None) -> str:
        """Run to the end and return standard output and standard error."""
        run = self._succeed(arguments, folder, None, None)
        return run.stdout + run.stderr

    def refused(self, *arguments: str | Path, folder: Path | None = None) -> str:
        """Run what must fail and return all that it said."""
        run = self._run(arguments, folder, None, None)
        assert run.returncode != 0, f"{self._line(arguments)} should have failed, but said:\n{run.stdout}"
        return run.stdout + run.stderr

    def _succeed(
        self,
        arguments: tuple[str | Path, ...],
        folder: Path | None,
        given: str | None,
        environment: Mapping[str, str] | None,
    ) -> subprocess.CompletedProcess[str]:
        run = self._run(arguments, folder, given, environment)
        said = f"exited with {run.returncode}:\n{run.stdout}{run.stderr}"
        assert run.returncode == 0, f"{self._line(arguments)} {said}"
        return run

    def _run(
        self,
        arguments: tuple[str | Path, ...],
        folder: Path | None,
        given: str | None,
        environment: Mapping[str, str] | None,
    ) -> subprocess.CompletedProcess[str]:
        left_out = _PLAIN_HTTP if self._encrypted else set()
        return subprocess.run(
            [self._path, *(str(each) for each in arguments if each not in left_out)],
            cwd=folder,
            input=given,
            stdin=subprocess.DEVNULL if given is None else None,
            env=self._environment | dict(environment or {}),
            capture_output=True,
            text=True,
            timeout=RUN_SECONDS,
            check=False,
        )

    def _line(self, arguments: tuple[str | Path, ...]) -> str:
        return " ".join([Path(self._path).name, *map(str, arguments)])
