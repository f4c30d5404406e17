"""A running registry with a debug listener."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families
from tests.servers.client import Client
from tests.servers.ports import free_port

SECONDS = 30.0

STOCK = """\
version: 0.1
log:
  level: debug
  fields:
    service: registry
    environment: development
storage:
  delete:
    enabled: true
  cache:
    blobdescriptor: inmemory
  filesystem:
    rootdirectory: /var/lib/registry
  maintenance:
    uploadpurging:
      enabled: false
  tag:
    concurrencylimit: 8
http:
  addr: :5000
  debug:
    addr: :5001
    prometheus:
      enabled: true
      path: /metrics
  headers:
    X-Content-Type-Options: [nosniff]
health:
  storagedriver:
    enabled: true
    interval: 10s
    threshold: 3
"""
"""The configuration of the `registry:3` image."""


@dataclass(frozen=True)
class Watched:
    """A registry, its debug listener and its log."""

    process: subprocess.Popen[bytes]
    client: Client
    debug: Client
    log: Path

    def metrics(self) -> dict[str, float]:
        text = self.debug.request("GET", "/metrics").expect(200).body.decode()
        return {
            f"{sample.name}{json.dumps(sample.labels, sort_keys=True)}": sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def requests(self) -> float:
        """Answered by `/v2/`."""
        return sum(v for k, v in self.metrics().items() if k.startswith("registry_http_requests_total"))

    def until(self, found: Callable[[], object], wanted: object) -> None:
        deadline = time.monotonic() + SECONDS
        while (seen := found()) != wanted:
            waiting = self.process.poll() is None and time.monotonic() < deadline
            assert waiting, f"{seen}; the log:\n{self.log.read_text()}"
            time.sleep(0.02)

    def status(self, client: Client, path: str) -> int:
        try:
            return client.request("GET", path).status
        except OSError:
            return 0

    def workers(self) -> list[int]:
        """The processes that answer, but for the housekeeping one, which is the last to be started."""
        answering = [p["pid"] for p in self.debug.request("GET", "/debug/memory").json() if p["python"]]
        return sorted(answering)[:-1]


StartWatched = Callable[..., Watched]


@contextlib.contextmanager
def watched_registries(tmp_path: Path) -> Iterator[StartWatched]:
    with contextlib.ExitStack() as stack:

        def start(text: str = STOCK, program: str = "", **variables: str) -> Watched:
            config, log = tmp_path / "config.yml", tmp_path / "log"
            config.write_text(text)
            where, debug = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
            environ = {name: value for name, value in os.environ.items() if not name.startswith("REGISTRY_")}
            environ |= {
                "OTEL_TRACES_EXPORTER": "none",
                "REGISTRY_HTTP_ADDR": where,
                "REGISTRY_HTTP_DEBUG_ADDR": debug,
                "REGISTRY_HTTP_SECRET": "s",
                "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY": str(tmp_path / "data"),
            }
            command = [program] if program else [str(Path(sys.executable).with_name("lading"))]
            with log.open("wb") as file:
                process = subprocess.Popen(
                    [*command, "serve", str(config), *([] if program else ["--workers", "2"])],
                    env=environ | variables,
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            stack.callback(_stop, process)
            watched = Watched(process, Client(where), Client(debug), log)
            watched.until(lambda: watched.status(watched.client, "/v2/") in {200, 503}, True)
            watched.until(lambda: watched.status(watched.debug, "/debug/health") in {200, 503}, True)
            return watched

        yield start


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(SECONDS)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(SECONDS)
