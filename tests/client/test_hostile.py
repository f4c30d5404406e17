"""Places that send what nobody asked for: more bytes than were announced, and names that are none."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import orjson
import pytest

from lading.client import Digest, InvalidAnswerError, Layout, Repository, Timing
from lading.client.errors import ClientError
from lading.client.files import TITLE, pull_files
from lading.client.upload import Blob, Source, Uploader
from lading.oci import building, media
from lading.oci.building import Content
from lading.oci.manifest import Descriptor

HELLO = b"hello"
PIECES = 50


class Talker(Repository):
    """Sends `pieces` of bytes, whatever is asked of it, and counts those that were taken."""

    def __init__(self, pieces: int = 1, data: bytes = HELLO) -> None:
        self._pieces = pieces
        self._data = data
        self.taken = 0

    def source(self, digest: Digest) -> Source:
        async def pieces(offset: int) -> AsyncGenerator[bytes, None]:
            for _ in range(self._pieces):
                self.taken += 1
                yield self._data

        return pieces


def layer(title: str, **changes: Any) -> dict[str, Any]:
    fields = {"mediaType": media.OCTET_STREAM, "digest": Digest.of(HELLO), "size": len(HELLO)}
    return {**fields, "annotations": {TITLE: title}, **changes}


def artifact(*layers: dict[str, Any]) -> Content:
    empty = building.empty().descriptor()
    config = {"mediaType": empty.media_type, "digest": empty.digest, "size": empty.size}
    document = {"schemaVersion": 2, "mediaType": media.OCI_MANIFEST, "config": config, "layers": layers}
    return Content.of(orjson.dumps(document), media.OCI_MANIFEST)


async def test_a_layout_takes_no_more_than_was_announced(tmp_path: Path) -> None:
    layout = Layout(str(tmp_path))
    layout.create()
    talker = Talker(PIECES)
    blob = Descriptor(media.OCTET_STREAM, Digest.of(HELLO), len(HELLO))
    with pytest.raises(ClientError, match="does not match"):
        await layout.put_blob(blob, talker.source(Digest.of(HELLO)), mount=None, progress=None)
    assert talker.taken == 2
    assert list((tmp_path / "blobs/sha256").iterdir()) == []


async def test_a_file_takes_no_more_than_was_announced(tmp_path: Path) -> None:
    talker = Talker(PIECES)
    with pytest.raises(InvalidAnswerError, match="does not match"):
        await pull_files(talker, artifact(layer("a")), str(tmp_path))
    assert talker.taken == 2
    assert list(tmp_path.iterdir()) == []


async def test_a_small_upload_holds_no_more_than_was_announced() -> None:
    class Nowhere:
        host = "registry.example"
        timing = Timing(attempts=1)

    talker = Talker(PIECES)
    blob = Blob(Digest.of(HELLO), len(HELLO), talker.source(Digest.of(HELLO)))
    uploader: Any = Uploader(Nowhere(), "a")  # type: ignore[arg-type]
    with pytest.raises(InvalidAnswerError, match="should have 5"):
        await uploader.put(blob, object())
    assert talker.taken == 2
