"""What the pages show is run as it is printed; ports and folders of the machine are replaced by the test's."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from tests.docs.test_docs import DOCS, blocks
from tests.servers import content, peers
from tests.servers.certificate import certificate
from tests.servers.client import Client
from tests.servers.process import START_SECONDS, Registry

pytestmark = [pytest.mark.peer, pytest.mark.slow, pytest.mark.timeout(180)]


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@contextlib.contextmanager
def server(
    command: list[str], port: int, folder: Path, environment: Mapping[str, str] | None = None
) -> Iterator[None]:
    """A program that is to listen on the port."""
    log = folder / f"log-{port}"
    with log.open("wb") as file:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=file, stderr=file)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not listens(port):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, f"nobody listens: {log.read_text()}"
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(20)


def listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def run(block: str, folder: Path, environment: Mapping[str, str]) -> None:
    """The lines after `$`, in one shell; what stands below one, if anything does, is what it prints."""
    steps = re.findall(r"(?m)^\$ (.*)\n((?:(?!\$ ).*\n)*)", block)
    assert steps
    script = "\n".join(f"{command}\necho '--- end of step'" for command, _ in steps)
    shell = ["bash", "-e", "-c", script]
    done = subprocess.run(
        shell, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}"
    for (command, expected), printed in zip(steps, done.stdout.split("--- end of step\n"), strict=False):
        assert not expected or printed == expected, command


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


def test_getting_started(tmp_path: Path, environment: dict[str, str]) -> None:
    for peer in ("podman", "htpasswd"):
        peers.executable(peer)
    page = DOCS / "getting-started.md"
    plain, secure = free_port(), free_port()

    def here(text: str) -> str:
        return text.replace(":5000", f":{plain}").replace(":5443", f":{secure}")

    make, push, files, check, login, refused = map(here, blocks(page, "console"))
    (config,) = map(here, blocks(page, "yaml"))
    assert make == "$ make serve\n"
    ours = {name: value for name, value in environment.items() if name != "REGISTRY_AUTH_FILE"}
    with server(["lading", "serve"], plain, tmp_path, ours | {"REGISTRY_HTTP_ADDR": f"127.0.0.1:{plain}"}):
        run(push, tmp_path, environment)
    run(files, tmp_path, environment)
    folder = tmp_path / "registry"
    (folder / "config.yml").write_text(config)
    asked, served = check.strip().rsplit("\n", 1)
    run(f"{asked}\n", folder, ours)
    assert served == "$ lading serve config.yml"
    with server(["lading", "serve", "config.yml"], secure, folder, ours):
        run(login, tmp_path, environment)
        run(refused, folder, environment)


class Proxy:
    """The files a recipe names, in a folder of the test's."""

    def __init__(self, folder: Path, registry: Registry) -> None:
        self.folder = folder
        self.port = free_port()
        self._registry = registry
        (folder / "registry.pem").write_bytes(certificate().file.read_bytes())
        (folder / "registry.key").write_bytes(certificate().key.read_bytes())
        password = subprocess.check_output(
            [peers.executable("htpasswd"), "-Bbn", "alice", "wonderland"], text=True, timeout=30
        )
        (folder / "users").write_text(password)

    def placed(self, text: str) -> str:
        text = text.replace("127.0.0.1:5000", self._registry.host).replace("registry.example.com", "localhost")
        text = re.sub(r"/etc/(nginx|apache2)/", f"{self.folder}/", text)
        return re.sub(r"(listen |\*:)443", rf"\g<1>{self.port}", text)

    def client(self, **headers: str) -> Client:
        return Client(f"localhost:{self.port}", certificate().trusting(), **headers)


@pytest.mark.parametrize("guarded", [False, True], ids=["open", "with passwords"])
def test_nginx(tmp_path: Path, lading: Registry, guarded: bool) -> None:
    program = peers.executable("nginx")
    proxy = Proxy(tmp_path, lading)
    site, passwords = map(proxy.placed, blocks(DOCS / "recipes/nginx.md", "nginx"))
    if guarded:
        site = site.replace("location /v2/ {", f"location /v2/ {{\n{passwords}")
    config = tmp_path / "nginx.conf"
    config.write_text(
        f"daemon off; pid {tmp_path}/pid; error_log stderr; worker_processes 1; user root;\n"
        f"events {{}}\nhttp {{ access_log off; client_body_temp_path {tmp_path}/body;\n{site} }}\n"
    )
    with server([program, "-c", str(config), "-e", "stderr"], proxy.port, tmp_path):
        check(proxy, guarded=guarded)


@pytest.mark.parametrize("guarded", [False, True], ids=["open", "with passwords"])
def test_apache(tmp_path: Path, lading: Registry, guarded: bool) -> None:
    program = peers.executable("apache2")
    proxy = Proxy(tmp_path, lading)
    site, passwords = map(proxy.placed, blocks(DOCS / "recipes/apache.md", "apache"))
    names = "mpm_event unixd authz_core ssl headers proxy proxy_http socache_shmcb"
    names += " auth_basic authn_core authn_file authz_user" * guarded
    modules = "".join(
        f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"
        for name in names.split()
        if Path(f"/usr/lib/apache2/modules/mod_{name}.so").exists()
    )
    config = tmp_path / "apache.conf"
    config.write_text(
        f"ServerRoot {tmp_path}\nPidFile {tmp_path}/pid\nErrorLog /dev/stderr\nServerName localhost\n"
        f"{modules}Listen 127.0.0.1:{proxy.port}\n{site}\n{passwords if guarded else ''}"
    )
    command = [program, "-X", "-f", str(config), "-d", str(tmp_path)]
    with server(command, proxy.port, tmp_path):
        check(proxy, guarded=guarded)


def check(proxy: Proxy, *, guarded: bool) -> None:
    """A push and a pull go through, by URLs that lead through the proxy; who is unknown stays outside."""
    package = content.image("behind-a-proxy")
    client = proxy.client()
    if guarded:
        assert client.request("GET", "/v2/").status == 401
        client = proxy.client(Authorization="Basic YWxpY2U6d29uZGVybGFuZA==")
    client.push("team/app", "1.0", package)
    assert client.pull("team/app", "1.0") == package.everything()
    started = client.request("POST", "/v2/team/app/blobs/uploads/")
    assert started.header("location").startswith(f"https://{client.host}/v2/team/app/blobs/uploads/")


def test_canonical_json(tmp_path: Path, environment: dict[str, str]) -> None:
    peers.executable("jq")
    (block,) = blocks(DOCS / "spec/json.md", "console")
    run(block, tmp_path, environment)
