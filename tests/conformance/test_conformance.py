"""The conformance program of the OCI distribution specification: nothing fails, nothing is left out."""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml
from tests.frostfs.cluster import Cluster
from tests.servers.certificate import certificate
from tests.servers.peers import executable
from tests.servers.process import Registry, StartRegistry
from tests.servers.serving import FOUR_WORKERS

pytestmark = [pytest.mark.peer, pytest.mark.timeout(120)]

# The program pushes images whose layers lie elsewhere; without this the original's policy refuses them.
ALLOW_LAYER_URLS = {"validation": {"manifests": {"urls": {"allow": ["^https?://"]}}}}

APIS = (
    "PING PULL PUSH REFERRER BLOBS_ATOMIC BLOBS_DELETE BLOBS_DIGEST_HEADER BLOBS_MOUNT_ANONYMOUS"
    " BLOBS_UPLOAD_CANCEL MANIFESTS_ATOMIC MANIFESTS_DELETE MANIFESTS_DIGEST_HEADER MANIFESTS_TAG_PARAM"
    " TAGS_ATOMIC TAGS_DELETE TAGS_LIST"
)
DATA = (
    "IMAGE INDEX INDEX_LIST ARTIFACT SUBJECT SUBJECT_MISSING ARTIFACT_LIST SUBJECT_LIST DATA_FIELD"
    " NONDISTRIBUTABLE CUSTOM_FIELDS NO_LAYERS EMPTY_BLOB SHA512"
)

# "Sparse" images name layers that are not there. The specification lets a registry refuse them, and the
# original does (MANIFEST_BLOB_UNKNOWN), so that no image can be pushed that cannot be pulled.
DISABLED = {"Sparse Manifests"}

FEWEST_TESTS = 793
"""What the pinned program runs. Fewer, and a part of it was not run."""


@dataclass(frozen=True)
class Results:
    """What the program wrote: a status for each test, each API and each set of data."""

    tests: dict[str, list[str]]
    """Names by status; one name can stand for several results."""
    apis: dict[str, str]
    data: dict[str, str]
    explanations: str


def run_program(registry: Registry, version: str, folder: Path, seconds: float = 100) -> Results:
    settings = {"OCI_REGISTRY": registry.host, "OCI_TLS": "disabled", "OCI_VERSION": version}
    if registry.serving.tls:
        settings |= {"OCI_TLS": "enabled", "SSL_CERT_FILE": str(certificate().file)}
    settings |= {f"OCI_API_{name}": "true" for name in APIS.split()}
    settings |= {f"OCI_DATA_{name}": "true" for name in DATA.split()}
    settings |= {"OCI_RESULTS_DIR": str(folder), "PATH": os.environ["PATH"]}
    folder.mkdir()
    run = subprocess.run(
        executable("conformance"),
        cwd=folder,
        env=settings,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    junit = ElementTree.parse(folder / "junit.xml").getroot()
    summary = yaml.safe_load((folder / "results.yaml").read_text())
    tests: dict[str, list[str]] = {}
    explained = []
    for case in junit.iter("testcase"):
        tests.setdefault(case.attrib["status"], []).append(case.attrib["name"])
        if case.attrib["status"] != "passed":
            explained.append(f"{case.attrib['status']}: {case.attrib['name']}\n{case.findtext('system-out', '')}")
    explained.append(f"exit status {run.returncode}\n{run.stderr[-4000:]}")
    return Results(tests, summary["apis"], summary["data"], "\n".join(explained))


@pytest.mark.parametrize("version", ["1.1", "dev"])
def test_everything_passes(
    start_lading: StartRegistry, tmp_path: Path, capsys: pytest.CaptureFixture[str], version: str
) -> None:
    registry = start_lading(extra=ALLOW_LAYER_URLS)
    results = run_program(registry, version, tmp_path / "results")
    totals = Counter({status: len(names) for status, names in results.tests.items()})
    with capsys.disabled():
        print(f"\nOCI conformance {version}, {registry.serving.name}: {dict(totals)}")
    assert set(totals) == {"passed"}, results.explanations
    assert totals["passed"] >= FEWEST_TESTS
    # The test's own client asks whether the registry is up, in HTTP/1.1; all other requests are the program's.
    over_http2 = registry.log.read_text().count(' HTTP/2.0"')
    assert (over_http2 > FEWEST_TESTS) == registry.serving.http2

    assert {name: status for name, status in results.apis.items() if status != "Pass"} == {}
    assert {name for name, status in results.data.items() if status != "Pass"} == DISABLED
    assert all(results.data[name] == "Disabled" for name in DISABLED)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("serving", [FOUR_WORKERS], ids=["frostfs"])
def test_everything_passes_on_frostfs(start_lading: StartRegistry, tmp_path: Path) -> None:
    """On a stand-in for its nodes."""
    cluster = Cluster(nodes=2)
    try:
        storage = {"filesystem": None, "frostfs": cluster.parameters(tmp_path), "delete": {"enabled": True}}
        results = run_program(
            start_lading(extra={**ALLOW_LAYER_URLS, "storage": storage}), "1.1", tmp_path / "results"
        )
        assert set(results.tests) == {"passed"}, results.explanations
        assert len(results.tests["passed"]) >= FEWEST_TESTS
    finally:
        cluster.end()
