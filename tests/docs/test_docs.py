"""The pages are true to the repository: what they name is there, and what they show works."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from lading.config.load import parse
from lading.config.supported import unsupported
from lading.registry import layout

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
DECISIONS = sorted(DOCS.glob("decisions/*.md"))
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted(DOCS.glob("**/*.md")),
]

HEADINGS = ["Context", "Options", "Decision", "Consequences"]

_FENCE = re.compile(r"(?ms)^( *)```(\w*)\n(.*?)^ *```$")
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def text_of(page: Path) -> str:
    return page.read_text("utf-8")


def blocks(page: Path, language: str) -> list[str]:
    """The code blocks of a page in one language."""
    return [body for _, name, body in _FENCE.findall(text_of(page)) if name == language]


def prose(page: Path) -> str:
    return _FENCE.sub("", text_of(page))


def anchors(page: Path) -> set[str]:
    """What headings are called in links."""
    titles = re.findall(r"(?m)^#+ (.+)$", prose(page))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def links() -> Iterator[tuple[Path, str]]:
    for page in PAGES:
        for target in _LINK.findall(prose(page)):
            if "://" not in target:
                yield page, target


def yaml_blocks() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for number, block in enumerate(blocks(page, "yaml"), 1):
            yield f"{relative(page)}, block {number}", block


@pytest.mark.parametrize(("page", "target"), list(links()), ids=lambda value: str(value).removeprefix(f"{ROOT}/"))
def test_link_leads_somewhere(page: Path, target: str) -> None:
    path, _, anchor = target.partition("#")
    found = (page.parent / path).resolve() if path else page
    assert found.exists()
    assert not anchor or anchor in anchors(found)


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "CONTRIBUTING.md"], ids=relative)
def test_make_commands_are_targets(page: Path) -> None:
    targets = set(re.findall(r"(?m)^([a-z][a-z-]*):", text_of(ROOT / "Makefile")))
    commands = re.findall(r"(?:^\$ |`)make ([a-z-]+)", text_of(page), re.MULTILINE)
    assert commands
    assert set(commands) <= targets


def test_layout_is_drawn_as_in_the_code() -> None:
    [drawn] = [block for block in blocks(DOCS / "storage.md", "text") if block.startswith("/docker")]
    documented = layout.__doc__ or ""
    tree = re.findall(r"(?m)^    (.+)$", documented)
    assert drawn.splitlines() == tree


def test_architecture_names_what_is_there() -> None:
    page = DOCS / "architecture.md"
    package = ROOT / "src/lading"
    named = re.findall(r"(?m)^[├└]── (\S+)", blocks(page, "text")[0])
    named += re.findall(r"`((?:\w+/)*\w+\.py)`", prose(page))
    named += re.findall(r"\w+\.py", blocks(page, "text")[0])
    assert named
    everything = [path.relative_to(package).as_posix() for path in package.rglob("*")]
    for name in named:
        path = name.rstrip("/")
        assert any(f"/{each}".endswith(f"/{path}") for each in everything), name


def test_paths_named_in_pages_are_there() -> None:
    """Such as `tests/house`, `docs/decisions` or `src/lading/build.py`."""
    for page in PAGES:
        for name in re.findall(r"`((?:src|tests|docs)/[\w./-]+)`", prose(page)):
            assert (ROOT / name).exists(), f"{relative(page)}: {name}"


@pytest.mark.parametrize("record", DECISIONS, ids=relative)
def test_decision_record_has_its_headings(record: Path) -> None:
    text = prose(record)
    assert re.fullmatch(r"\d{4}-[a-z0-9-]+\.md", record.name)
    assert text.startswith(f"# {record.name[:4]}: ")
    assert re.findall(r"(?m)^## (.+)$", text) == HEADINGS


def test_decision_records_are_numbered_without_gaps() -> None:
    assert [int(record.name[:4]) for record in DECISIONS] == list(range(1, len(DECISIONS) + 1))


@pytest.mark.parametrize(
    ("where", "text"), list(yaml_blocks()), ids=lambda value: value if "block" in value else ""
)
def test_yaml_is_a_configuration_that_starts(where: str, text: str) -> None:
    loaded = parse(text, where, {})
    assert loaded.warnings == []
    assert list(unsupported(loaded.configuration)) == []


def test_default_is_shown_as_it_is_built_in() -> None:
    built_in = text_of(ROOT / "src/lading/config/default.yml")
    without_comments = "".join(line for line in built_in.splitlines(True) if not line.startswith("#"))
    assert without_comments in blocks(DOCS / "configuration.md", "yaml")
