"""What registries say does not reach the terminal as it is: it could move the cursor, and show what is not so."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from tests.client.scripted import answer, scripted

from lading.cli import main
from lading.oci import building, media

EVIL = "\x1b[2Jgone\r\nand \x9b1m\u202e"
SHOWN = r"\x1b[2Jgone\r\nand \x9b1m\u202e"

pytestmark = pytest.mark.timeout(30)


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "auth.json").write_text("{}")
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "auth.json"))


async def printed(
    capsys: pytest.CaptureFixture[str], status: int, body: object, *words: str, **headers: str
) -> str:
    """All that a command prints on an answer; HOST stands for the registry in its words."""
    sent = answer(status, body, **headers)
    async with scripted(lambda *_: sent) as registry:
        arguments = [word.replace("HOST", registry.host) for word in words]
        await asyncio.to_thread(main, [*arguments, "--plain-http"])
    out, err = capsys.readouterr()
    return out + err


async def test_names_annotations_and_errors(capsys: pytest.CaptureFixture[str]) -> None:
    index = building.index([], annotations={EVIL: EVIL}, artifact_type=EVIL).data
    texts = [
        await printed(capsys, 200, {"repositories": [EVIL]}, "ls", "HOST"),
        await printed(capsys, 200, index, "inspect", "HOST/a", Content_Type=media.OCI_INDEX),
        await printed(capsys, 404, {"errors": [{"code": "X", "message": EVIL}]}, "inspect", "HOST/a"),
    ]
    assert texts[0] == SHOWN + "\n"
    assert f"  {SHOWN}: {SHOWN}\n" in texts[1]
    assert texts[2].count("\n") == 1
    assert r"404 \x1b[2Jgone and \x9b1m\u202e" in texts[2]
    for text in texts:
        assert text.replace("\n", "").isprintable()


async def test_json_is_what_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    text = await printed(capsys, 200, {"repositories": [EVIL]}, "ls", "HOST", "--json")
    assert json.loads(text) == {"repositories": [EVIL]}


async def test_what_is_logged(capsys: pytest.CaptureFixture[str]) -> None:
    challenge = 'Bearer realm="http://elsewhere.invalid/\u202e"'
    text = await printed(capsys, 401, "", "ls", "HOST/a", WWW_Authenticate=challenge)
    assert "lading ls: 127.0.0.1 names a token server on another domain" in text
    assert text.replace("\n", "").isprintable()
