"""The whole program, with certificates from an authority that is real but for its trust."""

from __future__ import annotations

import os
import signal
import ssl
import stat
import threading
from pathlib import Path

import pytest
from tests.server.certificates import Authority
from tests.server.serving import ask
from tests.server.test_processes import Running, lading
from tests.servers.pebble import Pebble
from tests.servers.ports import free_port

NAME, SECOND = "registry.example.com", "second.example.com"

pytestmark = [pytest.mark.slow, pytest.mark.peer]


@pytest.fixture
def pebble(tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Pebble:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    return Pebble(tmp_path, authority, free_port())


def settings(pebble: Pebble, cache: Path, *hosts: str) -> dict[str, object]:
    section = {"cachefile": str(cache), "email": "me@example.com", "hosts": list(hosts)}
    addr = f"127.0.0.1:{pebble.target}"
    return {"addr": addr, "tls": {"letsencrypt": section | {"directoryurl": pebble.directory}}}


def refused(port: int, trusting: ssl.SSLContext, name: str) -> str:
    with pytest.raises(ssl.SSLError) as caught:
        ask(port, trusting, name=name)
    return str(caught.value)


def test_issued_at_the_start(tmp_path: Path, pebble: Pebble) -> None:
    cache = tmp_path / "cache"
    with (
        pebble.running() as trusting,
        lading(tmp_path, settings(pebble, cache, NAME.upper() + ".", SECOND)) as running,
    ):
        for name in (NAME, SECOND):
            running.said(f"there is a new certificate for {name}")
            for _ in range(8):
                assert "200 OK" in ask(pebble.target, trusting, name=name).text
        assert ask(pebble.target, trusting, name=NAME).serial != ask(pebble.target, trusting, name=SECOND).serial
        assert "UNRECOGNIZED_NAME" in refused(pebble.target, trusting, "other.example.com")
        assert "UNRECOGNIZED_NAME" in refused(pebble.target, trusting, "127.0.0.1")
        files = {path.name: stat.S_IMODE(path.stat().st_mode) for path in cache.iterdir()}
        assert files == dict.fromkeys([NAME, SECOND, "acme_account+key", "lading.lock"], 0o600)
        assert stat.S_IMODE(cache.stat().st_mode) == 0o700
    assert running.process.returncode == 0


def test_http2_is_offered(tmp_path: Path, pebble: Pebble) -> None:
    with pebble.running() as trusting, lading(tmp_path, settings(pebble, tmp_path / "cache", NAME)) as running:
        running.said("there is a new certificate")
        trusting.set_alpn_protocols(["http/1.1"])
        assert ask(pebble.target, trusting, name=NAME).protocol == "http/1.1"
        trusting.set_alpn_protocols(["h2", "http/1.1"])
        answer = ask(pebble.target, trusting, name=NAME)
        assert answer.protocol == "h2"


def test_renewed_while_requests_flow(tmp_path: Path, pebble: Pebble) -> None:
    serials: list[str] = []
    renewed = threading.Event()

    failures: list[str] = []

    def flow() -> None:
        while not (renewed.is_set() and len(set(serials)) > 1):
            try:
                answer = ask(pebble.target, trusting, name=NAME)
            except OSError as error:
                failures.append(str(error))
                return
            serials.append(answer.serial)
            if "200 OK" not in answer.text:
                failures.append(answer.text)
            renewed.wait(0.01)  # the certificate lasts for seconds: not all of the machine is needed meanwhile

    with (
        pebble.running(validity=30) as trusting,
        lading(tmp_path, settings(pebble, tmp_path / "cache", NAME)) as running,
    ):
        running.said("there is a new certificate")
        flowing = threading.Thread(target=flow)
        flowing.start()
        try:
            running.said("there is a new certificate", times=2, seconds=40)
            running.said("is in use as it is now", times=2)
        finally:
            renewed.set()
            flowing.join()
        assert failures == []
        assert len(set(serials)) > 1
        assert ask(pebble.target, trusting, name=NAME).serial != serials[0]


def test_the_authority_is_away(tmp_path: Path, pebble: Pebble) -> None:
    cache = tmp_path / "cache"
    with lading(tmp_path, settings(pebble, cache, NAME)) as running:
        running.said("listening on")
        running.said(f"no certificate for {NAME} from {pebble.directory}, next try in 120s: ")
        assert "TLSV1_ALERT_INTERNAL_ERROR" in refused(pebble.target, ssl.create_default_context(), NAME)
        with pebble.running() as trusting:
            reload(running)
            running.said("there is a new certificate")
            first = ask(pebble.target, trusting, name=NAME)
    with lading(tmp_path, settings(pebble, cache, NAME)) as running:
        running.said("listening on")
        assert ask(pebble.target, trusting, name=NAME).serial == first.serial
    assert not any("no certificate" in line for line in running.lines)


def test_a_challenge_that_fails(tmp_path: Path, pebble: Pebble) -> None:
    """The authority finds nobody where the name leads."""
    http = settings(pebble, tmp_path / "cache", NAME) | {"addr": f"127.0.0.1:{free_port()}"}
    with pebble.running(), lading(tmp_path, http) as running:
        running.said(f"no certificate for {NAME} from {pebble.directory}, next try in 120s: ")
        [line] = [line for line in running.lines if "no certificate" in line]
        assert f"Failed to connect to 127.0.0.1:{pebble.target} for the tls-alpn-01 challenge" in line
        assert os.listdir(tmp_path / "cache").count(f"{NAME}+token") == 0


def reload(running: Running) -> None:
    running.process.send_signal(signal.SIGHUP)
