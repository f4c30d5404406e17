"""An authority that speaks ACME, with a name server to which every name is this machine."""

from __future__ import annotations

import contextlib
import json
import os
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.server.certificates import Authority
from tests.servers.peers import executable
from tests.servers.ports import free_port

START_SECONDS = 20.0


@dataclass
class Pebble:
    """`directory` is known before it runs. Its API has a certificate of `authority`; challenges go to `target`."""

    folder: Path
    authority: Authority
    target: int

    def __post_init__(self) -> None:
        self._port, self._management = free_port(), free_port()
        self.directory = f"https://127.0.0.1:{self._port}/dir"
        self.program, self._names = executable("pebble"), executable("pebble-challtestsrv")

    @contextlib.contextmanager
    def running(self, validity: int = 86400 * 90) -> Iterator[ssl.SSLContext]:
        """Gives what a client needs to trust what is issued; `validity` of certificates is in seconds."""
        api = self.authority.issue("pebble")
        names = f"127.0.0.1:{free_port()}"
        settings = {
            "listenAddress": f"127.0.0.1:{self._port}",
            "managementListenAddress": f"127.0.0.1:{self._management}",
            "certificate": api.certificate,
            "privateKey": api.key,
            "httpPort": 1,
            "tlsPort": self.target,
            "certificateValidityPeriod": validity,
        }
        config = self.folder / "pebble.json"
        config.write_text(json.dumps({"pebble": settings}))
        off = [f"-{server}=" for server in ("http01", "https01", "tlsalpn01", "defaultIPv6")]
        server = [self._names, *off, "-dns01", names, "-management", f"127.0.0.1:{free_port()}"]
        with (
            self._process("names", server),
            self._process("pebble", [self.program, "-config", str(config), "-dnsserver", names]),
        ):
            yield self._root()

    @contextlib.contextmanager
    def _process(self, name: str, command: list[str]) -> Iterator[None]:
        log = self.folder / f"{name}.log"
        with log.open("wb") as output:
            environment = os.environ | {"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0"}
            process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
        try:
            yield
        finally:
            process.terminate()
            process.wait(20)
            print(f"--- {name}", log.read_text(errors="replace")[-8000:], sep="\n")

    def _root(self) -> ssl.SSLContext:
        url, trusting = f"https://127.0.0.1:{self._management}/roots/0", self.authority.client()
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                with urllib.request.urlopen(url, timeout=5, context=trusting) as answer:
                    return ssl.create_default_context(cadata=answer.read().decode("ascii"))
            except OSError:
                assert time.monotonic() < deadline, "pebble does not answer"
                time.sleep(0.05)
