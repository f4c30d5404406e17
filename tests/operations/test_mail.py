"""Log entries that go out by mail, received by a mail server of the test's own."""

from __future__ import annotations

import asyncio
import email
import json
import logging
import socket
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from email.message import EmailMessage, Message
from email.policy import default
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, Session
from tests.operations.test_logging import serve
from tests.operations.watched import STOCK, StartWatched

from lading.api.request import current
from lading.operations import mail
from lading.operations.mail import Hook, Mailer, MailHandler

TO = ["to@b.test", "c@b.test"]


class Inbox:
    """What arrived, and over which connection."""

    def __init__(self) -> None:
        self.mails: list[Message] = []
        self.sessions: list[Session] = []
        self.envelopes: list[Envelope] = []

    async def handle_DATA(  # noqa: N802
        self, server: Any, session: Session, envelope: Envelope
    ) -> str:
        assert isinstance(envelope.content, bytes)
        self.mails.append(email.message_from_bytes(envelope.content, policy=default))
        self.sessions.append(session)
        self.envelopes.append(envelope)
        return "250 OK"


def _authenticate(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
    return AuthResult(success=(data.login, data.password) == (b"user", b"secret"), handled=False)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    folder = tmp_path_factory.mktemp("tls")
    key, cert = folder / "key.pem", folder / "cert.pem"
    command = f"openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost -keyout {key} -out {cert}"
    subprocess.run(command.split(), check=True, capture_output=True, timeout=60)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key)
    return context


class Server:
    def __init__(self, **options: Any) -> None:
        self.inbox = Inbox()
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port: int = probe.getsockname()[1]
        self.controller = Controller(self.inbox, hostname="127.0.0.1", port=self.port, **options)

    def hook(self, **changes: Any) -> Hook:
        made = Hook(
            frozenset({"error", "panic"}), "127.0.0.1", self.port, "from@a.test", ["to@b.test", "c@b.test"]
        )
        return replace(made, **changes)

    def __enter__(self) -> Server:
        self.controller.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.controller.stop()


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        yield running


def message() -> EmailMessage:
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = "a@a.test", "b@b.test", "hello"
    made.set_content("text\n")
    return made


def test_plain(server):
    mail.send(server.hook(), message())
    [received] = server.inbox.mails
    assert received["Subject"] == "hello"
    assert server.inbox.sessions[0].ssl is None


def test_tls_is_used_where_it_is_offered(certificate):
    with Server(tls_context=certificate) as server:
        with pytest.raises(ssl.SSLCertVerificationError):
            mail.send(server.hook(), message())
        mail.send(server.hook(insecure=True), message())
        assert server.inbox.sessions[0].ssl is not None


def test_passwords(certificate):
    options = {"authenticator": _authenticate, "auth_required": True, "tls_context": certificate}
    with Server(**options) as server:
        mail.send(server.hook(insecure=True, username="user", password="secret"), message())
        with pytest.raises(OSError, match="535"):
            mail.send(server.hook(insecure=True, username="user", password="wrong"), message())
        assert len(server.inbox.mails) == 1


def test_passwords_do_not_go_to_others_in_clear(server, monkeypatch):
    monkeypatch.setattr(mail, "_is_here", lambda host: False)
    with pytest.raises(OSError, match="no TLS"):
        mail.send(server.hook(username="user", password="secret"), message())


@pytest.mark.parametrize(
    ("host", "here"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("10.0.0.1", False), ("a.b", False)],
)
def test_what_is_here(host, here):
    assert mail._is_here(host) is here


def handled(hooks: list[Hook], *records: logging.LogRecord) -> socket.socket:
    into, out = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with into:
        handler = MailHandler(into, hooks, {"service": "registry"})
        for record in records:
            handler.emit(record)
    return out


def record(text: str, level: int = logging.ERROR, name: str = "lading.api") -> logging.LogRecord:
    return logging.LogRecord(name, level, "app.py", 1, text, None, None)


def entries(line: socket.socket) -> list[dict[str, Any]]:
    found = []
    with line:
        while data := line.recv(1 << 20, socket.MSG_DONTWAIT) if _readable(line) else b"":
            found.append(json.loads(data))
    return found


def _readable(line: socket.socket) -> bool:
    try:
        return bool(line.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
    except BlockingIOError:
        return False


def test_only_entries_of_a_level_are_handed_over():
    hook = Hook(frozenset({"error", "panic"}), "h", 25, "f", ["t"])
    levels = [logging.WARNING, logging.ERROR, logging.CRITICAL]
    line = handled([hook], *[record("x", level) for level in levels], record("y", name="lading.operations.mail"))
    assert [entry["level"] for entry in entries(line)] == ["error", "panic"]


def test_whoever_logs_never_waits():
    hook = Hook(frozenset({"error"}), "h", 25, "f", ["t"])
    found = entries(handled([hook], *[record("x" * 100_000) for _ in range(1000)]))
    assert 0 < len(found) < 1000
    assert len(found[0]["message"]) < 100_000


def test_entries_of_a_request_name_it():
    token = current.set(serve([(b"host", b"h:1")]))
    try:
        line = handled([Hook(frozenset({"error"}), "h", 25, "f", ["t"])], record("x"))
    finally:
        current.reset(token)
    [entry] = entries(line)
    assert entry["fields"]["http.request.uri"] == "/v2/a/manifests/x?n=1"
    assert entry["fields"]["service"] == "registry"


async def received(server: Server, count: int) -> None:
    async with asyncio.timeout(30):
        while len(server.inbox.mails) < count:
            await asyncio.sleep(0.01)


async def test_mails(server):
    line = handled([server.hook()], record("the storage\nfailed: \udc80"))
    with line:
        mailing = asyncio.create_task(Mailer(line, [server.hook()], "node7").run())
        await received(server, 1)
        mailing.cancel()
    [mailed] = server.inbox.mails
    assert mailed["Subject"] == "[error] node7: the storage failed: ?"
    assert mailed["To"] == "to@b.test, c@b.test"
    assert server.inbox.envelopes[0].rcpt_tos == ["to@b.test", "c@b.test"]
    text = mailed.get_content()  # type: ignore[attr-defined]
    assert text.replace("\r\n", "\n") == "the storage\nfailed: ?\nservice: registry\n"


async def test_there_is_an_end_to_mails(server, monkeypatch):
    monkeypatch.setattr(mail, "MAILS_A_MINUTE", 2)
    clock = [1000.0]
    monkeypatch.setattr(mail.time, "monotonic", lambda: clock[0])
    mailer = Mailer(socket.socket(), [server.hook()], "node7")
    with mailer._line:
        assert [mailer._may_send(0) for _ in range(5)] == [True, True, False, False, False]
        clock[0] += 61
        assert mailer._may_send(0)
        entry = {"level": "error", "message": "m", "details": "", "fields": {}}
        assert "3 entries before this one were not mailed" in mailer._mail(server.hook(), entry, 3).get_content()


async def test_a_server_that_is_gone_is_logged_and_not_mailed(caplog):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    hook = Hook(frozenset({"error", "warning"}), "127.0.0.1", port, "f@a.test", ["t@a.test"])
    with socket.socket() as line:
        await Mailer(line, [hook], "h")._send(hook, message())
    [line] = caplog.records
    assert line.getMessage().startswith(f"cannot send mail by 127.0.0.1:{port}: ")
    assert entries(handled([hook], line)) == []


def test_a_registry_mails_its_errors(start: StartWatched, server: Server, tmp_path: Path) -> None:
    drain = tmp_path / "drain"
    text = f"""{STOCK}
  file: [{{file: "{drain}", interval: 20ms}}]
"""
    hook = f"""
  hooks:
    - type: mail
      levels: [error]
      options:
        smtp: {{addr: "127.0.0.1:{server.port}"}}
        from: registry@a.test
        to: [ops@a.test]
"""
    watched = start(text.replace("  level: debug\n", f"  level: debug{hook}"))
    drain.touch()
    watched.until(lambda: len(server.inbox.mails), 1)
    [mailed] = server.inbox.mails
    assert mailed["Subject"].endswith(f": health check {drain} fails: file exists")
    assert mailed["To"] == "ops@a.test"
