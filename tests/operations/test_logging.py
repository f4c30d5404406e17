from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.wire.asgi import Client
from tests.wire.compositions import MEMORY

from lading.api.request import Message, Request, current
from lading.api.routes import Endpoint, Route
from lading.config import variables
from lading.operations.logging import (
    JsonFormatter,
    LogstashFormatter,
    Settings,
    TerminalFormatter,
    TextFormatter,
    configure,
)
from lading.storage.memory import MemoryStorage

FIELDS = {"service": "registry", "environment": "development"}
WHEN = 1795470729.5


@pytest.fixture(autouse=True)
def utc(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")


def record(message: str, level: int = logging.ERROR, when: float = WHEN, **fields: object) -> logging.LogRecord:
    made = logging.LogRecord("lading.api", level, "/src/app.py", 12, message, None, None, "answer")
    made.created = when
    made.relativeCreated = 4321.0
    if fields:
        made.__dict__["fields"] = {key.replace("__", "."): value for key, value in fields.items()}
    return made


REFUSED = {"err__code": "manifest unknown", "err__detail": "unknown tag=x", "http__response__status": 404}


def test_text_as_distribution_writes_it():
    line = TextFormatter(FIELDS).format(record("response completed with error", **REFUSED))
    assert line == (
        'time="2026-11-23T21:52:09.5Z" level=error msg="response completed with error" environment=development '
        'err.code="manifest unknown" err.detail="unknown tag=x" http.response.status=404 service=registry'
    )


def test_json_as_distribution_writes_it():
    line = JsonFormatter(FIELDS).format(record("a <b>", http__request__useragent='a<b>"é', **REFUSED))
    assert line == (
        '{"environment":"development","err.code":"manifest unknown","err.detail":"unknown tag=x",'
        '"http.request.useragent":"a<b>\\"é","http.response.status":404,"level":"error","msg":"a <b>",'
        '"service":"registry","time":"2026-11-23T21:52:09.5Z"}'
    )


def test_logstash_as_logstash_reads_it():
    line = LogstashFormatter(FIELDS).format(record("a <b> & c", level=logging.WARNING))
    assert line == (
        '{"@timestamp":"2026-11-23T21:52:09.5Z","@version":"1","environment":"development","level":"warning",'
        '"message":"a \\u003cb\\u003e \\u0026 c","service":"registry","type":"log"}'
    )
    assert json.loads(line)["message"] == "a <b> & c"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain-1.2_3/@^+x", "plain-1.2_3/@^+x"),
        ("", ""),
        ("two words", '"two words"'),
        ("127.0.0.1:1", '"127.0.0.1:1"'),
        ('a"b\\c', '"a\\"b\\\\c"'),
        ("a\n\t\x07\x00\x1b", '"a\\n\\t\\a\\x00\\x1b"'),
        ("é", '"é"'),
        ("\u200b\U000e0001\udc80", '"\\u200b\\U000e0001\\udc80"'),
        (404, "404"),
        (True, "true"),
    ],
)
def test_values_are_quoted_as_go_does(value, text):
    assert TextFormatter({"k": value}).format(record("m")).endswith(f" msg=m k={text}")


@pytest.mark.parametrize(
    ("when", "text"),
    [(1795470729.0, "2026-11-23T21:52:09Z"), (1795470729.123456, "2026-11-23T21:52:09.123456Z")],
)
def test_times_have_no_zeros_at_the_end(when, text):
    assert TextFormatter({}).format(record("m", when=when)).startswith(f'time="{text}" ')


def test_levels():
    words = [
        re.findall(r"level=(\w+)", TextFormatter({}).format(record("m", level)))[0]
        for level in [logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL]
    ]
    assert words == ["debug", "info", "warning", "error", "panic"]


def test_fields_that_clash_are_renamed():
    line = TextFormatter({"msg": "a", "time": "b"}).format(record("m", level__="x"))
    assert line.endswith(" msg=m fields.msg=a fields.time=b level.=x")
    assert '"fields.type":"x"' in LogstashFormatter({"type": "x"}).format(record("m"))


def test_empty_messages_are_left_out():
    assert TextFormatter({"a": "b"}).format(record("")) == 'time="2026-11-23T21:52:09.5Z" level=error a=b'


def test_callers():
    text = TextFormatter({"file": "x"}, caller=True).format(record("m"))
    assert text.endswith(' msg=m func=app.answer file="/src/app.py:12" fields.file=x')
    assert json.loads(JsonFormatter({}, caller=True).format(record("m")))["func"] == "app.answer"
    assert json.loads(LogstashFormatter({}, caller=True).format(record("m")))["function"] == "app.answer"


def test_exceptions_are_part_of_the_message():
    try:
        raise ValueError("broken")
    except ValueError:
        failed = record("it failed")
        failed.exc_info = sys.exc_info()
    message = json.loads(JsonFormatter({}).format(failed))["msg"]
    assert message.startswith("it failed\nTraceback")
    assert message.endswith("ValueError: broken")


def test_terminals():
    line = TerminalFormatter(FIELDS).format(record("hello"))
    assert line == (
        "\x1b[31mERRO\x1b[0m[0004] " + "hello".ljust(44) + "  \x1b[31menvironment\x1b[0m=development"
        " \x1b[31mservice\x1b[0m=registry"
    )
    plain = TerminalFormatter(FIELDS, colour=False).format(record("hello", logging.INFO))
    assert plain == "INFO[0004] " + "hello".ljust(44) + "  environment=development service=registry"


def test_no_color():
    assert variables.colour({})
    assert variables.colour({"NO_COLOR": ""})
    assert not variables.colour({"NO_COLOR": "1"})


async def _nothing() -> Message:
    return {"type": "http.disconnect"}


def serve(headers: list[tuple[bytes, bytes]], client: tuple[str, int] | None = ("::1", 5)) -> Request:
    scope = {"method": "PUT", "path": "/v2/a/manifests/x", "headers": headers, "query_string": b"n=1"}
    request = Request({**scope, "client": client}, _nothing)
    request.route = Route(Endpoint.MANIFEST, "a", "x")
    return request


def test_lines_of_a_request_carry_it():
    request = serve([(b"host", b"h:1"), (b"user-agent", "é".encode()), (b"content-type", b"x/y")])
    token = current.set(request)
    try:
        first, second = (json.loads(JsonFormatter({}).format(record(text))) for text in ["a", "b"])
    finally:
        current.reset(token)
    assert first.pop("msg") == "a"
    assert second.pop("msg") == "b"
    assert first == second
    assert len(first.pop("http.request.id")) == 36
    assert first == {
        "http.request.method": "PUT",
        "http.request.host": "h:1",
        "http.request.uri": "/v2/a/manifests/x?n=1",
        "http.request.useragent": "é",
        "http.request.remoteaddr": "[::1]:5",
        "http.request.contenttype": "x/y",
        "vars.name": "a",
        "vars.reference": "x",
        "level": "error",
        "time": "2026-11-23T21:52:09.5Z",
    }


@pytest.mark.parametrize(
    ("headers", "client", "address"),
    [
        ([(b"x-forwarded-for", b"10.1.2.3, 10.0.0.1")], ("::1", 5), "10.1.2.3"),
        ([(b"x-real-ip", b"10.1.2.4")], ("::1", 5), "10.1.2.4"),
        ([], ("127.0.0.1", 5), "127.0.0.1:5"),
        ([], None, None),
    ],
)
def test_remote_addresses(headers, client, address):
    token = current.set(serve(headers, client))
    try:
        line = json.loads(JsonFormatter({}).format(record("m")))
    finally:
        current.reset(token)
    assert line.get("http.request.remoteaddr") == address


async def test_ends_of_requests(caplog):
    caplog.set_level(logging.DEBUG)
    client = Client(MEMORY.open(MemoryStorage()))
    await client.get("/v2/")
    await client.get("/v2/a/manifests/x")
    await client.get("/nothing")
    done, refused = (r for r in caplog.records if r.getMessage().startswith("response completed"))
    assert (done.levelname, done.getMessage()) == ("DEBUG", "response completed")
    told = done.__dict__["fields"]
    assert re.fullmatch(r"[0-9.e-]+ms", told.pop("http.response.duration"))
    assert told == {
        "http.response.status": 200,
        "http.response.written": 2,
        "http.response.contenttype": "application/json",
    }
    assert refused.getMessage() == "response completed with error"
    told = refused.__dict__["fields"]
    assert {key: told[key] for key in told if key.startswith("err")} == {
        "err.code": "manifest unknown",
        "err.message": "manifest unknown",
        "err.detail": "unknown tag=x",
    }


async def test_errors_of_the_program_are_panics(caplog):
    class Broken(MemoryStorage):
        async def get(self, key: str) -> bytes:
            raise RuntimeError("a bug")

    answer = await Client(MEMORY.open(Broken())).get("/v2/a/manifests/x")
    assert answer.status == 500
    [line] = caplog.records
    assert json.loads(JsonFormatter({}).format(line))["level"] == "panic"


def test_configured_processes_say_who_they_are(capfd):
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    try:
        configure(Settings("warn", "json", {"a": 1}))
        logging.getLogger("x").info("not shown")
        logging.getLogger("x").warning("shown")
    finally:
        root.handlers[:] = before
        root.setLevel(level)
    line = json.loads(capfd.readouterr().err)
    assert line["msg"] == "shown"
    assert line["a"] == 1
    assert {"version", "instance.id", "python.version"} <= line.keys()


@pytest.mark.parametrize(
    ("variable", "start"), [({}, "\x1b[33mWARN\x1b[0m[0000] "), ({"NO_COLOR": "1"}, "WARN[0000] ")]
)
def test_a_registry_on_a_terminal(tmp_path, variable, start):
    config = tmp_path / "config.yml"
    # An address that cannot be had: the start ends after its first lines.
    config.write_text("version: 0.1\nstorage: inmemory\nhttp: {addr: '192.0.2.1:1'}\n")
    ours, theirs = os.openpty()
    environ = {k: v for k, v in os.environ.items() if k != "NO_COLOR" and not k.startswith("REGISTRY_")}
    command = [str(Path(sys.executable).with_name("lading")), "serve", str(config)]
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        run = subprocess.Popen(command, stderr=theirs, stdin=subprocess.DEVNULL, env=environ | variable)
        os.close(theirs)
        line = terminal.read(len(start)).decode()
        assert run.wait(30) == 1
    # The number counts seconds since the start.
    assert re.sub(r"\[[0-9]{4}\]", "[0000]", line) == start
