"""What docs/insecure.md says of certificates and clients, said by real clients."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.docs.shell import server
from tests.docs.test_docs import DOCS, text_of
from tests.servers import peers
from tests.servers.ports import free_port

pytestmark = [pytest.mark.peer, pytest.mark.slow, pytest.mark.timeout(120)]

MESSAGES = re.findall(r"(?m)^\| `(http: .+|x509: .+)` \|", text_of(DOCS / "insecure.md"))
CERTIFICATES = {"good": "DNS:localhost", "nameless": "", "other": "DNS:other.example"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("insecure")


@pytest.fixture(scope="module")
def hosts(folder: Path) -> Iterator[dict[str, str]]:
    """Registries by the certificate they have; `none` speaks plain HTTP."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("REGISTRY_")}
    lading = str(Path(sys.executable).with_name("lading"))
    with ExitStack() as running:
        found = {}
        for name in ("none", *CERTIFICATES):
            port = free_port()
            found[name] = f"localhost:{port}"
            config = f"version: 0.1\nstorage: inmemory\nhttp:\n  addr: 127.0.0.1:{port}\n"
            if name in CERTIFICATES:
                make_certificate(folder, name)
                config += f"  tls: {{certificate: {name}/ca.crt, key: {name}.pem}}\n"
            (folder / f"{name}.yml").write_text(config)
            running.enter_context(server([lading, "serve", f"{name}.yml", "--workers", "1"], port, folder, ours))
        yield found


def make_certificate(folder: Path, name: str) -> None:
    """In a folder as clients want it: `<name>/ca.crt`."""
    (folder / name).mkdir()
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "9", "-subj", "/CN=localhost"]
    alternative = ["-addext", f"subjectAltName={CERTIFICATES[name]}"] if CERTIFICATES[name] else []
    files = ["-keyout", f"{name}.pem", "-out", f"{name}/ca.crt"]
    subprocess.run([*command, *alternative, *files], cwd=folder, check=True, capture_output=True, timeout=60)


def asked(folder: Path, environment: dict[str, str], *command: str) -> str:
    """What the client says."""
    done = subprocess.run(
        [peers.executable(command[0]), *command[1:]],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout + done.stderr


def test_each_message_has_its_cause(folder: Path, hosts: dict[str, str], environment: dict[str, str]) -> None:
    def inspected(name: str, *options: str) -> str:
        return asked(folder, environment, "skopeo", "inspect", *options, f"docker://{hosts[name]}/app")

    plain, unknown, nameless, misnamed = MESSAGES
    assert plain in inspected("none")
    assert unknown in inspected("good")
    assert nameless in inspected("nameless", "--cert-dir", "nameless")
    misnamed = misnamed.replace("A, not B", "other.example, not localhost")
    assert misnamed in inspected("other", "--cert-dir", "other")


def test_who_trusts_the_certificate_gets_in(
    folder: Path, hosts: dict[str, str], environment: dict[str, str]
) -> None:
    known = "manifest unknown"
    app = f"docker://{hosts['good']}/app"
    assert known in asked(folder, environment, "skopeo", "inspect", "--cert-dir", "good", app)
    trusting = environment | {"SSL_CERT_FILE": str(folder / "good/ca.crt")}
    for command in (("crane", "catalog"), ("oras", "repo", "ls", "--plain-http=false")):
        assert asked(folder, trusting, *command, hosts["good"]) == ""
        assert "x509: certificate signed by unknown authority" in asked(
            folder, environment, *command, hosts["good"]
        )


def test_who_goes_without_gets_in(folder: Path, hosts: dict[str, str], environment: dict[str, str]) -> None:
    app = f"docker://{hosts['none']}/app"
    assert "manifest unknown" in asked(folder, environment, "skopeo", "inspect", "--tls-verify=false", app)
    assert asked(folder, environment, "crane", "catalog", "--insecure", hosts["none"]) == ""
    assert asked(folder, environment, "oras", "repo", "ls", "--plain-http", hosts["none"]) == ""
