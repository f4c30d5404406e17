from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.wire.fuzzing import thorough

from lading.config.models.values import resolved
from lading.config.problems import Place
from lading.config.wire import skeleton
from lading.config.yaml import MAX_ALIASED, MAX_DEPTH, MapNode, Scalar, YamlError, compose, locate


def values(text: str | bytes) -> object:
    node = compose(text, "f")
    return None if node is None else resolved(skeleton(node))


def refused(text: str | bytes) -> YamlError:
    with pytest.raises(YamlError) as caught:
        compose(text, "f")
    return caught.value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("# nothing\n", None),
        ("a: 1", {"a": 1}),
        ("a: '1'", {"a": "1"}),
        ('a: "yes"', {"a": "yes"}),
        ("a: |\n  1\n", {"a": "1\n"}),
        ("a: 2024-01-02", {"a": "2024-01-02"}),
        ("a: !!str 1", {"a": "1"}),
        ("a: !!int '1'", {"a": 1}),
        ("a: !!float 1", {"a": 1}),
        ("a: ! 1", {"a": "1"}),
        ("a: !custom 1", {"a": "1"}),
        ("- 1\n- ~\n- [x, {y: no}]", [1, None, ["x", {"y": False}]]),
        ("a: 1\na: 2", {"a": 2}),
        ("0: x\nyes: z", {"0": "x", "yes": "z"}),
        ("a: 1\n---\nb: 2", {"a": 1}),
        ("a: 1\n---\n]", {"a": 1}),
        ("a: &x {b: 1}\nc: *x", {"a": {"b": 1}, "c": {"b": 1}}),
        ("a: &x [1]\nc: [*x, *x]", {"a": [1], "c": [[1], [1]]}),
    ],
)
def test_documents(text, value):
    assert values(text) == value


def test_utf_16_is_recognised():
    assert values("a: é".encode("utf-16")) == {"a": "é"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{b: 2, <<: *x}", {"a": 1, "b": 2}),
        ("{<<: *x, b: 2}", {"a": 1, "b": 2}),
        ("{<<: [{b: 7}, *x]}", {"a": 1, "b": 7}),
        ("{'<<': 1}", {"<<": 1}),
    ],
)
def test_merge_keys(text, value):
    assert values(f"x: &x {{a: 1, b: 1}}\ny: {text}")["y"] == value


def test_a_merge_of_something_else():
    assert refused("a: {<<: 5}").what == "map merge requires map or sequence of maps as the value"


def test_the_text_is_kept():
    root = compose("a: 0123\nb: yes\nc: 0.10\nd: '0x1'", "f")
    assert isinstance(root, MapNode)
    scalars = [node for node in root.entries.values() if isinstance(node, Scalar)]
    assert [scalar.text for scalar in scalars] == ["0123", "yes", "0.10", "0x1"]
    assert [scalar.value for scalar in scalars] == [83, True, 0.1, "0x1"]


def test_aliases_are_copies():
    root = compose("a: &x {b: 1}\nc: *x", "f")
    assert isinstance(root, MapNode)
    assert root.entries["a"] is not root.entries["c"]


def test_places():
    root = compose("a:\n  b:\n    - 1\n    - c:\n        x\n", "f")
    assert root is not None
    assert locate(root, ["a", "b"]) == Place("f", 2, 3)
    assert locate(root, ["a", "b", 0]) == Place("f", 3, 7)
    assert locate(root, ["a", "b", 1, "c"]) == Place("f", 4, 7)
    assert locate(root, ["a", "b", 1, "missing", "deeper"]) == Place("f", 4, 7)
    assert locate(root, ["a", "b", 7]) == Place("f", 2, 3)
    assert [str(Place("f", *at)) for at in [(), (2,), (2, 3)]] == ["f", "f:2", "f:2:3"]


def test_places_without_lines():
    root = compose("a: {b: 1}", "REGISTRY_X", lines=False)
    assert root is not None
    assert str(locate(root, ["a", "b"])) == "REGISTRY_X"


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("a: [\n  x", 3, "not valid YAML"),
        ("a: 1\n b: 2", 2, "not valid YAML"),
        ("a: 1\nb: *secret", 2, "an alias (*) to an anchor (&) that is not defined before it"),
        ("a: &x [*x]", 1, "an alias (*) to an anchor (&) that is not defined before it"),
        ("a: 1\n? [b]\n: c", 2, "a key must be a single value"),
        ("a: !!int abc", 1, "the tag !!int does not fit its value"),
        ("a: !!int true", 1, "the tag !!int does not fit its value"),
        ("a: \x00", 0, "not valid YAML"),
        (b"\xff\xff\xff", 0, "not valid YAML"),
        ("\ud800", 0, "not valid YAML"),
    ],
)
def test_refused(text, line, what):
    error = refused(text)
    assert error.place[:2] == ("f", line)
    assert error.what.startswith(what)
    assert "secret" not in error.what


def test_depth_is_bounded():
    assert values("- " * MAX_DEPTH + "x") is not None
    assert refused("- " * (MAX_DEPTH + 1) + "x").what == f"nested more than {MAX_DEPTH} levels deep"


def test_aliases_do_not_explode():
    laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    laughs += "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10))
    assert refused(laughs).what == "document contains excessive aliasing"
    assert MAX_ALIASED < 10**6


def test_aliases_do_not_nest_deeper_than_is_allowed():
    deep = "a: &a " + "[" * 60 + "]" * 60 + "\nb: " + "[" * 60 + "*a" + "]" * 60
    assert refused(deep).what == "document contains excessive aliasing"


@thorough(60)
@given(st.text() | st.text(alphabet="a0:-[]{},&*!|>'\"<\n ~#?", max_size=60) | st.binary())
def test_arbitrary_input(text):
    root = None
    with contextlib.suppress(YamlError):
        root = compose(text, "f")
    assert root is None or root.place.source == "f"
