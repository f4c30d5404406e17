"""A model of a disk that keeps, over a power cut, exactly what was synced: POSIX's promise and nothing more.

The bytes of a file are kept as they were when the file was last synced; the entries of a directory as they were
when that directory was last synced. Real file systems mostly keep more, which one must not rely on.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class File:
    data: bytes = b""
    kept: bytes = b""

    def sync(self) -> None:
        self.kept = self.data


@dataclass
class Directory:
    entries: dict[str, File | Directory] = field(default_factory=dict)
    kept: dict[str, File | Directory] = field(default_factory=dict)

    def sync(self) -> None:
        self.kept = dict(self.entries)


@dataclass
class _Opened:
    node: File | Directory
    offset: int = 0


class Disk:
    """Changes below `root` are applied one by one, as `crashing.Trace` has written them down."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._top = Directory()
        self._opened: dict[int, _Opened] = {}

    def apply(self, name: str, arguments: list[Any], result: Any) -> None:
        decoded = [base64.b64decode(value["bytes"]) if isinstance(value, dict) else value for value in arguments]
        getattr(self, f"_{name}")(decoded, result)

    def after_power_cut(self, target: Path) -> None:
        """Make a real directory of what is left."""
        target.mkdir(parents=True)
        _write(self._top, target)

    def _open(self, arguments: list[Any], result: int) -> None:
        path = arguments[0]
        self._opened.pop(result, None)
        if not isinstance(path, str) or not path.startswith(self._root):
            return
        parent, name = self._parent(path)
        if not name:
            self._opened[result] = _Opened(self._top)
        else:
            self._opened[result] = _Opened(parent.entries.setdefault(name, File()))

    def _close(self, arguments: list[Any], _: Any) -> None:
        self._opened.pop(arguments[0], None)

    def _lseek(self, arguments: list[Any], result: int) -> None:
        if arguments[0] in self._opened:
            self._opened[arguments[0]].offset = result

    def _write(self, arguments: list[Any], result: int) -> None:
        opened = self._opened.get(arguments[0])
        if opened is None or not isinstance(opened.node, File):
            return
        data, at = opened.node.data, opened.offset
        opened.node.data = data[:at].ljust(at, b"\0") + arguments[1][:result] + data[at + result :]
        opened.offset += result

    _writev = _write

    def _ftruncate(self, arguments: list[Any], _: Any) -> None:
        opened = self._opened.get(arguments[0])
        if opened is not None and isinstance(opened.node, File):
            opened.node.data = opened.node.data[: arguments[1]]

    def _fsync(self, arguments: list[Any], _: Any) -> None:
        if arguments[0] in self._opened:
            self._opened[arguments[0]].node.sync()

    def _replace(self, arguments: list[Any], _: Any) -> None:
        source, name = self._parent(arguments[0])
        target, new = self._parent(arguments[1])
        target.entries[new] = source.entries.pop(name)

    def _unlink(self, arguments: list[Any], _: Any) -> None:
        parent, name = self._parent(arguments[0])
        del parent.entries[name]

    _rmdir = _unlink

    def _mkdir(self, arguments: list[Any], _: Any) -> None:
        parent, name = self._parent(arguments[0])
        parent.entries[name] = Directory()

    def _parent(self, path: str) -> tuple[Directory, str]:
        assert path.startswith(self._root), path
        *parents, name = path.removeprefix(self._root).strip("/").split("/")
        directory = self._top
        for part in parents:
            inner = directory.entries[part]
            assert isinstance(inner, Directory), path
            directory = inner
        return directory, name


def _write(directory: Directory, target: Path) -> None:
    for name, node in directory.kept.items():
        if isinstance(node, Directory):
            (target / name).mkdir()
            _write(node, target / name)
        else:
            (target / name).write_bytes(node.kept)
