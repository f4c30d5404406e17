"""What the pages show is run as it is printed; ports and folders of the machine are replaced by the test's."""

from __future__ import annotations

import os
import plistlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.docs.shell import run, server
from tests.docs.test_docs import DOCS, ROOT, blocks
from tests.servers import content, peers
from tests.servers.certificate import certificate
from tests.servers.client import Client
from tests.servers.ports import free_port
from tests.servers.process import Registry

GENERATOR = Path("/usr/lib/systemd/system-generators/podman-system-generator")

pytestmark = [pytest.mark.peer, pytest.mark.slow, pytest.mark.timeout(180)]


def test_getting_started(tmp_path: Path, environment: dict[str, str], ours: dict[str, str]) -> None:
    for peer in ("podman", "htpasswd"):
        peers.executable(peer)
    page = DOCS / "getting-started.md"
    plain, secure = free_port(), free_port()

    def here(text: str) -> str:
        return text.replace(":5000", f":{plain}").replace(":5443", f":{secure}")

    make, push, files, check, login, refused = map(here, blocks(page, "console"))
    (config,) = map(here, blocks(page, "yaml"))
    assert make == "$ make serve\n"
    lading = checkout(tmp_path, environment, ours)
    with server([lading, "serve"], plain, tmp_path, ours | {"REGISTRY_HTTP_ADDR": f"127.0.0.1:{plain}"}):
        run(push, tmp_path, environment)
    (tmp_path / "config.yml").write_text(config)
    asked, served = check.strip().rsplit("\n", 1)
    run(f"{files}$ cp ../config.yml .\n{asked}\n", tmp_path, ours)  # in one shell: it has the path
    folder = tmp_path / "registry"
    assert served == "$ lading serve config.yml"
    with server([lading, "serve", "config.yml"], secure, folder, ours):
        run(login, tmp_path, environment)
        run(refused, folder, environment)


def checkout(folder: Path, *environments: dict[str, str]) -> str:
    """Make the folder one after `make serve`, and the shells those of a newcomer; the command."""
    commands = Path(sys.executable).parent
    (folder / ".venv").mkdir()
    (folder / ".venv/bin").symlink_to(commands)
    for environment in environments:
        # More than once, where the tests are run by uv.
        kept = [place for place in environment["PATH"].split(os.pathsep) if place != str(commands)]
        environment["PATH"] = os.pathsep.join(kept)
        assert shutil.which("lading", path=environment["PATH"]) is None
    return f"{folder}/.venv/bin/lading"


def test_readme(tmp_path: Path, environment: dict[str, str], ours: dict[str, str]) -> None:
    peers.executable("podman")
    port = free_port()
    make, push, _ = (block.replace(":5000", f":{port}") for block in blocks(ROOT / "README.md", "console"))
    assert make.startswith("$ make serve ")
    ours |= {"REGISTRY_HTTP_ADDR": f"127.0.0.1:{port}"}
    lading = checkout(tmp_path, environment, ours)
    for name in ("README.md", ".dockerignore"):
        shutil.copy(ROOT / name, tmp_path)
    with server([lading, "serve"], port, tmp_path, ours):
        run(push, tmp_path, environment)


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


def test_mirror(tmp_path: Path, environment: dict[str, str], ours: dict[str, str], distribution: Registry) -> None:
    peers.executable("skopeo")
    port = free_port()

    def here(text: str) -> str:
        text = text.replace("https://upstream.example.com", f"http://{distribution.host}")
        return text.replace("upstream.example.com", distribution.host).replace(":5001", f":{port}")

    page = DOCS / "recipes/mirror.md"
    serve, pull, by_name = map(here, blocks(page, "console"))
    (config,) = map(here, blocks(page, "yaml"))
    (mirrors,) = map(here, blocks(page, "toml"))
    distribution.client.push("library/hello", "1", content.image("mirrored"))
    (tmp_path / "mirror.yml").write_text(config)
    own = tmp_path / ".config/containers/registries.conf"
    own.parent.mkdir(parents=True)
    own.write_text(mirrors)
    asked, served = serve.strip().rsplit("\n", 1)
    run(f"{asked}\n", tmp_path, ours)
    environment |= {"HOME": str(tmp_path)}
    with server(served.removeprefix("$ ").split(), port, tmp_path, ours):
        run(pull, tmp_path, environment)
        distribution.stop()
        run(by_name, tmp_path, environment)
    assert (tmp_path / "again/index.json").exists()


def test_deploying_as_a_python_program(tmp_path: Path, ours: dict[str, str]) -> None:
    port = free_port()
    block = (
        blocks(DOCS / "deploying.md", "console")[0]
        .replace("/opt/", f"{tmp_path}/")
        .replace("install .", "install -q .")
    )
    installed, served = block.replace("/etc/distribution", str(tmp_path)).strip().rsplit("\n", 1)
    ours["PATH"] = os.environ["PATH"]  # `python3` is not that of this checkout
    run(f"{installed}\n", ROOT, ours)
    (tmp_path / "config.yml").write_text(f"version: 0.1\nstorage: inmemory\nhttp: {{addr: '127.0.0.1:{port}'}}\n")
    with server(served.removeprefix("# ").split(), port, tmp_path, ours):
        assert (tmp_path / "lading/bin/registry").exists()
        assert (tmp_path / "lading/bin/digest").exists()


def test_launchd(tmp_path: Path, ours: dict[str, str]) -> None:
    """As far as a machine without launchd goes."""

    def here(text: str) -> str:
        text = re.sub(r"/usr/local/libexec|/Users/Shared", str(tmp_path), text)
        return text.replace(":5001", f":{port}").replace("packaging/", f"{ROOT}/packaging/")

    port = free_port()
    install, load = map(here, blocks(DOCS / "recipes/launchd.md", "console"))
    ours["PATH"] = os.environ["PATH"]  # `python3` is not that of this checkout
    run(install.replace("--quiet .", f"--quiet {ROOT}"), tmp_path, ours)
    config = tmp_path / "Registry/config.yml"
    config.write_text(here(config.read_text()))
    agent = plistlib.loads(here((ROOT / "packaging/launchd/com.lading.registry.plist").read_text()).encode())
    with server(agent["ProgramArguments"], port, tmp_path, ours):
        *_, ask = re.findall(r"(?m)^\$ .*\n(?:(?!\$ ).*\n)*", load)
        run(ask, tmp_path, ours)


UNITS = dict(zip(("podman", "quadlet", "docker"), blocks(DOCS / "recipes/systemd.md", "ini"), strict=True))


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize("engine", ["podman", "docker"])
def test_systemd_unit(tmp_path: Path, engine: str) -> None:
    """What it starts may not be installed."""
    unit, other = tmp_path / "registry.service", tmp_path / "docker.service"
    unit.write_text(UNITS[engine].replace(f"/usr/bin/{engine}", "/bin/true"))
    other.write_text("[Service]\nExecStart=/bin/true\n")
    verify = ["systemd-analyze", "verify", "--man=no", str(unit), str(other)]
    done = subprocess.run(verify, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, "registry.service" in done.stderr) == (0, False), done.stderr


def test_podman_knows_the_options_of_its_unit() -> None:
    podman = peers.executable("podman")
    unit = UNITS["podman"].replace("\\\n", "")
    for command in ("run", "stop"):
        (line,) = re.findall(rf"(?m)^Exec\w+=/usr/bin/podman {command} (.*)$", unit)
        known = subprocess.check_output([podman, command, "--help"], text=True, timeout=60)
        options = re.findall(r"(?<!\S)--?[a-z][a-z-]*", line)
        assert options
        assert [option for option in options if not re.search(rf"(?m)(^| ){option}\b", known)] == []


@pytest.mark.skipif(not GENERATOR.exists(), reason="podman here is older than 4.4, and makes no units")
def test_podman_makes_a_unit(tmp_path: Path) -> None:
    (tmp_path / "registry.container").write_text(UNITS["quadlet"])
    made = subprocess.run(
        [GENERATOR, "--dryrun"],
        env={"QUADLET_UNIT_DIRS": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    assert "ExecStart=" in made.stdout
