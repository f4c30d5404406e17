"""Some nodes of the stand-in that share a store, with a container and its owner."""

from __future__ import annotations

import atexit
import functools
import json
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from tests.frostfs.node import Node
from tests.frostfs.store import PUBLIC, Store
from tests.frostfs.wire import owner_of, public_bytes

from lading.storage.frostfs import Address, FrostfsStorage, Timing
from lading.storage.frostfs.identifiers import base58
from lading.storage.frostfs.signing import Key

# The public wallet of development networks; it has no password.
PRIVATE = 0x1DD37FBA80FEC4E6A6F13FD708D8DCB3B29DEF768017052F6C930FA1C5D90BBB
ACCOUNT = {
    "address": "NbUgTSFvPmsRxmGeWpuuGeJUoRoi6PErcM",
    "key": "6PYP7YrwGnLuu4WYQbEe3WJiC44aKmqwqawLsp7H3oh5vocS9xTv2ZfTp3",
    "label": "",
    "contract": {
        "script": "DCEDGmxvu98CyjUXRfqGubpalFLXhaxPf8K3VIyipGxPz0pBVuezJw==",
        "parameters": [{"name": "parameter0", "type": "Signature"}],
        "deployed": False,
    },
    "lock": False,
    "isDefault": False,
    "extra": None,
}
WALLET = {
    "name": "wallet",
    "version": "1.0",
    "accounts": [ACCOUNT],
    "scrypt": {"n": 16384, "r": 8, "p": 8},
    "extra": {"Tokens": None},
}


QUICK = Timing(connection=2, request=2)


class Cluster:
    def __init__(
        self, nodes: int = 1, max_object_size: int = 64 * 1024, basic_acl: int = PUBLIC, **options: Any
    ) -> None:
        self.store = Store(max_object_size)
        self.private = ec.derive_private_key(PRIVATE, ec.SECP256R1())
        self.owner = owner_of(public_bytes(self.private))
        self.container = self.store.add_container(self.owner, basic_acl)
        self.nodes = [Node(self.store, **options).begin() for _ in range(nodes)]

    @property
    def name(self) -> str:
        return base58(self.container)

    @property
    def requests(self) -> dict[str, int]:
        """Of all nodes together, by their kind."""
        counted: dict[str, int] = {}
        for node in self.nodes:
            for kind, number in node.requests.items():
                counted[kind] = counted.get(kind, 0) + number
        return counted

    def storage(self, timing: Timing = QUICK, key: Key | None = None) -> FrostfsStorage:
        peers = [Address(node.address, tls=False, priority=number) for number, node in enumerate(self.nodes)]
        return FrostfsStorage(key or Key(self.private), peers, self.name, timing=timing)

    def wallet(self, place: Path) -> Path:
        path = place / "wallet.json"
        path.write_text(json.dumps(WALLET))
        return path

    def parameters(self, place: Path) -> dict[str, Any]:
        """Of the driver, in a configuration."""
        peers = {number: {"address": f"grpc://{node.address}"} for number, node in enumerate(self.nodes)}
        wallet = {"path": str(self.wallet(place)), "password": ""}
        return {"wallet": wallet, "peers": peers, "container": self.name}

    def end(self) -> None:
        for node in self.nodes:
            node.end()


@functools.cache
def _lasting() -> Cluster:
    cluster = Cluster(max_object_size=1024 * 1024)
    atexit.register(cluster.end)
    return cluster


@functools.cache
def _container(place: Path) -> str:
    return base58(_lasting().store.add_container(_lasting().owner))


def storage_at(place: Path) -> FrostfsStorage:
    """In front of a node that lasts as long as the process, with a container for each place."""
    cluster = _lasting()
    address = Address(cluster.nodes[0].address, tls=False)
    return FrostfsStorage(Key(cluster.private), [address], _container(place))
