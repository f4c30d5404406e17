"""When certificates are issued, and which of them connections get: with an authority and a clock of the test."""

from __future__ import annotations

import asyncio
import datetime
import itertools
import socket
import ssl
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trustme
from tests.server.certificates import Authority
from tests.server.serving import ask, serving
from tests.server.test_processes import lading
from tests.servers.ports import free_port

from lading import build
from lading.config.load import parse
from lading.config.supported import unsupported
from lading.server import issued
from lading.server.authority import AuthorityError, Presented, new_key
from lading.server.issuing import FIRST_PAUSE, LAST_PAUSE, LONGEST_SLEEP, Issuing, renewal
from lading.server.listener import Acme, Listener, ServerError, Tls

HOST, OTHER = "a.example.com", "b.example.com"
DAY = 86400.0
START = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


@dataclass
class Fake:
    """Issues for `days`, unless `fails` says why not."""

    ca: trustme.CA
    now: float = START.timestamp()
    days: float = 90
    fails: Exception | None = None
    asked: list[tuple[str, float]] = field(default_factory=list)
    accounts: set[bytes] = field(default_factory=set)

    def __call__(self, url: str, email: str, account: bytes, host: str, presented: Presented) -> bytes:
        self.asked.append((host, self.now - START.timestamp()))
        self.accounts.add(account)
        if self.fails is not None:
            raise self.fails
        since = datetime.datetime.fromtimestamp(self.now, datetime.UTC)
        until = since + datetime.timedelta(days=self.days)
        return pair(self.ca.issue_cert(host, not_before=since, not_after=until))


def pair(made: trustme.LeafCert) -> bytes:
    return made.private_key_and_cert_chain_pem.bytes()


@pytest.fixture
def acme(tmp_path: Path) -> Acme:
    made = Acme(str(tmp_path / "cache"), (HOST, OTHER), "", "https://127.0.0.1:1/dir")
    issued.prepare(made)
    return made


@pytest.fixture
def fake(authority: Authority) -> Fake:
    return Fake(authority.ca)


def run(issuing: Issuing, fake: Fake, until: float) -> None:
    """Rounds as the process makes them, without the waiting."""
    while fake.now - START.timestamp() < until:
        pause = issuing.round()
        assert 0 <= pause <= LONGEST_SLEEP
        fake.now += max(pause, 0.001)


@pytest.mark.parametrize(("days", "renewed"), [(90, 60), (365, 335), (6, 4)])
def test_renewed_when_a_third_of_the_life_is_left_or_30_days(
    acme: Acme, fake: Fake, days: int, renewed: int
) -> None:
    fake.days = days
    run(Issuing(acme, fake, lambda: fake.now), fake, (renewed + 1) * DAY)
    assert [host for host, _ in fake.asked] == [HOST, OTHER] * 2
    assert [round(at / DAY, 3) for _, at in fake.asked] == [0, 0, renewed, renewed]
    assert len(fake.accounts) == 1


def test_failures_are_tried_again_later_and_later(
    acme: Acme, fake: Fake, caplog: pytest.LogCaptureFixture
) -> None:
    fake.fails = AuthorityError("not today")
    issuing = Issuing(acme, fake, lambda: fake.now)
    run(issuing, fake, 2 * DAY)
    times = [at for host, at in fake.asked if host == HOST]
    pauses = [round(later - earlier) for earlier, later in itertools.pairwise(times)]
    assert pauses[:3] == [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE]
    assert pauses[-1] == LAST_PAUSE
    assert f"no certificate for {HOST} from {acme.url}, next try in 120s: not today" in caplog.messages
    fake.fails, fake.asked = None, []
    issuing.forget()
    issuing.round()
    assert [host for host, _ in fake.asked] == [HOST, OTHER]
    assert renewal(issued.load(acme, HOST), HOST) > fake.now


def test_a_fault_of_the_program_does_not_end_it(acme: Acme, fake: Fake, caplog: pytest.LogCaptureFixture) -> None:
    fake.fails = KeyError("x")
    assert Issuing(acme, fake, lambda: fake.now).round() > 100
    assert any("KeyError" in line for line in caplog.messages)


def test_what_is_kept_is_used(acme: Acme, fake: Fake) -> None:
    Issuing(acme, fake, lambda: fake.now).round()
    fake.asked.clear()
    Issuing(acme, fake, lambda: fake.now).round()
    assert fake.asked == []


@pytest.mark.parametrize("kept", ["nothing", "rubbish", "other", "mismatched", "expired"])
def test_what_is_of_no_use_is_issued_anew(acme: Acme, fake: Fake, kept: str) -> None:
    past = START - datetime.timedelta(days=1)
    content = {
        "nothing": b"",
        "rubbish": b"hello",
        "other": pair(fake.ca.issue_cert(OTHER, not_after=START + datetime.timedelta(days=900))),
        "mismatched": new_key() + fake.ca.issue_cert(HOST).cert_chain_pems[0].bytes(),
        "expired": pair(fake.ca.issue_cert(HOST, not_before=past - datetime.timedelta(days=9), not_after=past)),
    }[kept]
    issued.store(acme, HOST, content)
    Issuing(acme, fake, lambda: fake.now).round()
    assert HOST in [host for host, _ in fake.asked]
    assert renewal(issued.load(acme, HOST), HOST) > fake.now


async def test_a_challenge_is_for_the_authority_alone(acme: Acme, authority: Authority) -> None:
    issued.store(acme, HOST, pair(authority.ca.issue_cert(HOST)))
    challenge = authority.ca.issue_cert(HOST)
    issued.store(acme, HOST + issued.TOKEN, pair(challenge))
    async with serving(Listener(tls=Tls(acme=acme))) as running:
        context = authority.client()
        answer = await asyncio.to_thread(ask, running.port, context, "", HOST)
        assert "200 OK" in answer.text
        context.set_alpn_protocols(["acme-tls/1", "http/1.1"])
        other = await asyncio.to_thread(ask, running.port, context, "", HOST)
        assert (other.serial, other.protocol) == (answer.serial, "http/1.1")
        context.set_alpn_protocols(["acme-tls/1"])
        assert await asyncio.to_thread(presented, running.port, context) == challenge.cert_chain_pems[0].bytes()
        (Path(acme.cache) / (HOST + issued.TOKEN)).unlink()
        with pytest.raises(ssl.SSLError, match="INTERNAL_ERROR"):
            await asyncio.to_thread(ask, running.port, context, "", HOST)


def presented(port: int, context: ssl.SSLContext) -> bytes:
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname=HOST) as secure,
    ):
        assert secure.selected_alpn_protocol() == "acme-tls/1"
        assert secure.recv(1) == b""
        return ssl.DER_cert_to_PEM_cert(secure.getpeercert(binary_form=True) or b"").encode()


async def test_a_certificate_that_comes_is_served_at_once(acme: Acme, authority: Authority) -> None:
    issued.store(acme, HOST, b"rubbish")
    async with serving(Listener(tls=Tls(acme=acme))) as running:
        for host in (HOST, OTHER):
            with pytest.raises(ssl.SSLError, match="INTERNAL_ERROR"):
                await asyncio.to_thread(ask, running.port, authority.client(), "", host)
            issued.store(acme, host, pair(authority.ca.issue_cert(host)))
            assert "200 OK" in (await asyncio.to_thread(ask, running.port, authority.client(), "", host)).text


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(
        ServerError, match=r"^http\.tls\.letsencrypt\.cachefile: cannot make the directory .*: File ex"
    ):
        issued.prepare(Acme(str(tmp_path / "file"), (), "", ""))


def configured(cache: Path, more: str) -> Listener:
    section = f"{{cachefile: {cache}, {more}}}"
    text = f"version: 0.1\nstorage: inmemory\nhttp: {{addr: ':1', tls: {{letsencrypt: {section}}}}}"
    loaded = parse(text, "config.yml", {})
    assert list(unsupported(loaded.configuration)) == []
    return build.listener(loaded.configuration)


def test_as_configured(tmp_path: Path) -> None:
    made = configured(tmp_path / "cache", "email: me@example.com, hosts: [A.example.com., a.example.com, b]").tls
    assert made is not None
    assert made.acme == Acme(str(tmp_path / "cache"), (HOST, "b"), "me@example.com", build.LETS_ENCRYPT)
    assert made.protocols == ("h2", "http/1.1")
    made = configured(tmp_path / "cache", "directoryurl: 'https://127.0.0.1:1/dir'").tls
    assert made is not None
    assert made.acme == Acme(str(tmp_path / "cache"), (), "", "https://127.0.0.1:1/dir")


@pytest.mark.parametrize("host", ["../x", "a/b", "*.example.com", "bücher.example", "", "-a.example.com", "a..b"])
def test_what_is_no_host_stops_the_start(tmp_path: Path, host: str) -> None:
    with pytest.raises(build.BuildError, match=r"^http\.tls\.letsencrypt\.hosts: .* is not the name of a host"):
        configured(tmp_path / "cache", f"hosts: ['{host}']")


def test_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "acme", None)
    with pytest.raises(build.BuildError, match=r"^http\.tls\.letsencrypt\.cachefile: needs .*'lading\[acme\]'$"):
        configured(tmp_path / "cache", f"hosts: [{HOST}]")


@pytest.mark.slow
def test_the_end_does_not_wait_for_an_authority(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/dir"
        section = {"cachefile": str(tmp_path / "cache"), "hosts": [HOST], "directoryurl": url}
        with lading(tmp_path, {"addr": f"127.0.0.1:{free_port()}", "tls": {"letsencrypt": section}}) as running:
            silent.settimeout(20)
            asking, _ = silent.accept()
            with asking:
                assert asking.recv(9) == b"GET /dir "
                running.process.terminate()
                assert running.process.wait(20) == 0
        assert not any("did not finish" in line or "next try" in line for line in running.lines)


def test_serving_needs_no_part_of_the_extra() -> None:
    """Neither its time to import nor its memory is paid by the workers."""
    code = "import sys, lading.cli; print(sorted({'acme', 'cryptography', 'requests'} & sys.modules.keys()))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout == "[]\n"
