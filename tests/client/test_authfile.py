"""Logins that docker and podman have stored."""

from __future__ import annotations

import base64
import json
import stat
from pathlib import Path
from typing import Any

import pytest

from lading.client import AuthFile, AuthFileError, Login, default_files

HELPER = """#!/bin/sh
# As Docker's protocol has it: the server on standard input, JSON on standard output.
read -r server
case "$1 $server" in
  "get helped.example") echo '{"Username": "helped", "Secret": "from helper"}' ;;
  "get https://index.docker.io/v1/") echo '{"Username": "<token>", "Secret": "hub"}' ;;
  *) echo "credentials not found in native keychain"; exit 1 ;;
esac
"""


def auth(text: str) -> dict[str, str]:
    return {"auth": base64.b64encode(text.encode()).decode()}


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "docker-credential-mine"
    script.write_text(HELPER)
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")


def written(folder: Path, document: Any, name: str = "auth.json") -> str:
    (folder / name).write_text(json.dumps(document))
    return str(folder / name)


@pytest.mark.parametrize(
    ("registry", "repository", "expected"),
    [
        ("a.example", "", Login("a", "1:2")),
        ("a.example", "team/app", Login("app", "x")),
        ("a.example", "team/other", Login("team", "x")),
        ("a.example", "teams", Login("a", "1:2")),
        ("b.example:5000", "x", Login("b", "x")),
        ("old.example", "", Login("old", "x")),
        ("token.example", "", Login("<token>", "refresh")),
        ("plain.example", "", Login("plain", "y")),
        ("docker.io", "library/redis", Login("hub", "x")),
        ("empty.example", "", None),
        ("nobody.example", "", None),
    ],
)
async def test_the_most_particular_entry_counts(
    tmp_path: Path, registry: str, repository: str, expected: Login | None
) -> None:
    entries = {
        "a.example": auth("a:1:2"),
        "a.example/team": auth("team:x"),
        "a.example/team/app": auth("app:x"),
        "b.example:5000": auth("b:x"),
        "https://old.example/v1/": auth("old:x"),
        "token.example": {**auth("t:"), "identitytoken": "refresh"},
        "plain.example": {"username": "plain", "password": "y"},
        "https://index.docker.io/v1/": auth("hub:x"),
        "empty.example": {},
        "broken.example": {"auth": "???"},
    }
    file = AuthFile(registry, [written(tmp_path, {"auths": entries})])
    assert await file.login("asks.example", repository) == expected


async def test_helpers_are_asked_first(tmp_path: Path, helper: None) -> None:
    one = written(tmp_path, {"credHelpers": {"helped.example": "mine"}, "auths": {"helped.example": auth("a:b")}})
    assert await AuthFile("helped.example", [one]).login("x") == Login("helped", "from helper")
    store = written(tmp_path, {"credsStore": "mine", "auths": {"other.example": auth("a:b")}}, "store.json")
    assert await AuthFile("helped.example", [store]).login("x") == Login("helped", "from helper")
    assert await AuthFile("docker.io", [store]).login("x") == Login("<token>", "hub")
    assert await AuthFile("other.example", [store]).login("x") == Login("a", "b")
    assert await AuthFile("nobody.example", [store]).login("x") is None


async def test_files_follow_each_other(tmp_path: Path) -> None:
    first = written(tmp_path, {"auths": {"a.example": auth("first:x")}})
    second = written(tmp_path, {"auths": {"a.example": auth("second:x"), "b.example": auth("b:x")}}, "config.json")
    assert await AuthFile("a.example", [first, second]).login("x") == Login("first", "x")
    assert await AuthFile("b.example", [first, second]).login("x") == Login("b", "x")


@pytest.mark.parametrize("content", ["", "[]", "{", "null", "[" * 100_000])
async def test_what_is_no_file_of_logins(tmp_path: Path, content: str) -> None:
    (tmp_path / "auth.json").write_text(content)
    with pytest.raises(AuthFileError, match=r"auth\.json"):
        await AuthFile("a", [str(tmp_path / "auth.json")]).login("a")
    with pytest.raises(AuthFileError, match="no such file"):
        await AuthFile("a", [str(tmp_path / "missing")]).login("a")


@pytest.mark.parametrize(
    "entry",
    [
        {"auth": "c2VjcmV0"},
        {"auth": "secret:"},
        {"auth": base64.b64encode(b"user:secret\xff").decode()},
        {"auth": ["secret"]},
        {"identitytoken": 7},
        "secret",
    ],
)
async def test_an_entry_that_is_no_login(tmp_path: Path, entry: Any) -> None:
    """Told to whoever needs it; others have theirs."""
    file = written(tmp_path, {"auths": {"https://bad.example": entry, "good.example": auth("a:b")}})
    assert await AuthFile("good.example", [file]).login("x") == Login("a", "b")
    with pytest.raises(AuthFileError) as refused:
        await AuthFile("bad.example", [file]).login("x", "team/app")
    assert file in str(refused.value)
    assert "'https://bad.example'" in str(refused.value)
    assert "secret" not in str(refused.value)
    assert "c2Vjcm" not in str(refused.value)


@pytest.mark.parametrize("member", ["auths", "credHelpers"])
async def test_a_table_that_is_none(tmp_path: Path, member: str) -> None:
    with pytest.raises(AuthFileError, match=f"{member} is no object"):
        await AuthFile("a", [written(tmp_path, {member: ["secret"]})]).login("a")


async def test_tokens(tmp_path: Path) -> None:
    both = {**auth("a:b"), "identitytoken": "refresh"}
    file = written(tmp_path, {"auths": {"a": both, "b": {**both, "registrytoken": "shown"}}})
    assert await AuthFile("a", [file]).login("x") == Login("<token>", "refresh")
    found = await AuthFile("b", [file]).login("x")
    assert found == Login("", "", "shown")
    assert "shown" not in repr(found)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("REGISTRY_AUTH_FILE", "DOCKER_CONFIG", "XDG_CONFIG_HOME", "DOCKER_AUTH_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path


async def test_the_variable_comes_before_the_files(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / ".docker").mkdir()
    entries = {"a.example": auth("file:x"), "b.example": auth("file:y")}
    file = written(home / ".docker", {"auths": entries}, "config.json")
    monkeypatch.setenv("DOCKER_AUTH_CONFIG", json.dumps({"auths": {"a.example": auth("variable:x")}}))
    assert await AuthFile("a.example").login("x") == Login("variable", "x")
    assert await AuthFile("b.example").login("x") == Login("file", "y")
    assert await AuthFile("a.example", [file]).login("x") == Login("file", "x")
    monkeypatch.setenv("REGISTRY_AUTH_FILE", file)
    assert await AuthFile("a.example").login("x") == Login("file", "x")
    monkeypatch.delenv("REGISTRY_AUTH_FILE")
    monkeypatch.setenv("DOCKER_AUTH_CONFIG", "")
    assert await AuthFile("a.example").login("x") == Login("file", "x")
    monkeypatch.setenv("DOCKER_AUTH_CONFIG", "secret")
    with pytest.raises(AuthFileError, match="DOCKER_AUTH_CONFIG: is not JSON"):
        await AuthFile("a.example").login("x")


def test_where_they_lie() -> None:
    assert default_files({"REGISTRY_AUTH_FILE": "/x"}) == ["/x"]
    assert default_files({"HOME": "/h", "XDG_RUNTIME_DIR": "/run/user/1", "DOCKER_CONFIG": "/d"}) == [
        "/run/user/1/containers/auth.json",
        "/h/.config/containers/auth.json",
        "/d/config.json",
    ]


async def test_no_file_is_nobody(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await AuthFile("a").login("a") is None
    monkeypatch.setenv("REGISTRY_AUTH_FILE", "")
    assert await AuthFile("a").login("a") is None
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(home / "named"))
    with pytest.raises(AuthFileError):
        await AuthFile("a").login("a")
