"""What the tests of pages start from."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Clients that touch nothing of the machine's; commands of this checkout."""
    commands = Path(sys.executable).parent
    (tmp_path / "policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    (tmp_path / "login.json").write_text("{}")
    (tmp_path / "storage.conf").write_text(
        f'[storage]\ndriver = "vfs"\ngraphroot = "{tmp_path}/graph"\nrunroot = "{tmp_path}/run"\n'
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith("REGISTRY_")}
    return kept | {
        "PATH": f"{commands}:{os.environ['PATH']}",
        "BUILDAH_ISOLATION": "chroot",
        "CONTAINERS_STORAGE_CONF": str(tmp_path / "storage.conf"),
        "REGISTRY_AUTH_FILE": str(tmp_path / "login.json"),
    }


@pytest.fixture
def ours(environment: dict[str, str]) -> dict[str, str]:
    """For Lading, which has the same environment as its clients."""
    return dict(environment)
