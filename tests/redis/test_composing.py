"""What of the configuration of redis stops the start."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from lading.compose.check import check

START = "version: 0.1\nstorage: {inmemory: ~, cache: {blobdescriptor: redis}}\nhttp: {addr: ':1'}\n"


def problems(folder: Path, section: str) -> list[str]:
    file = folder / "c.yml"
    file.write_text(f"{START}{section}")
    return [line.removeprefix(f"{file}:") for line in check(str(file), {}).problems]


def test_what_can_be_served(tmp_path: Path) -> None:
    assert problems(tmp_path, "redis: {addrs: ['[::1]:6379', 'b:6379'], poolsize: 9, readonly: true}") == []


@pytest.mark.parametrize(
    ("section", "line"),
    [
        ("", "storage.cache.blobdescriptor: redis is not configured: redis.addrs is not set"),
        ("redis: {addrs: [a]}", "redis.addrs[0]: must be host:port"),
        ("redis: {addrs: ['a:1'], protocol: 4}", "redis.protocol: must be 2 or 3"),
        ("redis: {addrs: ['a:1'], db: -1}", "redis.db: must not be negative"),
        ("redis: {addrs: [/s], tls: {enabled: true}}", "redis.tls: is not for a unix socket"),
        ("redis: {addrs: ['a:1'], tls: {rootcas: [/none]}}", "redis.tls.rootcas[0]: /none: No such file"),
        (
            "redis: {addrs: ['a:1'], tls: {certificate: /c, key: /k}}",
            "redis.tls.certificate: /c, /k: No such file",
        ),
    ],
)
def test_what_cannot(section: str, line: str, tmp_path: Path) -> None:
    [found] = problems(tmp_path, section)
    assert line in found


def test_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    [found] = problems(tmp_path, "redis: {addrs: ['a:1']}")
    assert "storage.cache.blobdescriptor: redis needs an extra: pip install 'lading[redis]'" in found
