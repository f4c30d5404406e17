"""The object store under both registries: versitygw, with a bucket in a folder."""

from __future__ import annotations

import contextlib
import functools
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.config import Config
from botocore.session import Session

from bench.servers import HOST, PEERS, START_SECONDS, BenchError, free_port

BUCKET = "bench"
_ACCESS, _SECRET, _REGION = "bench", "a secret of the store", "us-east-1"
_UPLOADERS = 8


@dataclass(frozen=True)
class Store:
    """A store that answers."""

    port: int
    log: Path | None = None
    """Where it writes a line for each request, if it does."""

    @property
    def endpoint(self) -> str:
        return f"http://{HOST}:{self.port}"

    def storage(self, *, redirects: bool) -> str:
        """The registries' storage section."""
        parameters = {
            "accesskey": _ACCESS,
            "secretkey": _SECRET,
            "region": _REGION,
            "regionendpoint": self.endpoint,
            "forcepathstyle": True,
            "secure": False,
            "bucket": BUCKET,
        }
        return f"s3: {json.dumps(parameters)}" + ("" if redirects else "\n  redirect: {disable: true}")

    def requests(self) -> int:
        """How many for the bucket it has answered, of whatever outcome; 0 if it does not count."""
        if self.log is None or not self.log.exists():
            return 0
        return sum(f" /{BUCKET}" in line for line in self.log.read_text(errors="replace").splitlines())

    def upload(self, tree: Path) -> None:
        """Each file of the directory becomes an object of the same name."""
        session = Session()
        session.set_credentials(_ACCESS, _SECRET)
        settings = Config(
            s3={"addressing_style": "path"},
            max_pool_connections=_UPLOADERS,
            request_checksum_calculation="when_required",
            read_timeout=300,
        )
        client = session.create_client("s3", region_name=_REGION, endpoint_url=self.endpoint, config=settings)
        files = [path for path in tree.rglob("*") if path.is_file()]
        with ThreadPoolExecutor(_UPLOADERS) as pool:
            list(pool.map(functools.partial(_upload, client, tree), files))


def _upload(client: Any, tree: Path, file: Path) -> None:
    with file.open("rb") as body:
        client.put_object(Bucket=BUCKET, Key=str(file.relative_to(tree)), Body=body)


@contextlib.contextmanager
def storing(folder: Path, work: Path, *, counted: bool = False) -> Iterator[Store]:
    """`folder` takes the bucket, `work` the logs."""
    program = shutil.which("versitygw", path=str(PEERS))
    if program is None:
        raise BenchError("no versitygw: run tests/peers.sh")
    (folder / BUCKET).mkdir(parents=True, exist_ok=True)
    work.mkdir(parents=True, exist_ok=True)
    requests = work / "requests.log" if counted else None
    if requests is not None:
        requests.unlink(missing_ok=True)
    port = free_port()
    command = [program, "--port", f"{HOST}:{port}", "--access", _ACCESS, "--secret", _SECRET, "--quiet"]
    # As every store does that is worth its name; this one has to be told.
    command += ["--keep-alive", *(["--access-log", str(requests)] if requests is not None else [])]
    with (work / "store.log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603
            [*command, "posix", str(folder)], stdout=log, stderr=subprocess.STDOUT
        )
    try:
        _wait(process, port)
        yield Store(port, requests)
    finally:
        process.kill()
        process.wait()


def version() -> str:
    """The program itself does not know it; it is that of the pin."""
    stamp = PEERS.parent / "stamps/versitygw"
    return stamp.read_text().strip() if stamp.exists() else "versitygw"


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection((HOST, port), 1):
            return
        time.sleep(0.02)
    raise BenchError("versitygw did not start")
