"""Real registries as child processes: Lading, and the Go original it replaces. Both read the same file."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import yaml
from tests.servers.certificate import certificate
from tests.servers.client import Client
from tests.servers.peers import executable
from tests.servers.serving import DEFAULT, Serving

START_SECONDS = 30.0
STOP_SECONDS = 15.0
SECRET = "a secret that both registries are given"

Config = dict[str, Any]


class RegistryProcessError(AssertionError):
    """A registry did not start or did not stop; the text ends with its log."""


@dataclass(frozen=True)
class Program:
    """How a registry is run: its command lines without the configuration file."""

    name: str
    executable: str
    serving: Serving = DEFAULT

    def serve(self, config: Path) -> list[str]:
        return [self.executable, "serve", str(config), *self.serving.arguments()]

    def collect_garbage(self, config: Path) -> list[str]:
        return [self.executable, "garbage-collect", str(config)]


def lading(serving: Serving = DEFAULT) -> Program:
    """LADING_TESTS_AGAINST=distribution puts the original in its place: so the tests themselves can be tested."""
    if os.environ.get("LADING_TESTS_AGAINST") == "distribution":
        return distribution()
    return Program("lading", str(Path(sys.executable).with_name("lading")), serving)


def distribution() -> Program:
    """The Go original; skips the test where it is not installed."""
    return Program("distribution", executable("registry"))


def configuration(root: Path, extra: Mapping[str, Any] | None = None) -> Config:
    """A file that both registries accept; `extra` is merged over it; None takes a key out."""
    base: Config = {
        "version": "0.1",
        "log": {"level": "info"},
        "storage": {"filesystem": {"rootdirectory": str(root)}, "delete": {"enabled": True}},
        "http": {"secret": SECRET},
    }
    if extra is not None and {"azure", "gcs"} & extra.get("storage", {}).keys():
        del base["storage"]["filesystem"]
    return _merge(base, extra or {})


def _merge(base: Config, extra: Mapping[str, Any]) -> Config:
    merged = dict(base)
    for key, value in extra.items():
        inner = merged.get(key)
        merged[key] = _merge(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
        if value is None:
            del merged[key]
    return merged


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("REGISTRY_")}
    return kept | {"OTEL_TRACES_EXPORTER": "none"}


def _reserve_port() -> socket.socket:
    """A socket that is bound but never listens: no other test is given its port, yet a server can take it."""
    reserved = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    reserved.bind(("127.0.0.1", 0))
    return reserved


class Registry:
    """A running registry: where it listens, where its data lies, and a client to talk to it."""

    def __init__(self, program: Program, folder: Path, root: Path, extra: Mapping[str, Any]) -> None:
        """`folder` takes the configuration file and the log; `root` is the storage directory."""
        folder.mkdir(parents=True, exist_ok=True)
        root.mkdir(parents=True, exist_ok=True)
        self.program = program
        self.root = root
        self._port = _reserve_port()
        self.host = f"127.0.0.1:{self._port.getsockname()[1]}"
        self.serving = program.serving
        self.client = Client(self.host, certificate().trusting() if self.serving.tls else None)
        self.config = folder / f"{program.name}.yml"
        self.log = folder / f"{program.name}.log"
        settings = _merge(configuration(root, extra), self.serving.settings())
        settings = _merge(settings, {"http": {"addr": self.host}})
        self._base = settings["http"].get("prefix", "/") + "v2/"
        self.config.write_text(yaml.safe_dump(settings, sort_keys=False))
        self._process = self._spawn()

    def _spawn(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                self.program.serve(self.config),
                cwd=self.config.parent,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # its own process group: workers can be stopped with it
            )

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None:
                raise RegistryProcessError(self._story(f"exited with {self._process.returncode} at start"))
            if time.monotonic() > deadline:
                self._kill()
                raise RegistryProcessError(self._story(f"did not answer within {START_SECONDS:.0f} s"))
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            return self.client.request("GET", self._base).status in {200, 401}
        except (OSError, http.client.HTTPException):
            return False

    def said(self, pattern: str) -> re.Match[str]:
        """Where the log first has it, which is waited for: it may come some time after the first answer."""
        deadline = time.monotonic() + START_SECONDS
        while (found := re.search(pattern, self.log.read_text(errors="replace"))) is None:
            if time.monotonic() > deadline:
                raise RegistryProcessError(self._story(f"did not say {pattern!r} within {START_SECONDS:.0f} s"))
            time.sleep(0.02)
        return found

    def debug(self) -> Client:
        """A client of its debug listener, which is started apart from those that answer `/v2/`."""
        return Client(self.said(r"debug server listening (127\.0\.0\.1:\d+)\D")[1])

    def stop(self) -> None:
        """SIGTERM, as an operator would; a registry that ignores it is killed and reported."""
        try:
            if self._process.poll() is None:
                self._process.terminate()
                self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise RegistryProcessError(self._story(f"ran on for {STOP_SECONDS:.0f} s after SIGTERM")) from error
        finally:
            self._kill()
            self._port.close()

    def kill(self) -> None:
        """`kill -9`, workers included: what a power cut does to a process."""
        self._kill()

    def children(self) -> list[int]:
        """The processes that it has started and that are there, by their ids."""
        pid = self._process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def collect_garbage(self) -> str:
        """Run the program's own garbage collector over the directory; returns what it printed."""
        command = self.program.collect_garbage(self.config)
        run = subprocess.run(command, env=_environment(), capture_output=True, text=True, timeout=60, check=False)
        assert run.returncode == 0, f"{command} exited with {run.returncode}:\n{run.stdout}{run.stderr}"
        return run.stdout

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(STOP_SECONDS)

    def _story(self, what: str) -> str:
        text = self.log.read_text(errors="replace")
        return f"{' '.join(self.program.serve(self.config))} {what}; its log:\n{text[-4000:]}"


class StartRegistry(Protocol):
    """Starts a registry. `root` is its storage directory (default: a new one); `extra` joins its configuration."""

    def __call__(self, root: Path | None = None, extra: Config | None = None) -> Registry: ...


@contextlib.contextmanager
def registries(program: Program, folder: Path) -> Iterator[StartRegistry]:
    """A way to start any number of registries; those that still run at the end are stopped."""
    counter = itertools.count()

    def start(root: Path | None = None, extra: Config | None = None) -> Registry:
        place = folder / f"{program.name}-{next(counter)}"
        registry = Registry(program, place, root or place / "data", extra or {})
        stack.callback(registry.stop)
        stack.callback(_show_log, registry)
        registry.wait_until_ready()
        return registry

    with contextlib.ExitStack() as stack:
        yield start


def _show_log(registry: Registry) -> None:
    """pytest shows it where the test failed."""
    print(f"--- log of {registry.program.name} on {registry.host}")
    print(registry.log.read_text(errors="replace")[-8000:])
