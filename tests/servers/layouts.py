"""OCI image layouts on disk: how clients are handed images, and how they hand them back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from tests.servers import content
from tests.servers.content import Package


def write(folder: Path, tagged: Mapping[str, Package]) -> Path:
    """Make `folder` a layout that holds the packages under their tags."""
    for package in tagged.values():
        for digest, data in package.everything().items():
            path = _blob(folder, digest)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    manifests = [
        package.manifest.descriptor(annotations={"org.opencontainers.image.ref.name": tag})
        for tag, package in tagged.items()
    ]
    document = {"schemaVersion": 2, "mediaType": content.OCI_INDEX, "manifests": manifests}
    (folder / "index.json").write_text(json.dumps(document))
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return folder


def read(folder: Path) -> dict[str, bytes]:
    """Every blob in the layout by its digest; each is what its file name says."""
    blobs = {}
    for path in sorted((folder / "blobs").glob("*/*")):
        digest = f"{path.parent.name}:{path.name}"
        blobs[digest] = content.verified(path.read_bytes(), digest)
    return blobs


def read_skopeo_directory(folder: Path) -> dict[str, bytes]:
    """Every file of a skopeo `dir:` folder, manifests included, by the digest of its bytes."""
    files = [path for path in folder.iterdir() if path.name != "version"]
    return {content.digest_of(data): data for data in (path.read_bytes() for path in files)}


def _blob(folder: Path, digest: str) -> Path:
    algorithm, _, encoded = digest.partition(":")
    return folder / "blobs" / algorithm / encoded
