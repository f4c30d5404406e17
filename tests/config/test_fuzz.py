"""Whatever a file or the environment holds comes to lines, never to a traceback."""

from __future__ import annotations

import itertools
from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st
from tests.config.reading import attempt, refusals
from tests.wire.fuzzing import thorough

from lading.config.kinds import Kind, ListOf, MapOf, Struct
from lading.config.load import Loaded
from lading.config.problems import ConfigurationError
from lading.config.schema import ROOT
from lading.config.show import as_json, as_yaml, shown

_PLAIN: list[Any] = [None, True, False, 0, -1, 7, 2**63, 2**64, 1.5, float("inf"), float("nan")]
_WORDS = r"""
    x true 5s -1ns 1e9h tcp unix :5000 [::1]:0 http://[ https://a@b/?c debug all list tls1.3 ~ @ *a &a [ { << ( 𝒳
    [[:alpha:]] (?P<a a{99999} redis mail
"""
VALUES = st.sampled_from([*_PLAIN, "", "\x00", "\x1b[31m", *_WORDS.split()]) | st.text(max_size=8)

ANYTHING = st.recursive(
    VALUES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.just("<<"), inner, max_size=3)
    ),
    max_leaves=6,
)


def of(kind: Kind, depth: int = 0) -> st.SearchStrategy[Any]:
    """Documents that look as the schema wants, more often than not."""
    match kind:
        case Struct() | MapOf() if depth < 6:
            known = kind.fields if isinstance(kind, Struct) else kind.fixed
            below = {key: of(child, depth + 1) for key, child in known.items()}
            if isinstance(kind, MapOf):
                below["other"] = of(kind.item, depth + 1)
            some = st.lists(st.sampled_from(sorted(below)), max_size=4, unique=True)
            return some.flatmap(lambda keys: st.fixed_dictionaries({key: below[key] for key in keys})) | ANYTHING
        case ListOf():
            return st.lists(of(kind.item, depth + 1), max_size=3) | ANYTHING
    return VALUES | ANYTHING


def segments(kind: Kind, depth: int = 0) -> set[str]:
    match kind:
        case Struct() if depth < 6:
            return set(kind.segments).union(*(segments(below, depth + 1) for below in kind.fields.values()))
        case MapOf() if depth < 6:
            names = {part for key in kind.fixed for part in key.upper().split("_")}
            return names.union(*(segments(below, depth + 1) for below in (kind.item, *kind.fixed.values())))
        case ListOf():
            return {"0", "1", "2", "10"} | segments(kind.item, depth + 1)
    return {"X", "FILE"}


DOCUMENTS = of(ROOT).map(
    lambda made: {"version": "0.1", "storage": "inmemory", **made} if isinstance(made, dict) else made
)
NAMES = st.lists(st.sampled_from(["", "x", *sorted(segments(ROOT))]), min_size=1, max_size=6).map("_".join)
TEXTS = (
    VALUES.map(str)
    | ANYTHING.map(lambda value: yaml.safe_dump(value, default_flow_style=True))
    | st.text(st.characters(exclude_characters="\x00"), max_size=10)
    | st.just("\udcff")
    | st.just("/dev/null")
)
VARIABLES = st.dictionaries(NAMES.map("REGISTRY_{}".format), TEXTS, max_size=6)


_WRITTEN: set[str] = set()
"""What both forms of a configuration were made of, and of nothing else: most variables change nothing of it."""


def lines_of(result: Loaded | ConfigurationError) -> list[str]:
    """Everything that can be said of it, by every command there is."""
    if isinstance(result, ConfigurationError):
        assert result.problems
        return [*result.problems, *result.warnings, *str(result).splitlines()]
    if (made_of := repr(shown(result))) not in _WRITTEN:
        assert as_yaml(result).encode("utf-8")
        assert as_json(result).encode("utf-8")
        _WRITTEN.add(made_of)
    return [*result.warnings, *refusals(result)]


def check(lines: list[str]) -> None:
    assert all(line.isprintable() and line for line in lines), lines


@thorough(60)
@given(DOCUMENTS)
def test_documents_by_the_schema(document):
    check(lines_of(attempt(yaml.safe_dump(document, allow_unicode=True))))


@thorough(60)
@given(VARIABLES)
def test_variables_by_the_schema(variables):
    text = "version: 0.1\nstorage: {filesystem: {rootdirectory: /x}}\nhttp: {headers: {A: [b]}}"
    check(lines_of(attempt(text, variables)))


@thorough(40)
@given(DOCUMENTS, VARIABLES)
def test_both_at_once(document, variables):
    check(lines_of(attempt(yaml.safe_dump(document), variables)))


@thorough(60)
@given(ANYTHING.map(yaml.safe_dump) | st.text() | st.binary())
def test_anything(text):
    check(lines_of(attempt(text)))


@thorough(40)
@given(st.lists(st.sampled_from(list("a0:-[]{},&*!|>'\"<\n ~#?%@`\t")), max_size=60).map("".join))
def test_signs_of_yaml(text):
    check(lines_of(attempt(f"version: 0.1\nstorage: inmemory\n{text}")))


def test_every_segment_alone_and_in_pairs():
    known = sorted(segments(ROOT))
    for first, second in itertools.product(sorted(ROOT.segments), [None, *known]):
        name = "_".join(filter(None, ["REGISTRY", first, second]))
        check(lines_of(attempt("version: 0.1\nstorage: inmemory", {name: "x"})))
