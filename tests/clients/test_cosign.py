"""cosign: sign and verify with a local key, without any service of sigstore."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.servers import content
from tests.servers.peers import Peer
from tests.servers.process import Registry

pytestmark = [pytest.mark.peer, pytest.mark.timeout(90)]

PASSWORD = {"COSIGN_PASSWORD": "of the test"}
OFFLINE_SIGN = ["--use-signing-config=false", "--tlog-upload=false", "--allow-http-registry", "--yes"]
OFFLINE_VERIFY = ["--insecure-ignore-tlog=true", "--allow-http-registry"]
PREDICATE_TYPE = "https://example.org/report/v1"


@pytest.fixture
def cosign(peer: Callable[[str], Peer], tmp_path: Path) -> Peer:
    program = peer("cosign")
    for name in ("mine", "other"):
        program("generate-key-pair", f"--output-key-prefix={name}", folder=tmp_path, environment=PASSWORD)
    return program


@pytest.fixture
def image(lading: Registry) -> str:
    """The reference of an image that was pushed, by digest."""
    package = content.multi_arch("signed")
    lading.client.push("team/app", "1.0", package)
    return f"{lading.host}/team/app@{package.manifest.digest}"


def sign(cosign: Peer, folder: Path, image: str) -> None:
    cosign("sign", "--key=mine.key", *OFFLINE_SIGN, image, folder=folder, environment=PASSWORD)


def test_signature_is_a_referrer_and_verifies(lading: Registry, cosign: Peer, image: str, tmp_path: Path) -> None:
    verify = ["verify", *OFFLINE_VERIFY]
    assert "no signatures found" in cosign.refused(*verify, "--key=mine.pub", image, folder=tmp_path)

    sign(cosign, tmp_path, image)
    assert lading.client.tags("team/app") == ["1.0"], "the tag schema was used beside the referrers API"
    digest = image.partition("@")[2]
    assert digest in cosign(*verify, "--key=mine.pub", image, folder=tmp_path)
    assert digest in cosign(*verify, "--key=mine.pub", f"{lading.host}/team/app:1.0", folder=tmp_path)
    cosign.refused(*verify, "--key=other.pub", image, folder=tmp_path)

    (signature,) = lading.client.referrers("team/app", digest)
    assert signature["digest"] in cosign("tree", "--allow-http-registry", image)


def test_attestation_is_found_beside_the_signature(
    lading: Registry, cosign: Peer, image: str, tmp_path: Path
) -> None:
    sign(cosign, tmp_path, image)
    (tmp_path / "report.json").write_text('{"result": "passed"}')
    predicate = ["--predicate=report.json", f"--type={PREDICATE_TYPE}"]
    cosign("attest", "--key=mine.key", *OFFLINE_SIGN, *predicate, image, folder=tmp_path, environment=PASSWORD)
    assert len(lading.client.referrers("team/app", image.partition("@")[2])) == 2

    verify = ["verify-attestation", *OFFLINE_VERIFY, f"--type={PREDICATE_TYPE}"]
    assert "payload" in cosign(*verify, "--key=mine.pub", image, folder=tmp_path)
    cosign.refused(*verify, "--key=other.pub", image, folder=tmp_path)
