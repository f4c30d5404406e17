"""The registry dies just before every single change it makes to the disk, and in the middle of every write.

Whatever it has acknowledged by then is there, whatever can be seen is whole, and uploads can be resumed or purged.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.faults import directory
from tests.faults.inprocess import InProcess, in_process
from tests.faults.ledger import Fact, Ledger, check
from tests.faults.scenarios import BLOB, EMPTY, LARGE, SCENARIOS
from tests.servers.client import Client

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

CONTENTS = {blob.digest: blob.data for blob in (BLOB, LARGE, EMPTY)}


@pytest.mark.parametrize("name", SCENARIOS)
def test_crash_before_every_change(name: str, memory_path: Path) -> None:
    command = [sys.executable, "-m", "tests.faults.crashing", "crash", name, str(memory_path / "runs")]
    run = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    places = sorted((memory_path / "runs").iterdir())
    assert len(places) > 2
    for place in places:
        try:
            check_place(place)
        except AssertionError as error:
            raise AssertionError(f"{name}, crashed at {place.name}: {error}") from error


def check_place(place: Path) -> None:
    ledger = Ledger.replay((place / "ledger").read_text().splitlines())
    root = place / "data"
    with in_process(root) as client:
        check(client, ledger)
        for fact, values in ledger.known("session"):
            resume(client, root, fact, values)
        check(client, ledger)
        push_again(client, ledger)
    directory.purge_everything(root)
    assert directory.sessions(root) == []


def resume(client: Client, root: Path, fact: Fact, values: set[str | None]) -> None:
    """The session that was begun can be carried on, or is gone where it may be."""
    status = client.get(fact.name)
    if status.status == 404:
        assert None in values, f"the session is lost: {status}"
        return
    status.expect(204)
    if values == {None}:
        raise AssertionError(f"a finished or cancelled session is back: {fact}")
    digest = next(value for value in values if value is not None)
    data = CONTENTS[digest]
    upload_id = fact.name.partition("?")[0].rpartition("/")[2]
    at = directory.stored_bytes(root, fact.repository, upload_id)
    location = client.patch(status.location, data[at:]).expect(202).location
    client.finish_upload(location, digest).expect(201)
    assert client.pull_blob(fact.repository, digest) == data


def push_again(client: InProcess, ledger: Ledger) -> None:
    """Nothing that a crash has left behind is in the way of the next push."""
    for fact, values in ledger.known("blob"):
        if values != {None} and fact.name in CONTENTS:
            client.push_blob(fact.repository, fact.name, CONTENTS[fact.name])
            client.pull_blob(fact.repository, fact.name)
