"""`neofs-python-sdk`, which others wrote, before the driver and the stand-in."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.frostfs.cluster import Cluster
from tests.frostfs.test_driver import LARGE, write
from tests.frostfs.wire import canonical
from tests.servers.peers import missing, peers_folder

from lading.storage.frostfs import wallet

NAME = "neofs-python-sdk"

pytestmark = [pytest.mark.peer, pytest.mark.timeout(120)]


def run(place: Path, given: dict[str, Any]) -> Any:
    python = peers_folder() / NAME / "bin/python"
    if not python.exists():
        missing(NAME)
    asked = place / "asked.json"
    asked.write_text(json.dumps(given))
    command = [str(python), str(Path(__file__).with_name("sdk_client.py")), str(asked)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


async def test_a_client_of_others_agrees(cluster: Cluster, tmp_path: Path) -> None:
    """On requests, ids, signatures, wallets; each reads what the other wrote, and sees what the other deleted."""
    node, storage = cluster.nodes[0], cluster.storage()
    await storage.check()
    node.heard.clear()
    await storage.put("/docker/link", b"content")
    await storage.put("/docker/old", b"content")
    await write(storage, "/uploads/1/data", LARGE, target="/docker/data")
    await storage.delete("/docker/old")
    assert await storage.list("/docker") == ["data", "link"]
    fresh = cluster.storage()
    await fresh.check()
    assert await fresh.list("/docker") == ["data", "link"]
    assert await fresh.get("/docker/link") == b"content"
    reader = await fresh.open("/docker/data", 1000)
    assert await reader.read(10) == LARGE[1000:1010]
    await reader.close()
    store = cluster.store
    given = {
        "endpoint": node.address,
        "container": cluster.container.hex(),
        "wallet": str(cluster.wallet(tmp_path)),
        "password": "",
        "new_password": "pa\u00dfword",
        "place": str(tmp_path),
        "sent": LARGE[:50_000].hex(),
        "requests": [(kind, raw.hex()) for kind, raw in node.heard],
        "objects": [
            (key.hex(), canonical(store.signatures[key]).hex(), canonical(header).hex())
            for key, (header, _) in store.objects.items()
            if header.object_type == 0
        ],
    }
    kinds = {kind for kind, _ in node.heard}
    assert len(kinds) == 9, "every one there is"
    answers = run(tmp_path, given)
    assert answers["address"] == "NbUgTSFvPmsRxmGeWpuuGeJUoRoi6PErcM"
    assert wallet.load(str(tmp_path / "theirs.json"), "pa\u00dfword").public.hex() == answers["wallet"]
    assert answers["acl"] == store.containers[cluster.container].basic_acl
    contents = {"/docker/link": b"content", "/docker/data": LARGE}
    assert answers["read"] == {path: hashlib.sha256(data).hexdigest() for path, data in contents.items()}
    assert answers["deleted"] == [0, 2052]
    assert await storage.list("/sdk") == ["file"]
    assert await storage.get("/sdk/file") == LARGE[:50_000]
    assert (await storage.stat("/sdk/file")).modified == 1_700_000_000
    await storage.delete("/sdk")
    assert bytes.fromhex(answers["made"]) in store.removed
