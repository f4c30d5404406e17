"""versitygw, an S3 server, with one bucket in a folder."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.servers.peers import executable

BUCKET = "bucket"
START_SECONDS = 30.0


@dataclass(frozen=True)
class Gateway:
    host: str
    folder: Path

    def parameters(self, endpoint: str = "", **more: Any) -> dict[str, Any]:
        """Those of the s3 driver; `endpoint` is something in between, a `host:port`."""
        return {
            "accesskey": "key",
            "secretkey": "a secret of the store",
            "region": "us-east-1",
            "regionendpoint": f"http://{endpoint or self.host}",
            "forcepathstyle": True,
            "secure": False,
            "bucket": BUCKET,
            **more,
        }


@contextlib.contextmanager
def gateway(folder: Path) -> Iterator[Gateway]:
    """Skips the test where it is not installed."""
    program = executable("versitygw")
    # The program itself does not know its version; it is that of the pin.
    print(f"S3 server: {(Path(program).parents[1] / 'stamps/versitygw').read_text().strip()}")
    (folder / BUCKET).mkdir(parents=True)
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
    host = f"127.0.0.1:{port}"
    command = [program, "--port", host, "--access", "key", "--secret", "a secret of the store", "--quiet"]
    with (folder.parent / f"{folder.name}.log").open("wb") as log:
        process = subprocess.Popen([*command, "posix", str(folder)], stdout=log, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + START_SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.02)
        assert process.poll() is None, "versitygw did not start"
        yield Gateway(host, folder)
    finally:
        process.kill()
        process.wait()
