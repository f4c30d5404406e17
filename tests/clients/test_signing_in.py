"""Real clients sign in, push and pull over TLS: by password, at the built-in token service, at a foreign one."""

from __future__ import annotations

import contextlib
import datetime
import http.client
import ipaddress
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bcrypt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from tests.auth import token_server, tokens
from tests.auth.token_server import PASSWORD, USER
from tests.servers import content, layouts, process
from tests.servers.peers import Peer, executable
from tests.servers.process import Registry

pytestmark = [pytest.mark.peer, pytest.mark.timeout(110)]


class TlsRegistry(Registry):
    """Answers over TLS alone; `trust` verifies it."""

    trust: ssl.SSLContext

    def _answers(self) -> bool:
        connection = http.client.HTTPSConnection(self.host, timeout=5, context=self.trust)
        try:
            connection.request("GET", "/v2/")
            return connection.getresponse().status == 401
        except OSError:
            return False
        finally:
            connection.close()


@dataclass(frozen=True)
class Site:
    """A registry that asks who its callers are, and how to run clients that trust it."""

    registry: Registry
    folder: Path
    authority: Path

    def client(self, name: str) -> Peer:
        return Peer(executable(name), self.folder / f"{name}-home", self.authority)

    @property
    def host(self) -> str:
        return self.registry.host


def certify(folder: Path) -> tuple[Path, Path]:
    """A certificate of this machine that is its own authority, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(True, None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), False)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(tokens.pem(made))
    (folder / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return folder / "cert.pem", folder / "key.pem"


def authorization(kind: str, folder: Path, foreign: str) -> dict[str, Any]:
    """The sections of the configuration."""
    file = folder / "htpasswd"
    file.write_text(f"{USER}:{bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(5)).decode()}")
    if kind == "htpasswd":
        return {"auth": {"htpasswd": {"realm": "test", "path": str(file)}}}
    token = {"realm": f"{foreign}/token", "service": tokens.SERVICE, "issuer": tokens.ISSUER}
    if kind == "foreign":
        return {"auth": {"token": {**token, "jwks": str(folder / "jwks.json")}}}
    service = {
        "issuer": tokens.ISSUER,
        "services": [tokens.SERVICE],
        "keys": str(folder / "keys"),
        "htpasswd": str(file),
    }
    return {"auth": {"token": {**token, "autoredirect": True}}, "tokenservice": service}


@contextlib.contextmanager
def site(kind: str, folder: Path) -> Iterator[Site]:
    certificate, key = certify(folder)
    with token_server.running(certificate, key) as (foreign, signing):
        (folder / "jwks.json").write_text(tokens.jwks(tokens.jwk(signing, "independent")))
        tls = {"http": {"tls": {"certificate": str(certificate), "key": str(key)}, "http2": {"disabled": True}}}
        extra = {**authorization(kind, folder, foreign), **tls}
        registry = TlsRegistry(process.lading(), folder / "registry", folder / "data", extra)
        registry.trust = ssl.create_default_context(cafile=str(certificate))
        try:
            registry.wait_until_ready()
            yield Site(registry, folder, certificate)
        finally:
            registry.stop()
            print(registry.log.read_text(errors="replace")[-8000:])


@pytest.fixture(scope="module", params=["htpasswd", "built-in", "foreign"])
def guarded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(request.param, tmp_path_factory.mktemp(request.param)) as made:
        yield made


def skopeo(site: Site, folder: Path) -> None:
    client = site.client("skopeo")
    package = content.multi_arch("many")
    layout = layouts.write(folder / "in", {"1.0": package})
    target = f"docker://{site.host}/team/skopeo:1.0"
    push = ("--insecure-policy", "copy", "--all", f"oci:{layout}:1.0", target)
    client.refused(*push)
    client.refused("login", f"--username={USER}", "--password=wrong", site.host)
    client("login", f"--username={USER}", "--password-stdin", site.host, given=PASSWORD)
    client(*push)
    copy = f"docker://{site.host}/other/skopeo:copy"
    client("--insecure-policy", "copy", "--all", target, copy)  # with mounts from one repository to the other
    client("--insecure-policy", "copy", "--all", copy, f"oci:{folder / 'out'}:1.0")
    assert layouts.read(folder / "out") == package.everything()
    client("logout", site.host)
    client.refused("list-tags", f"docker://{site.host}/team/skopeo")


def podman(site: Site, folder: Path) -> None:
    import tempfile

    client = site.client("podman")
    with tempfile.TemporaryDirectory(prefix="lading-") as store:
        options = [f"--root={store}/root", f"--runroot={store}/run", "--storage-driver=vfs"]
        (folder / "Containerfile").write_text("FROM scratch\nCOPY Containerfile /\n")
        image = f"{site.host}/team/podman:1"
        client(*options, "build", "--isolation=chroot", "--tag", image, folder)
        client.refused(*options, "push", image)
        client.refused(*options, "login", f"--username={USER}", "--password=wrong", site.host)
        client(*options, "login", f"--username={USER}", "--password-stdin", site.host, given=PASSWORD)
        client(*options, "push", image)
        client(*options, "rmi", image)
        client(*options, "pull", image)
        assert image in client(*options, "images", "--format={{.Repository}}:{{.Tag}}")


def crane(site: Site, folder: Path) -> None:
    client = site.client("crane")
    package = content.image("crane")
    layout = layouts.write(folder / "in", {"1.0": package})
    target = f"{site.host}/team/crane:1.0"
    client.refused("push", layout, target)
    client("auth", "login", site.host, f"--username={USER}", "--password-stdin", given=PASSWORD)
    client("push", layout, target)
    client("copy", target, f"{site.host}/other/crane:copy")
    client("pull", "--format=oci", f"{site.host}/other/crane:copy", folder / "out")
    assert layouts.read(folder / "out").keys() == package.everything().keys()
    assert "team/crane" in client("catalog", site.host)
    client("auth", "logout", site.host)
    client.refused("manifest", target)


def oras(site: Site, folder: Path) -> None:
    client = site.client("oras")
    (folder / "report.txt").write_text("all is well\n")
    target = f"{site.host}/team/oras:1"
    client.refused("push", target, "report.txt", folder=folder)
    client.refused("login", site.host, f"--username={USER}", "--password=wrong")
    client("login", site.host, f"--username={USER}", "--password-stdin", given=PASSWORD)
    client("push", target, "report.txt", folder=folder)
    client("attach", "--artifact-type=example/report", target, "report.txt", folder=folder)
    client("pull", target, f"--output={folder / 'out'}")
    assert (folder / "out" / "report.txt").read_text() == "all is well\n"
    client("logout", site.host)
    client.refused("repo", "tags", f"{site.host}/team/oras")


def helm(site: Site, folder: Path) -> None:
    client = site.client("helm")
    client("create", "demo", folder=folder)
    client("package", "demo", "--version=0.1.0", folder=folder)
    push = ("push", "demo-0.1.0.tgz", f"oci://{site.host}/charts")
    client.refused(*push, folder=folder)
    client.refused("registry", "login", site.host, f"--username={USER}", "--password=wrong")
    client("registry", "login", site.host, f"--username={USER}", "--password-stdin", given=PASSWORD)
    client(*push, folder=folder)
    (folder / "out").mkdir()
    client("pull", f"oci://{site.host}/charts/demo", "--version=0.1.0", folder=folder / "out")
    assert (folder / "out" / "demo-0.1.0.tgz").read_bytes() == (folder / "demo-0.1.0.tgz").read_bytes()


def cosign(site: Site, folder: Path) -> None:
    client, pusher = site.client("cosign"), site.client("crane")
    package = content.image("cosign")
    pusher("auth", "login", site.host, f"--username={USER}", "--password-stdin", given=PASSWORD)
    pusher("push", layouts.write(folder / "in", {"1.0": package}), f"{site.host}/team/cosign:1.0")
    image = f"{site.host}/team/cosign@{package.manifest.digest}"
    word = {"COSIGN_PASSWORD": "of the test"}
    client("generate-key-pair", "--output-key-prefix=mine", folder=folder, environment=word)
    sign = ("sign", "--key=mine.key", "--use-signing-config=false", "--tlog-upload=false", "--yes", image)
    verify = ("verify", "--key=mine.pub", "--insecure-ignore-tlog=true", image)
    client.refused(*verify, folder=folder)
    client("login", site.host, f"--username={USER}", "--password-stdin", given=PASSWORD)
    client(*sign, folder=folder, environment=word)
    assert package.manifest.digest in client(*verify, folder=folder)


CLIENTS: list[Callable[[Site, Path], None]] = [skopeo, podman, crane, oras, helm, cosign]


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.__name__)
def test_sign_in_push_and_pull(guarded: Site, client: Callable[[Site, Path], None], tmp_path: Path) -> None:
    client(guarded, tmp_path)
    guarded.registry.said(rf"- {USER} \[")
    assert PASSWORD not in guarded.registry.log.read_text()
