from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lading.oci import errors
from lading.oci.digest import Digest
from lading.oci.errors import Code, RegistryError
from lading.oci.names import (
    MAX_NAME_LENGTH,
    RepositoryName,
    Tag,
    has_name_shape,
    is_tag,
    parse_digest,
    parse_reference,
)

LOWER = "abcxyz0189"
LETTERS = "abxyABXY019"

# The grammar of the specification, put together rather than matched.
words = st.text(LOWER, min_size=1, max_size=5)
separators = st.sampled_from([".", "_", "__", "-", "--", "-----"])


def joined(parts: st.SearchStrategy[str], between: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    more = st.lists(st.tuples(between, parts), max_size=3)
    return st.tuples(parts, more).map(lambda it: it[0] + "".join(a + b for a, b in it[1]))


components = joined(words, separators)
names = joined(components, st.just("/"))
labels = st.tuples(
    st.text(LETTERS, min_size=1, max_size=2), st.sampled_from(["", "-", "--"]), st.text(LETTERS, max_size=2)
).map(lambda it: "".join(it) if it[2] else it[0])
domains = joined(labels, st.just("."))
tags = st.tuples(st.sampled_from("abzABZ09_"), st.text("abzABZ09_.-", max_size=127)).map("".join)


def code_of(parse: Callable[[str], object], text: str) -> Code:
    with pytest.raises(RegistryError) as caught:
        parse(text)
    assert len(caught.value.entries) == 1
    return caught.value.entries[0].code


@given(names)
def test_every_name_of_the_specification(text: str) -> None:
    assert RepositoryName.parse(text) == text
    assert has_name_shape(text)


@given(domains, names)
def test_a_name_may_start_with_a_domain(domain: str, text: str) -> None:
    assert RepositoryName.parse(f"{domain}/{text}") == f"{domain}/{text}"


@given(domains, names, st.integers(0, 99999))
def test_a_port_is_routed_but_cannot_be_stored(domain: str, text: str, port: int) -> None:
    assert has_name_shape(f"{domain}:{port}/{text}")
    assert code_of(RepositoryName.parse, f"{domain}:{port}/{text}") is errors.NAME_INVALID


@pytest.mark.parametrize(
    "text",
    [
        "a",
        "library/busybox",
        "a/b/c/d/e",
        "foo--bar",
        "foo__bar",
        "foo.bar/baz",
        "Foo/bar",
        "Registry.Example/app",
        "1.2.3.4/app",
        "a-b.C-D/e",
        "a" * MAX_NAME_LENGTH,
    ],
)
def test_names(text: str) -> None:
    assert RepositoryName.parse(text) == text
    assert has_name_shape(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "/a",
        "a/",
        "a//b",
        "A",
        "a/B",
        "Foo/Bar",
        "foo___bar",
        "foo..bar",
        "foo._bar",
        "foo_-bar",
        "-foo",
        "foo-",
        "foo/-bar",
        "_foo",
        "foo/_layers",
        "Foo-/bar",
        "Foo_Bar/baz",
        "foo:tag",
        "foo@sha256",
        "foo\n",
        "\nfoo",
        "foo bar",
        "caf\u00e9",
        "\u0661",
        "../etc",
        "a/../b",
        "a/./b",
        "%2e",
    ],
)
def test_what_is_no_name(text: str) -> None:
    assert code_of(RepositoryName.parse, text) is errors.NAME_INVALID
    assert not has_name_shape(text)


@pytest.mark.parametrize("text", ["localhost:5000/foo", "[::1]/foo", "[fe80::1]:5000/foo"])
def test_names_that_cannot_be_stored(text: str) -> None:
    assert has_name_shape(text)
    assert code_of(RepositoryName.parse, text) is errors.NAME_INVALID


def test_a_long_name_is_told_its_limit() -> None:
    text = "a" * (MAX_NAME_LENGTH + 1)
    assert has_name_shape(text)
    with pytest.raises(RegistryError) as caught:
        RepositoryName.parse(text)
    assert caught.value.status == 400
    assert "repository name must not be more than 255 characters" in caught.value.entries[0].detail


@pytest.mark.parametrize("text", ["a" * 255 + "!", "a-" * 127 + "!", "a.a" * 84 + "!", "A-" * 127 + "!"])
def test_no_text_takes_long_to_refuse(text: str) -> None:
    start = time.process_time()
    has_name_shape(text[-255:])
    assert time.process_time() - start < 0.1


@given(st.text(max_size=300))
def test_any_text_is_a_name_or_refused(text: str) -> None:
    if not has_name_shape(text):
        assert code_of(RepositoryName.parse, text) is errors.NAME_INVALID


@given(tags)
def test_every_tag_of_the_specification(text: str) -> None:
    assert Tag.parse(text) == text
    assert isinstance(parse_reference(text), Tag)


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("latest", True),
        ("_", True),
        ("1", True),
        ("V1.0-rc_1", True),
        ("a" * 128, True),
        ("a" * 129, False),
        ("", False),
        (".a", False),
        ("-a", False),
        ("a:b", False),
        ("a/b", False),
        ("a+b", False),
        ("a\n", False),
        ("\u00e9", False),
    ],
)
def test_tags(text: str, valid: bool) -> None:
    assert is_tag(text) is valid
    if not valid:
        assert code_of(Tag.parse, text) is errors.TAG_INVALID


@given(st.binary())
def test_a_reference_may_be_a_digest(content: bytes) -> None:
    digest = Digest.of(content)
    assert isinstance(parse_reference(digest), Digest)
    assert parse_reference(digest) == parse_digest(digest) == digest


@pytest.mark.parametrize("text", ["sha256:baddigeststring", "a:b", "latest:1", ":", "md5:" + "a" * 32])
def test_a_colon_makes_it_a_digest(text: str) -> None:
    """Defect 2 of the original: such a reference was taken for a tag, and stored."""
    assert code_of(parse_reference, text) is errors.DIGEST_INVALID
    assert code_of(parse_digest, text) is errors.DIGEST_INVALID
