"""Kept load tools and clients, run as child processes with their own cost: wrk, oha, crane."""

from __future__ import annotations

import json
import math
import os
import re
import resource
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from bench.measure import Load
from bench.servers import PEERS, BenchError

OHA = "oha@1.16.0"
RUN_SECONDS = 180.0

_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}


@dataclass(frozen=True)
class Finished:
    """A program that has ended well."""

    output: str
    seconds: float
    cpu: float


def _wrk_version() -> str:
    program = shutil.which("wrk")
    if program is None:
        return "no wrk"
    run = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)  # noqa: S603
    return " ".join(run.stdout.split()[:2])


def wrk(url: str, *, connections: int, seconds: float, headers: tuple[str, ...] = ()) -> Load:
    """GET as fast as it goes, over kept-alive connections. wrk counts in whole seconds."""
    command = [_wrk(), "--latency", "-t", "1", "-c", str(connections), "-d", str(max(1, math.ceil(seconds)))]
    for header in headers:
        command += ["-H", header]
    done = finish([*command, url])
    return wrk_report(done.output, done.cpu)


def wrk_report(text: str, cpu: float) -> Load:
    total = re.search(r"(\d+) requests in ([\d.]+)(us|ms|s|m)", text)
    half = re.search(r"50%\s+([\d.]+)(us|ms|s|m)", text)
    most = re.search(r"99%\s+([\d.]+)(us|ms|s|m)", text)
    if total is None or half is None or most is None:
        raise BenchError(f"wrk said:\n{text}")
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    broken = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    return Load(
        operations=int(total[1]),
        seconds=float(total[2]) * _UNITS[total[3]],
        p50=float(half[1]) * _UNITS[half[2]],
        p99=float(most[1]) * _UNITS[most[2]],
        client_cpu=cpu,
        errors=(int(refused[1]) if refused else 0) + (sum(map(int, broken.groups())) if broken else 0),
    )


def oha(method: str, url: str, *, connections: int, seconds: float, headers: tuple[str, ...] = ()) -> Load:
    """For HEAD, at which wrk waits for a body for ever."""
    command = [str(PEERS / "oha"), "--no-tui", "--output-format", "json", "-m", method, "-z", f"{seconds}s"]
    command += ["-c", str(connections), "--no-color", "--redirect", "0"]
    for header in headers:
        command += ["-H", header]
    done = finish([*command, url])
    return oha_report(done.output, done.cpu)


def oha_report(text: str, cpu: float) -> Load:
    document = json.loads(text)
    codes = document["statusCodeDistribution"]
    answered = sum(codes.values())
    ended = {"aborted due to deadline"}  # what was under way when the time was up
    broken = sum(count for cause, count in document["errorDistribution"].items() if cause not in ended)
    return Load(
        operations=answered,
        seconds=document["summary"]["total"],
        p50=document["latencyPercentiles"]["p50"] or 0.0,
        p99=document["latencyPercentiles"]["p99"] or 0.0,
        client_cpu=cpu,
        errors=broken + answered - codes.get("200", 0),
    )


def finish(command: list[str], home: Path | None = None) -> Finished:
    """Run to the end. Raises `BenchError` unless it ends well."""
    environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(home or Path.home()), "LANG": "C.UTF-8"}
    before = _children_cpu()
    began = time.perf_counter()
    done = subprocess.run(  # noqa: S603
        command, env=environment, capture_output=True, text=True, timeout=RUN_SECONDS, check=False
    )
    seconds = time.perf_counter() - began
    if done.returncode != 0:
        raise BenchError(f"{' '.join(command)} exited with {done.returncode}:\n{done.stdout}{done.stderr}")
    return Finished(done.stdout, seconds, _children_cpu() - before)


def _children_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def crane() -> str:
    found = shutil.which("crane", path=str(PEERS))
    if found is None:
        raise BenchError("no crane: run tests/peers.sh")
    return found


def install(wanted: set[str]) -> None:
    """Those that are missing, where they can be had."""
    if "wrk" in wanted and shutil.which("wrk") is None and os.geteuid() == 0 and shutil.which("apt-get"):
        print("bench: installing wrk", file=sys.stderr)
        subprocess.run(["apt-get", "install", "-y", "-qq", "wrk"], stdout=subprocess.DEVNULL, check=False)  # noqa: S607
    cargo = shutil.which("cargo")
    if "oha" in wanted and not has_oha() and cargo is not None:
        print(f"bench: building {OHA}, once; some minutes", file=sys.stderr)
        slim = ["--no-default-features", "--features", "rustls"]
        command = [cargo, "install", "--quiet", "--locked", "--root", str(PEERS.parent), *slim, OHA]
        subprocess.run(command, check=False)  # noqa: S603


def named() -> str:
    head = OHA.replace("@", " ") if has_oha() else "own (HEAD; oha is not installed)"
    return f"{_wrk_version()} (small GET), {head} (HEAD), crane (images), own (large GET, pushes)"


def has_oha() -> bool:
    return shutil.which("oha", path=str(PEERS)) is not None


def _wrk() -> str:
    found = shutil.which("wrk")
    if found is None:
        raise BenchError("no wrk: apt-get install wrk")
    return found
