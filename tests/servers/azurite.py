"""Azurite, the emulator of Azure Blob Storage from its maker, with one container for a test."""

from __future__ import annotations

import base64
import contextlib
import datetime
import hmac
import re
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.servers.certificate import certificate
from tests.servers.peers import missing, peers_folder

ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""What every installation of the emulator has, and nothing else."""


class Azurite(NamedTuple):
    url: str

    def make_container(self, name: str) -> str:
        date = datetime.datetime.now(datetime.UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
        version = "2021-08-06"
        text = "PUT\n" + "\n" * 11 + f"x-ms-date:{date}\nx-ms-version:{version}\n"
        text += f"/{ACCOUNT}/{ACCOUNT}/{name}\nrestype:container"
        signature = base64.b64encode(hmac.digest(base64.b64decode(KEY), text.encode(), "sha256")).decode()
        headers = {
            "x-ms-date": date,
            "x-ms-version": version,
            "Authorization": f"SharedKey {ACCOUNT}:{signature}",
            "Content-Length": "0",
        }
        request = urllib.request.Request(f"{self.url}/{name}?restype=container", method="PUT", headers=headers)
        trusting = certificate().trusting() if self.url.startswith("https") else None
        with urllib.request.urlopen(request, timeout=30, context=trusting) as response:
            assert response.status == 201
        return name


@contextlib.contextmanager
def azurite(folder: Path, *, tls: bool = False) -> Iterator[Azurite]:
    """With `tls` it has the tests' own certificate."""
    program = peers_folder() / "azurite/node_modules/.bin/azurite-blob"
    if not program.exists() or shutil.which("node") is None:
        missing("azurite")
    log = folder / "azurite.log"
    with_tls = ["--cert", str(certificate().file), "--key", str(certificate().key)] if tls else []
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                *(
                    program,
                    "--blobPort",
                    "0",
                    "--inMemoryPersistence",
                    "--skipApiVersionCheck",
                    "--disableTelemetry",
                ),
                *with_tls,
            ],
            cwd=folder,
            stdout=output,
            stderr=output,
        )
    try:
        yield Azurite(f"{_address(process, log)}/{ACCOUNT}")
    finally:
        process.kill()
        process.wait()


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        found = re.search(r"successfully (?:listens|listening) on (https?://\S+)", log.read_text())
        if found is not None:
            return found[1]
        time.sleep(0.05)
    raise AssertionError(log.read_text())
