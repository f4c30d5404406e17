"""Tags that are immutable: `oci*` in one repository of a registry that says so (decision 0011)."""

from __future__ import annotations

from collections.abc import Iterator

from tests.wire.content import OCI, digest, image
from tests.wire.rows.pushes import stored
from tests.wire.table import Row, refusal
from tests.wire.world import APP, DOCKER_IMAGE, LAYER_ITEM, OCI_CONFIG_ITEM, OCI_IMAGE, OTHER_IMAGE

from lading.oci.patterns import Selection

SELECTIONS = (Selection((APP,), ("oci*",)),)
PATH = f"/v2/{APP}/manifests"
HELD = digest(OCI_IMAGE)
NEW = image(OCI, OCI_CONFIG_ITEM, LAYER_ITEM, annotations={"new": "one"})


def rows() -> Iterator[Row]:
    moved = {"name": APP, "tag": "oci", "digest": HELD}
    for reference in ("oci", "new?tag=oci", "new?tag=newer&tag=oci", f"{digest(NEW)}?tag=oci"):
        yield refusal(
            *("PUT", f"{PATH}/{reference}", 403, "DENIED", moved, f"tag oci is immutable: it stays at {HELD}"),
            send={"Content-Type": OCI},
            data=NEW,
            kind="write",
        )
    yield stored("oci", OCI_IMAGE, OCI, note="the same once more")
    yield stored("oci-2", NEW, OCI, note="the first push")
    yield stored("bare", NEW, OCI, note="a tag as any other")
    for target in (f"{PATH}/oci", f"{PATH}/{HELD}", f"/v2/{APP}/_lading/repository"):
        message = "tag oci is immutable: it cannot be deleted"
        allow = "" if target.endswith("repository") else "GET, HEAD"
        detail = {"name": APP, "tag": "oci"}
        yield refusal("DELETE", target, 403, "DENIED", detail, message, kind="delete", allow=allow)
    yield refusal("DELETE", f"{PATH}/oci-2", 404, "MANIFEST_UNKNOWN", "unknown tag=oci-2", kind="delete")
    for reference in ("docker", digest(DOCKER_IMAGE), digest(OTHER_IMAGE)):
        yield Row("DELETE", f"{PATH}/{reference}", 202, {"Content-Length": "0"}, kind="delete")
    yield Row("DELETE", "/v2/test/_lading/repository", 202, {"Content-Length": "0"}, kind="delete", allow="")
