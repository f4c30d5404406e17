"""The password file, and what it costs to ask it."""

from __future__ import annotations

import asyncio
import logging
import os
import stat
from pathlib import Path

import bcrypt
import pytest
from tests.auth.serving import basic, serve
from tests.server.serving import serving

from lading.auth import htpasswd
from lading.auth.accounts import Accounts
from lading.auth.basic import BasicAuthorizer
from lading.auth.htpasswd import Users
from lading.auth.passwords import MAX_CHECKS, REMEMBER_SECONDS, Passwords
from lading.auth.throttle import ACCOUNT, CLIENT, HALVING_SECONDS, MAX_WAITING, Throttle
from lading.auth.watched import LOOK_SECONDS, FileError, Watched
from lading.registry.access import ThrottledError
from lading.server.proxies import Proxies


def hashed(password: str, kind: str = "2b", cost: int = 4) -> str:
    found = bcrypt.hashpw(password.encode(), bcrypt.gensalt(cost)).decode()
    return f"${kind}${found[4:]}"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def passwords(clock: Clock) -> Passwords:
    return Passwords(Throttle(clock, clock.sleep), clock)


# the file ---------------------------------------------------------------------------------------------------


def test_lines() -> None:
    one, two = hashed("1"), hashed("2")
    users = htpasswd.parse(f"# comment\n\n  a:{one}  \nb:{one}\r\nb:{two}\n:{one}\n".encode(), "f")
    assert users == Users({"a": one, "b": two, "": one}, (4, 4, 4))


@pytest.mark.parametrize("kind", ["2a", "2b", "2x", "2y"])
async def test_all_kinds_of_bcrypt(kind: str) -> None:
    users = htpasswd.parse(f"u:{hashed('secret', kind)}".encode(), "f")
    assert await passwords(Clock()).check("u", "secret", users.hashes["u"], "c")


@pytest.mark.parametrize(
    ("stored", "what"),
    [
        ("$apr1$abc$def", "Apache MD5 (apr1)"),
        ("{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "SHA-1"),
        ("$5$a$b", "SHA-256 crypt"),
        ("$6$a$b", "SHA-512 crypt"),
        ("rqXexS6ZhobKA", "unknown or crypt"),
        ("$2y$10$short", "damaged bcrypt"),
        ("plain", "unknown or crypt"),
    ],
)
def test_other_hashes_are_refused_with_file_and_line(
    stored: str, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    good = hashed("x")
    users = htpasswd.parse(f"a:{good}\nbob:{stored}\n".encode(), "/etc/htpasswd")
    assert users.hashes == {"a": good}
    [line] = caplog.messages
    assert line.startswith("/etc/htpasswd:2: user 'bob' cannot sign in: ")
    assert what in line
    assert stored not in line


def test_a_later_line_that_is_of_no_use_takes_the_user_away() -> None:
    assert htpasswd.parse(f"a:{hashed('x')}\na:$apr1$x$y\n".encode(), "f").hashes == {}


def test_an_expensive_hash_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    assert htpasswd.parse(b"a:$2b$31$" + b"a" * 53, "f").hashes == {}
    assert "bcrypt cost 31" in caplog.text


def test_what_is_no_entry_is_not_repeated() -> None:
    with pytest.raises(FileError) as raised:
        htpasswd.parse(b"a:b\nhunter2\n", "/f")
    assert str(raised.value) == "/f:2: invalid entry: not user:hash"


def test_provision(tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "new" / "htpasswd"
    htpasswd.provision(str(path))
    said = capsys.readouterr().err
    password = said.split('"')[3]
    assert len(password) == 43
    assert password not in caplog.text
    assert "htpasswd is missing, provisioning with default user" in caplog.text
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    text = path.read_bytes()
    assert text.startswith(b"docker:$2b$10$")
    assert not text.endswith(b"\n")
    assert bcrypt.checkpw(password.encode(), text[7:])
    htpasswd.provision(str(path))
    assert capsys.readouterr().err == ""
    assert path.read_bytes() == text


def test_a_file_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FileError, match="cannot be made"):
        htpasswd.provision(str(tmp_path / "file" / "htpasswd"))


# reading it again -------------------------------------------------------------------------------------------


async def test_changes_take_effect_without_restart(tmp_path: Path) -> None:
    file, clock = tmp_path / "htpasswd", Clock()
    file.write_text(f"user:{hashed('old')}")
    accounts = Accounts(Watched(str(file), htpasswd.parse, clock), None)
    client = serve(BasicAuthorizer("realm", accounts), clock=clock)

    async def status(password: str) -> int:
        return (await client.get("/v2/", {"Authorization": basic("user", password)})).status

    assert await status("old") == 200
    replacement = tmp_path / "replacement"
    replacement.write_text(f"user:{hashed('new')}")
    os.replace(replacement, file)
    assert await status("old") == 200, "no more than one look a second"
    clock.now += LOOK_SECONDS
    assert (await status("old"), await status("new")) == (401, 200)


def test_a_file_that_breaks_stays_in_force(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file, clock = tmp_path / "htpasswd", Clock()
    good = f"user:{hashed('x')}"
    file.write_text(good)
    watched = Watched(str(file), htpasswd.parse, clock)
    before = watched.value
    file.write_text("nonsense")
    clock.now += LOOK_SECONDS
    assert watched.value == before
    assert "htpasswd:1: invalid entry: not user:hash; what was read before stays in force" in caplog.text
    file.unlink()
    for _ in range(3):
        clock.now += LOOK_SECONDS
        assert watched.value == before
    assert caplog.text.count("cannot be read") == 1
    file.write_text(good + "\nother:" + hashed("y"))
    watched.reload()
    assert set(watched.value.hashes) == {"user", "other"}


def test_a_missing_file_is_told_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="cannot be read: No such file"):
        Watched(str(tmp_path / "none"), htpasswd.parse)


# checking ---------------------------------------------------------------------------------------------------


async def test_only_the_first_72_bytes_count() -> None:
    stored, checks = hashed("a" * 72), passwords(Clock())
    assert await checks.check("u", "a" * 100, stored, "c", 4)
    assert not await checks.check("u", "a" * 71, stored, "c", 4)


async def test_bytes_that_are_no_text() -> None:
    stored = bcrypt.hashpw(b"\xff\x00", bcrypt.gensalt(4)).decode()
    secret = b"\xff\x00".decode("utf-8", "surrogateescape")
    assert await passwords(Clock()).check("u", secret, stored, "c", 4)


async def test_success_is_remembered_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    computed, check = [], bcrypt.checkpw
    monkeypatch.setattr(bcrypt, "checkpw", lambda *both: computed.append(both) or check(*both))
    clock = Clock()
    checks, stored = passwords(clock), hashed("right")
    for _ in range(3):
        assert await checks.check("u", "right", stored, "c", 4)
    assert len(computed) == 1
    assert not await checks.check("u", "wrong", stored, "c", 4)
    assert not await checks.check("v", "right", None, "c", 4)
    changed = hashed("other")
    assert not await checks.check("u", "right", changed, "c", 4), "another hash, another answer"
    clock.now += REMEMBER_SECONDS
    count = len(computed)
    assert await checks.check("u", "right", stored, "c", 4)
    assert len(computed) == count + 1


async def test_the_same_password_at_once_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    computed, check = [], bcrypt.checkpw
    monkeypatch.setattr(bcrypt, "checkpw", lambda *both: computed.append(both) or check(*both))
    checks, stored = passwords(Clock()), hashed("right")
    answers = await asyncio.gather(*(checks.check("u", "right", stored, "c", 4) for _ in range(20)))
    assert all(answers)
    assert len(computed) == 1


async def test_the_loop_is_free_while_a_password_is_computed() -> None:
    checks, stored = passwords(Clock()), hashed("right", cost=11)
    check = asyncio.ensure_future(checks.check("u", "right", stored, "c", (11,)))
    turns = 0
    while not check.done():
        turns += 1
        await asyncio.sleep(0)
    assert turns > 100
    assert check.result()


async def test_too_many_checks_are_refused() -> None:
    checks = passwords(Clock())
    many = [checks.check(f"u{n}", "x", hashed("y", cost=6), "c", (6,)) for n in range(MAX_CHECKS + 5)]
    answers = await asyncio.gather(*many, return_exceptions=True)
    assert sum(isinstance(answer, ThrottledError) for answer in answers) == 5


async def test_an_unknown_user_has_a_cost_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    references: list[bytes] = []
    check = bcrypt.checkpw
    monkeypatch.setattr(bcrypt, "checkpw", lambda *both: references.append(both[1]) or check(*both))
    file = tmp_path / "htpasswd"
    file.write_text(f"a:{hashed('1')}\nb:{hashed('2', cost=5)}\n")
    for _ in range(2):  # two processes
        accounts = Accounts(Watched(str(file), htpasswd.parse), None, throttle=Throttle(sleep=Clock().sleep))
        for number in range(20):
            assert await accounts.check(f"nobody{number}", "x", f"192.0.2.{number}") is None
    costs = [int(reference[4:6]) for reference in references]
    assert set(costs) == {4, 5}
    assert costs[:20] == costs[20:], "the same name, the same cost"


# slowing down -----------------------------------------------------------------------------------------------


async def test_failures_slow_a_client_down() -> None:
    clock = Clock()
    throttle = Throttle(clock, clock.sleep)
    for number in range(30):
        await throttle.wait("192.0.2.1", f"user{number}")
        throttle.failed("192.0.2.1", f"user{number}")
    assert clock.slept[0] <= 0.2
    assert max(clock.slept) == CLIENT.longest
    slept = len(clock.slept)
    await throttle.wait("192.0.2.2", "user0")
    assert len(clock.slept) == slept, "another client is not slowed down"
    clock.now += 20 * HALVING_SECONDS
    await throttle.wait("192.0.2.1", "user0")
    assert len(clock.slept) == slept, "failures are forgotten"


async def test_clients_behind_a_proxy_are_told_apart() -> None:
    clock = Clock()
    accounts = Accounts(None, None, throttle=Throttle(clock, clock.sleep))
    guarded = serve(BasicAuthorizer("realm", accounts)).app
    async with serving(application=guarded, proxies=Proxies.named(["127.0.0.1"])) as running:

        async def sign_in(client: str, user: str) -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
            head = f"X-Forwarded-For: {client}\r\nAuthorization: {basic(user, 'guess')}\r\n"
            writer.write(f"GET /v2/ HTTP/1.0\r\n{head}\r\n".encode())
            assert (await asyncio.wait_for(reader.read(), 10)).startswith(b"HTTP/1.1 401 ")
            writer.close()

        for number in range(8):
            await sign_in("192.0.2.1", f"user{number}")
        slept = len(clock.slept)
        assert slept
        await sign_in("192.0.2.2", "user")
        assert len(clock.slept) == slept


async def test_failures_slow_an_account_down_but_never_lock_it() -> None:
    clock = Clock()
    throttle = Throttle(clock, clock.sleep)
    for number in range(1000):
        throttle.failed(f"198.51.100.{number}", "victim")
    await asyncio.gather(*(throttle.wait(f"203.0.113.{number}", "victim") for number in range(50)))
    assert set(clock.slept) == {ACCOUNT.longest}


async def test_an_attacked_user_who_is_remembered_notices_nothing() -> None:
    clock = Clock()
    checks, stored = passwords(clock), hashed("right")
    assert await checks.check("victim", "right", stored, "192.0.2.1", 4)
    for number in range(40):
        await checks.check("victim", f"guess {number}", stored, "192.0.2.1", 4)
    slept = len(clock.slept)
    assert slept > 0
    clock.now = 1000.0
    assert await checks.check("victim", "right", stored, "192.0.2.1", 4)
    assert len(clock.slept) == slept


async def test_long_names_take_no_more_memory_than_short_ones() -> None:
    throttle = Throttle(Clock())
    for number in range(20):
        throttle.failed("192.0.2.1", "x" * 60_000 + str(number))
    assert max(map(len, throttle._accounts._counts)) == 64
    assert len(throttle._accounts._counts) == 20


async def test_attempts_that_wait_are_bounded() -> None:
    clock, gate = Clock(), asyncio.Event()

    async def sleep(_: float) -> None:
        await gate.wait()

    throttle = Throttle(clock, sleep)
    for _ in range(20):
        throttle.failed("2001:db8::1", "u")
    waiting = [asyncio.ensure_future(throttle.wait(f"2001:db8::{n}", "u")) for n in range(MAX_WAITING)]
    await asyncio.sleep(0)
    with pytest.raises(ThrottledError) as raised:
        await throttle.wait("2001:db8::ffff", "u")
    assert raised.value.seconds == CLIENT.longest
    gate.set()
    await asyncio.gather(*waiting)
    await throttle.wait("2001:db8::ffff", "u")


async def test_a_throttled_attempt_is_told_when_to_come_back(caplog: pytest.LogCaptureFixture) -> None:
    class Throttled(BasicAuthorizer):
        async def authorize(self, *_: object) -> object:  # type: ignore[override]
            raise ThrottledError(7, "too many failed attempts", "u")

    with caplog.at_level(logging.INFO):
        answer = (await serve(Throttled("r", Accounts(None, None))).get("/v2/")).expect(429)
    assert answer.header("retry-after") == "7"
    assert answer.codes() == ["TOOMANYREQUESTS"]
    assert 'audit: refused reason="too many failed attempts" user="u"' in caplog.text
