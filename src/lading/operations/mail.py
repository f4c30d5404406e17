"""Log entries by mail. Whoever logs hands them over and goes on; the housekeeping process sends them.

The line between them is a socket: nobody waits for the mail server, and what does not fit is not mailed.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import ipaddress
import json
import logging
import smtplib
import socket
import ssl
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.message import EmailMessage

from lading.api.request import current
from lading.operations.logging import PANIC, level_of, request_fields
from lading.operations.threads import in_daemon_thread

log = logging.getLogger(__name__)

MAILS_A_MINUTE = 20
"""Of each hook. More are not sent, and the next mail tells how many."""

SERVER_SECONDS = 30.0

_MAX_BYTES = 64 * 1024
_MAX_SUBJECT = 200
_TLS_PORT = 465
LEVELS: Mapping[str, str] = {
    **dict.fromkeys(("panic", "fatal"), PANIC),
    **dict.fromkeys(("warn", "warning"), "warning"),
    **{name: name for name in ("error", "info", "debug")},
}
"""What the configuration may call a level, and what lines call it."""


@dataclass(frozen=True, slots=True)
class Hook:
    """Whom to mail what. `insecure` takes any certificate, and sends a password where there is no TLS."""

    levels: frozenset[str]
    host: str
    port: int
    sender: str
    to: Sequence[str]
    username: str = ""
    password: str = ""
    insecure: bool = False


class MailHandler(logging.Handler):
    """Hands entries of some levels to whoever reads the other end of `line`."""

    def __init__(self, line: socket.socket, hooks: Sequence[Hook], fields: Mapping[str, object]) -> None:
        super().__init__()
        self._line = line
        self._levels = frozenset().union(*(hook.levels for hook in hooks))
        self._fields = dict(fields)

    def emit(self, record: logging.LogRecord) -> None:
        if level_of(record) not in self._levels or record.name == __name__:
            return
        request = current.get()
        message = record.getMessage()
        details = logging.Formatter().formatException(record.exc_info) if record.exc_info else ""
        entry = {
            "level": level_of(record),
            "message": message[: _MAX_BYTES // 8],
            "details": details[-_MAX_BYTES // 4 :],
            "fields": self._fields
            | (request_fields(request) if request is not None else {})
            | getattr(record, "fields", {}),
        }
        data = json.dumps(entry, default=str).encode()
        with contextlib.suppress(OSError):
            self._line.send(data, socket.MSG_DONTWAIT)


class Mailer:
    """Sends what comes over `line`."""

    def __init__(self, line: socket.socket, hooks: Sequence[Hook], host: str) -> None:
        self._line = line
        self._hooks = hooks
        self._host = host
        self._sent: list[deque[float]] = [deque() for _ in hooks]
        self._withheld = [0] * len(hooks)

    async def run(self) -> None:
        """Until cancelled."""
        self._line.setblocking(False)
        while True:
            data = await asyncio.get_running_loop().sock_recv(self._line, _MAX_BYTES * 4)
            entry = json.loads(data)
            for number, hook in enumerate(self._hooks):
                if entry["level"] in hook.levels and self._may_send(number):
                    mail = self._mail(hook, entry, self._withheld[number])
                    self._withheld[number] = 0
                    await self._send(hook, mail)

    def _may_send(self, number: int) -> bool:
        sent, now = self._sent[number], time.monotonic()
        while sent and now - sent[0] > 60:
            sent.popleft()
        if len(sent) >= MAILS_A_MINUTE:
            self._withheld[number] += 1
            return False
        sent.append(now)
        return True

    def _mail(self, hook: Hook, entry: Mapping[str, object], withheld: int) -> EmailMessage:
        mail = EmailMessage()
        subject = " ".join(f"[{entry['level']}] {self._host}: {entry['message']}".split())
        mail["Subject"] = _sendable(subject[:_MAX_SUBJECT])
        mail["From"] = hook.sender
        mail["To"] = ", ".join(hook.to)
        fields = entry["fields"]
        lines = [str(entry["message"]), str(entry["details"])]
        lines += [f"{key}: {value}" for key, value in sorted(fields.items())] if isinstance(fields, dict) else []
        if withheld:
            lines += ["", f"{withheld} entries before this one were not mailed: there were too many."]
        mail.set_content(_sendable("\n".join(filter(None, lines)) + "\n"))
        return mail

    async def _send(self, hook: Hook, mail: EmailMessage) -> None:
        try:
            await in_daemon_thread(functools.partial(send, hook, mail))
        except (OSError, smtplib.SMTPException) as error:
            log.warning("cannot send mail by %s:%d: %s", hook.host, hook.port, error)


def _sendable(text: str) -> str:
    """Without what no encoding knows, such as the remains of bytes that are no text."""
    return text.encode("utf-8", "replace").decode("utf-8")


def send(hook: Hook, mail: EmailMessage) -> None:
    """Over TLS from the start on port 465, elsewhere if the server offers it.

    Raises `smtplib.SMTPException`, `OSError`; also rather than sending a password in clear to another machine.
    """
    context = ssl.create_default_context()
    if hook.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    encrypted = hook.port == _TLS_PORT
    with (
        smtplib.SMTP_SSL(hook.host, hook.port, timeout=SERVER_SECONDS, context=context)
        if encrypted
        else smtplib.SMTP(hook.host, hook.port, timeout=SERVER_SECONDS)
    ) as server:
        server.ehlo()
        if not encrypted and server.has_extn("starttls"):
            server.starttls(context=context)
            encrypted = True
        if hook.username:
            if not (encrypted or hook.insecure or _is_here(hook.host)):
                raise smtplib.SMTPException("the server offers no TLS, and the password is not sent without")
            server.login(hook.username, hook.password)
        server.send_message(mail)


def _is_here(host: str) -> bool:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"
