"""Authorization from the command line to the wire, in processes of its own."""

from __future__ import annotations

import contextlib
import http.client
import logging
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bcrypt
import pytest
import yaml
from tests.auth import token_server, tokens
from tests.auth.serving import basic
from tests.auth.tokens import claims, token
from tests.servers import process
from tests.servers.process import StartRegistry

from lading import build
from lading.cli import main
from lading.compose.auth import problems
from lading.config.load import load
from lading.server.reloading import Reload

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]

RULES = [
    {"repositories": ["${user}/**"], "actions": ["*"], "who": ["authenticated"]},
    {"repositories": ["team/**"], "actions": ["pull", "push"], "who": ["@ci"]},
]


def write(folder: Path, **sections: Any) -> Path:
    base = {"version": "0.1", "storage": {"inmemory": {}}, "http": {"addr": "127.0.0.1:0"}}
    path = folder / "config.yml"
    path.write_text(yaml.safe_dump({**base, **sections}))
    return path


def jobs(*entries: dict[str, Any]) -> dict[str, Any]:
    job = {"name": "forge", "issuer": "i", "audience": "a", "jwks": "/none", "rules": [{"claims": {"sub": "x"}}]}
    return {
        "tokenservice": {
            "issuer": "i",
            "services": ["s"],
            "keys": "/no/such/folder",
            "workloads": [{**job, **entry} for entry in entries],
        }
    }


def passwords(folder: Path, cost: int = 4, **users: str) -> str:
    file = folder / "htpasswd"
    lines = (
        f"{user}:{bcrypt.hashpw(word.encode(), bcrypt.gensalt(cost)).decode()}" for user, word in users.items()
    )
    file.write_text("\n".join(lines))
    return str(file)


@pytest.fixture(autouse=True)
def log_of_its_own() -> Iterator[None]:
    """Commands set up the log of their process, which here is that of all tests."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


# commands ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["alice", "alice/app", "delete"], 0, "yes: access.rules[0]: authenticated may * in ${user}/**"),
        (["alice", "team/app", "pull"], 1, "no: no rule allows it"),
        (["alice", "team/app", "pull", "--group", "ci"], 0, "yes: access.rules[1]"),
        (["bob", "bob/app", "push"], 1, "no: bob is in access.readonly"),
        (["-", "team/app", "pull"], 1, "no: no rule allows it"),
        (["robot+ci", "team/app", "push"], 0, "yes: access.rules[1]"),
    ],
)
def test_explain(
    arguments: list[str], status: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    robots = str(tmp_path / "robots.json")
    path = write(
        tmp_path,
        auth={"htpasswd": {"realm": "r", "path": passwords(tmp_path, alice="x")}},
        access={"rules": RULES, "readonly": ["bob"], "robots": robots},
    )
    assert main(["auth", "robot", "create", "ci", "--expires=1d", "--group=ci", f"--config={path}"]) == 0
    capsys.readouterr()
    assert main(["auth", "explain", *arguments, f"--config={path}"]) == status
    assert capsys.readouterr().out.startswith(said)


def test_robots_come_and_go(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = f"--config={write(tmp_path, access={'robots': str(tmp_path / 'robots.json')})}"
    assert main(["auth", "robot", "create", "build", "--expires=90d", "--group=ci", config]) == 0
    made = capsys.readouterr()
    secret = re.findall(r"(?m)^secret +(\S{43})$", made.out)[0]
    assert 'audit: made robot robot=\\"build\\"' in made.err
    assert secret not in made.err
    assert main(["auth", "robot", "create", "build", "--expires=90d", config]) == 1
    assert "configuration error: there is a robot build already: revoke it first" in capsys.readouterr().err
    assert main(["auth", "robot", "list", config]) == 0
    assert re.fullmatch(r"robot\+build  made \S+ \S+Z  expires \S+ \S+Z  groups ci\n", capsys.readouterr().out)
    assert main(["auth", "robot", "revoke", "build", config]) == 0
    assert main(["auth", "robot", "revoke", "build", config]) == 1
    assert "there is no robot build" in capsys.readouterr().err
    assert main(["auth", "robot", "create", "x", config]) == 1
    assert "--expires" in capsys.readouterr().err


def test_commands_without_their_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = f"--config={write(tmp_path)}"
    for command, key in ((["robot", "list"], "access.robots"), (["rotate-keys"], "tokenservice.keys")):
        assert main(["auth", *command, config]) == 1
        assert f"configuration error: {key}: " in capsys.readouterr().err
    assert main(["token-server", str(write(tmp_path))]) == 1
    assert "configuration error: tokenservice.issuer: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("sections", "line"),
    [
        (
            {"access": {"rules": [{"actions": ["pull"], "who": ["a"]}]}},
            "access.rules[0].repositories: needs an entry",
        ),
        ({"access": {"rules": [{**RULES[0], "repositories": ["A"]}]}}, "access.rules[0].repositories: 'A' is no"),
        ({"access": {"rules": [{**RULES[0], "who": ["@"]}]}}, "access.rules[0].who: '@' is nobody"),
        ({"access": {"groups": {"a": ["b"]}}}, "access.groups: has no effect without access.rules"),
        ({"access": {"robots": "/no/such/folder/file"}}, "access.robots: /no/such/folder/file: cannot be made"),
        ({"tokenservice": {"issuer": "i"}}, "tokenservice.services: needs"),
        ({"tokenservice": {"issuer": "i", "services": ["s"]}}, "tokenservice: nobody can sign in"),
        ({"tokenservice": {"issuer": "i", "services": ["s"], "expiry": "5s"}}, "tokenservice.expiry: "),
        ({"tokenservice": {"issuer": "i", "services": ["s"], "htpasswd": "h"}}, "tokenservice.keys: needs"),
        (jobs({"name": "robot"}), "tokenservice.workloads[0].name: robot is in use already"),
        (jobs({"issuer": "a"}, {"issuer": "b"}), "tokenservice.workloads[1].name: forge is in use already"),
        (jobs({}, {"name": "other"}), "tokenservice.workloads[1].issuer: is that of another entry"),
        (jobs({"rules": [{}]}), "tokenservice.workloads[0].rules[0].claims: without any"),
        (jobs({"jwks": ""}), "tokenservice.workloads[0].jwks: is needed"),
    ],
)
def test_what_stops_the_start(
    sections: dict[str, Any], line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    auth = {"htpasswd": {"realm": "r", "path": passwords(tmp_path, alice="x")}}
    path = write(tmp_path, auth=auth, **sections)
    assert main(["serve", str(path)]) == 1
    err = capsys.readouterr().err
    assert "configuration error: " in err
    assert line in err
    if "cannot be made" not in line:
        [problem] = problems(load(str(path)).configuration)
        assert problem.startswith(line)


@pytest.mark.parametrize(
    ("auth", "missing"),
    [
        ({"htpasswd": None}, ["auth.htpasswd.realm", "auth.htpasswd.path"]),
        ({"silly": {"realm": "r"}}, ["auth.silly.service"]),
        ({"token": {"realm": "r"}}, ["auth.token.service", "auth.token.issuer", "auth.token"]),
        (
            {"token": {"realm": "r", "service": "s", "issuer": "i", "jwks": ["x"], "autoredirect": "yes"}},
            ["auth.token.autoredirect", "auth.token.jwks"],
        ),
        ({"token": {"realm": "r", "service": "s", "issuer": "i", "jwks": "/none"}}, []),
        ({"htpasswd": {"realm": "r", "path": "/no/such/folder/htpasswd"}}, []),
    ],
)
def test_what_is_missing_is_told_without_a_start(auth: dict[str, Any], missing: list[str], tmp_path: Path) -> None:
    found = problems(load(str(write(tmp_path, auth=auth))).configuration)
    assert [problem.partition(": ")[0] for problem in found] == missing


def test_a_registry_without_authorization_imports_none_of_it() -> None:
    code = "import sys, lading.cli; print({'jwt', 'bcrypt', 'cryptography'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "set()\n"


# processes --------------------------------------------------------------------------------------------------


def test_a_missing_password_file_is_made_once(start_lading: StartRegistry, tmp_path: Path) -> None:
    file = tmp_path / "made" / "htpasswd"
    registry = start_lading(extra={"auth": {"htpasswd": {"realm": "r", "path": str(file)}}})
    [password] = re.findall(r'user "docker", password "(\S+)": shown this once', registry.log.read_text())
    headers = {"Authorization": basic("docker", password)}
    for _ in range(5):  # whichever worker answers
        registry.client.request("GET", "/v2/", headers).expect(200)
    registry.stop()  # its access log is complete then
    assert "127.0.0.1 - docker [" in registry.log.read_text()


def test_a_robot_signs_in_at_a_running_registry(
    start_lading: StartRegistry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    access = {"rules": RULES, "robots": str(tmp_path / "robots.json")}
    auth = {"htpasswd": {"realm": "r", "path": passwords(tmp_path, alice="secret")}}
    registry = start_lading(extra={"auth": auth, "access": access})
    config = f"--config={registry.config}"
    assert main(["auth", "robot", "create", "ci", "--expires=1h", "--group=ci", config]) == 0
    secret = re.findall(r"secret +(\S+)", capsys.readouterr().out)[0]
    headers = {"Authorization": basic("robot+ci", secret)}
    assert _eventually(lambda: registry.client.request("GET", "/v2/team/x/tags/list", headers).status == 404)
    # Each worker looks for itself.
    assert _eventually(lambda: registry.client.request("GET", "/v2/alice/x/tags/list", headers).status == 403)
    assert main(["auth", "robot", "revoke", "ci", config]) == 0
    assert _eventually(lambda: registry.client.request("GET", "/v2/team/x/tags/list", headers).status == 401)
    registry.said(re.escape('reason=\\"unknown user or wrong password\\" user=\\"robot+ci\\"'))


def test_keys_of_a_url(start_lading: StartRegistry) -> None:
    with token_server.running() as (address, signing):
        options = {
            "realm": f"{address}/",
            "service": tokens.SERVICE,
            "issuer": tokens.ISSUER,
            "jwks": f"{address}/keys",
        }
        registry = start_lading(extra={"auth": {"token": options}})
        headers = {"Authorization": f"Bearer {token(signing, claims(), kid='independent')}"}
        registry.client.request("GET", "/v2/", headers).expect(200)
        registry.client.request(
            "GET", "/v2/", {"Authorization": f"Bearer {token(signing, claims(), kid='x')}"}
        ).expect(401)


@contextlib.contextmanager
def token_server_alone(folder: Path, **section: Any) -> Iterator[str]:
    """Its address."""
    reserved = process._reserve_port()
    port = reserved.getsockname()[1]
    service = {"issuer": tokens.ISSUER, "services": [tokens.SERVICE], "keys": str(folder / "keys"), **section}
    path = write(folder, http={"addr": f"127.0.0.1:{port}"}, tokenservice=service)
    command = [str(Path(sys.executable).with_name("lading")), "token-server", str(path)]
    with (folder / "log").open("wb") as log:
        running = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        assert _eventually(lambda: _answers(port)), (folder / "log").read_text()
        yield f"127.0.0.1:{port}"
        running.terminate()
        assert running.wait(20) == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
        running.wait(10)
        reserved.close()


@pytest.mark.peer
def test_a_token_server_alone_and_the_registries_that_trust_it(
    start_lading: StartRegistry, start_distribution: StartRegistry, tmp_path: Path
) -> None:
    with token_server_alone(tmp_path, htpasswd=passwords(tmp_path, alice="secret")) as host:
        realm = f"http://{host}/auth/token"
        options = {"realm": realm, "service": tokens.SERVICE, "issuer": tokens.ISSUER}
        by_url = {**options, "jwks": f"http://{host}/auth/jwks.json"}
        by_file = {**options, "jwks": str(tmp_path / "keys" / "jwks.json")}
        connection = http.client.HTTPConnection(host, timeout=10)
        target = f"/auth/token?service={tokens.SERVICE}&scope=repository:alice/app:pull,push"
        connection.request("GET", target, headers={"Authorization": basic("alice", "secret")})
        answer = connection.getresponse()
        assert answer.status == 200
        text = yaml.safe_load(answer.read())["token"]
        connection.close()
        for start, auth in ((start_lading, by_url), (start_distribution, by_file)):
            client = start(extra={"auth": {"token": auth}}).client
            headers = {"Authorization": f"Bearer {text}"}
            client.request("POST", "/v2/alice/app/blobs/uploads/", headers).expect(202)
            client.request("POST", "/v2/bob/app/blobs/uploads/", headers).expect(401)


# time -------------------------------------------------------------------------------------------------------


def test_an_unknown_user_takes_as_long_as_a_wrong_password(tmp_path: Path) -> None:
    """By the processor time of the comparison: what else the machine does is not counted."""
    import asyncio

    from lading.auth import htpasswd
    from lading.auth.accounts import Accounts
    from lading.auth.throttle import Throttle
    from lading.auth.watched import Watched

    async def at_once(_: float) -> None:
        """No waiting: failures are many here."""

    watched = Watched(passwords(tmp_path, cost=8, alice="secret"), htpasswd.parse)
    accounts = Accounts(watched, None, throttle=Throttle(sleep=at_once))

    async def measure() -> tuple[float, float]:
        spent: dict[str, list[float]] = {"alice": [], "nobody": []}
        for number in range(60):
            for user in ("alice", "nobody") if number % 2 else ("nobody", "alice"):
                started = time.process_time()
                assert await accounts.check(user, f"guess {number}", f"192.0.2.{number}") is None
                spent[user].append(time.process_time() - started)
        return statistics.median(spent["alice"]), statistics.median(spent["nobody"])

    known, unknown = asyncio.run(measure())
    assert known > 0.005, "bcrypt was computed"
    assert abs(known - unknown) / known < 0.15


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _eventually(holds: Any, seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if holds():
            return True
        time.sleep(0.05)
    return False


def test_a_hangup_reads_accounts_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = passwords(tmp_path, alice="x")
    config = write(tmp_path, auth={"htpasswd": {"realm": "r", "path": file}})
    reload = Reload()
    with caplog.at_level(logging.INFO):
        serving = build.application(load(str(config), {}).configuration, b"secret", None, "", [], reload)
        reload.run()
    assert caplog.messages == [f"{file}: read again"]
    del serving


@pytest.mark.parametrize(
    ("sections", "line"),
    [
        ({"http": {"addr": ":1", "debug": {"addr": ":2"}}}, "http.debug.addr: a token server has no"),
        (
            {
                "log": {
                    "hooks": [
                        {
                            "type": "mail",
                            "levels": ["error"],
                            "options": {"from": "a", "to": ["b"], "smtp": {"addr": "mail.example:25"}},
                        }
                    ]
                }
            },
            "log.hooks: a token server mails no",
        ),
    ],
)
def test_a_token_server_says_what_it_has_not(
    sections: dict[str, Any], line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    service = {"issuer": "i", "services": ["s"], "keys": str(tmp_path), "htpasswd": str(tmp_path / "users")}
    config = write(tmp_path, tokenservice=service, **sections)
    assert main(["token-server", str(config)]) == 1
    assert line in capsys.readouterr().err
