"""The documentation site: it is built without a complaint, and leads to every page."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.docs.test_docs import DOCS, ROOT

CONFIGURATION = yaml.safe_load((ROOT / "mkdocs.yml").read_text())


def pages(node: Any) -> Iterator[str]:
    """The files that a part of the navigation names."""
    if isinstance(node, str):
        yield node
    for inner in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from pages(inner)


class Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.anchors: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        if tag == "a" and named.get("href"):
            self.targets.append(str(named["href"]))
        if named.get("id"):
            self.anchors.add(str(named["id"]))


def test_every_page_is_in_the_navigation() -> None:
    assert sorted(pages(CONFIGURATION["nav"])) == sorted(
        str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")
    )


@pytest.mark.slow
def test_site(tmp_path: Path) -> None:
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    shutil.copytree(DOCS, tmp_path / "docs")
    builder = Path(sys.executable).with_name("zensical")
    done = subprocess.run(
        [builder, "build", "--strict"], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    parsed: dict[Path, Links] = {}
    for page in (tmp_path / "site").rglob("*.html"):
        parsed[page] = Links()
        parsed[page].feed(page.read_text())
    assert len(parsed) > len(list(DOCS.rglob("*.md"))) - 1
    wrong = [
        f"{page.name}: {target}"
        for page, links in parsed.items()
        for target in links.targets
        if page.name != "404.html" and not _leads_somewhere(page, target, parsed, tmp_path)
    ]
    assert wrong == []


def _leads_somewhere(page: Path, target: str, parsed: dict[Path, Links], root: Path) -> bool:
    if "://" in target or target.startswith("mailto:"):
        return True
    path, _, anchor = target.partition("#")
    found = (page.parent / path).resolve() if path else page
    if not found.is_relative_to(root / "site"):  # a file of the repository beside the pages
        return (ROOT / found.relative_to(root)).exists()
    return found.is_dir() or (found.exists() and (not anchor or anchor in parsed[found].anchors))
