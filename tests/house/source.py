"""The project's own source, parsed: modules, what they import and when."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Module:
    """`name` is dotted, `lading.api.app`; a package has the name of its folder."""

    name: str
    path: Path
    tree: ast.Module
    lines: int

    @functools.cached_property
    def nodes(self) -> list[ast.AST]:
        return list(ast.walk(self.tree))

    @functools.cached_property
    def functions(self) -> list[Function]:
        return [node for node in self.nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]

    @property
    def classes(self) -> Iterator[ast.ClassDef]:
        return (node for node in self.nodes if isinstance(node, ast.ClassDef))

    @property
    def place(self) -> str:
        return str(self.path.relative_to(ROOT))

    def imports(self, *, typing_only: bool = True) -> set[str]:
        """Modules of ours and of others, by full name; names out of a module count as `module.name`."""
        nodes = self.nodes if typing_only else ast.walk(_without_type_checking(self.tree))
        return {name for node in nodes for name in _imported(node)}


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, "relative import"
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return []


class _Runtime(ast.NodeTransformer):
    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return node.orelse
        return self.generic_visit(node)


def _without_type_checking(tree: ast.Module) -> ast.AST:
    return _Runtime().visit(ast.parse(ast.unparse(tree)))


@functools.cache
def modules(folder: str) -> list[Module]:
    """All below `src/lading` or `tests`."""
    base = ROOT / "src" if folder == "src/lading" else ROOT
    found = []
    for path in sorted((ROOT / folder).rglob("*.py")):
        parts = path.relative_to(base).with_suffix("").parts
        text = path.read_text()
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found.append(Module(name, path, ast.parse(text), len(text.splitlines())))
    return found
