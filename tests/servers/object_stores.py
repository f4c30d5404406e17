"""A place of its own on an emulated object store, as a section of the configuration."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from tests.servers import azurite, fake_gcs

Section = dict[str, Any]


@contextlib.contextmanager
def azure(folder: Path) -> Iterator[Section]:
    with azurite.azurite(folder) as server:
        yield {
            "accountname": azurite.ACCOUNT,
            "accountkey": azurite.KEY,
            "container": server.make_container(f"c{uuid.uuid4().hex}"),
            "serviceurl": server.url,
            "credentials": {"type": "shared_key"},
        }


@contextlib.contextmanager
def gcs(folder: Path) -> Iterator[Section]:
    """Both registries, and tests, are told of the emulator by the environment."""
    with fake_gcs.fake_gcs(folder) as server:
        before = os.environ.get("STORAGE_EMULATOR_HOST")
        os.environ["STORAGE_EMULATOR_HOST"] = server.url.removeprefix("http://")
        try:
            file = folder / "account.json"
            file.write_text(json.dumps(service_account()))
            bucket = server.make_bucket(f"b{uuid.uuid4().hex}")
            yield {"bucket": bucket, "keyfile": str(file), "chunksize": 1024 * 1024}
        finally:
            del os.environ["STORAGE_EMULATOR_HOST"]
            if before is not None:
                os.environ["STORAGE_EMULATOR_HOST"] = before


STORES = {"azure": azure, "gcs": gcs}


@functools.cache
def service_account() -> dict[str, str]:
    key = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return {
        "type": "service_account",
        "client_email": "lading@test.invalid",
        "private_key_id": "1",
        "token_uri": "http://127.0.0.1:9/token",
        "private_key": key.decode(),
    }
