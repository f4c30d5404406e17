"""What a registry's directory holds, seen without the registry."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import fcntl
from collections.abc import Iterator
from pathlib import Path

from lading.registry.purge import Purged, purge
from lading.storage.filesystem import FilesystemStorage

REPOSITORIES = "docker/registry/v2/repositories"
FOR_EVER = datetime.datetime(9000, 1, 1, tzinfo=datetime.UTC)


def sessions(root: Path, repository: str | None = None) -> list[tuple[str, str]]:
    """The upload sessions there are: repository and id."""
    found = []
    base = root / REPOSITORIES
    for folder in sorted(base.glob(f"{repository or '**'}/_uploads/*")):
        found.append((str(folder.parent.parent.relative_to(base)), folder.name))
    return found


def stored_bytes(root: Path, repository: str, upload_id: str) -> int:
    """How many bytes of a session are in its file."""
    path = root / REPOSITORIES / repository / "_uploads" / upload_id / "data"
    return path.stat().st_size if path.exists() else 0


def is_locked(root: Path, repository: str, upload_id: str) -> bool:
    """Whether a request is writing to the session just now."""
    path = root / REPOSITORIES / repository / "_uploads" / upload_id / "data"
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


@contextlib.contextmanager
def locked(root: Path, repository: str, location: str) -> Iterator[None]:
    """Hold a session that has data, as a request that writes to it does."""
    upload_id = location.partition("?")[0].rpartition("/")[2]
    with (root / REPOSITORIES / repository / "_uploads" / upload_id / "data").open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def temporary_files(root: Path) -> list[Path]:
    return sorted(root.rglob("*.tmp"))


def purge_everything(root: Path) -> Purged:
    """Remove every session, however young."""
    return asyncio.run(purge(FilesystemStorage(str(root)), older_than=FOR_EVER))
