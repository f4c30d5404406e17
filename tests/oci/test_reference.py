"""References: the known answers of the grammar that all clients share, and laws that hold for every one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lading.oci.digest import Digest
from lading.oci.names import Tag
from lading.oci.reference import ImageReference, InvalidReferenceError, parse_any

F64, F128 = "f" * 64, "f" * 128
HEX = "dbcc1c35ac38df41fd2f5e4130b32ffdb93ebae8b3dbe638c23575912276fc9c"
LONG = "a/" * 128 + "a"  # the domain does not count


@pytest.mark.parametrize(
    ("text", "domain", "name", "tag", "digest"),
    [
        ("test_com", "", "test_com", "", ""),
        ("test.com:tag", "", "test.com", "tag", ""),
        ("test.com:5000", "", "test.com", "5000", ""),
        ("test.com/repo:tag", "test.com", "test.com/repo", "tag", ""),
        ("test:5000/repo", "test:5000", "test:5000/repo", "", ""),
        ("test:5000/repo:tag", "test:5000", "test:5000/repo", "tag", ""),
        (f"test:5000/repo@sha256:{F64}", "test:5000", "test:5000/repo", "", f"sha256:{F64}"),
        (f"test:5000/repo:tag@sha256:{F64}", "test:5000", "test:5000/repo", "tag", f"sha256:{F64}"),
        ("lowercase:Uppercase", "", "lowercase", "Uppercase", ""),
        (f"{LONG}:tag-puts-this-over-max", "a", LONG, "tag-puts-this-over-max", ""),
        ("sub-dom1.foo.com/bar/baz/quux", "sub-dom1.foo.com", "sub-dom1.foo.com/bar/baz/quux", "", ""),
        ("b.gcr.io/test.example.com/my-app:a.b", "b.gcr.io", "b.gcr.io/test.example.com/my-app", "a.b", ""),
        ("xn--n3h.com/myimage:xn--n3h.com", "xn--n3h.com", "xn--n3h.com/myimage", "xn--n3h.com", ""),
        (f"xn--7o8h.com/i:t@sha512:{F128}", "xn--7o8h.com", "xn--7o8h.com/i", "t", f"sha512:{F128}"),
        ("foo_bar.com:8080", "", "foo_bar.com", "8080", ""),
        ("foo/foo_bar.com:8080", "foo", "foo/foo_bar.com", "8080", ""),
        ("test_com/foo", "", "test_com/foo", "", ""),
        ("192.168.1.1", "", "192.168.1.1", "", ""),
        ("192.168.1.1:tag", "", "192.168.1.1", "tag", ""),
        ("192.168.1.1/repo", "192.168.1.1", "192.168.1.1/repo", "", ""),
        ("192.168.1.1:5000/repo:5050", "192.168.1.1:5000", "192.168.1.1:5000/repo", "5050", ""),
        ("[2001:db8::1]/repo", "[2001:db8::1]", "[2001:db8::1]/repo", "", ""),
        ("[2001:db8:1:2:3:4:5:6]/repo:tag", "[2001:db8:1:2:3:4:5:6]", "[2001:db8:1:2:3:4:5:6]/repo", "tag", ""),
        ("[2001:db8::1]:5000/r:t", "[2001:db8::1]:5000", "[2001:db8::1]:5000/r", "t", ""),
        (f"[::1]:5000/r:t@sha256:{F64}", "[::1]:5000", "[::1]:5000/r", "t", f"sha256:{F64}"),
        ("Uppercase/lowercase:tag", "Uppercase", "Uppercase/lowercase", "tag", ""),
    ],
)
def test_parse(text: str, domain: str, name: str, tag: str, digest: str) -> None:
    found = ImageReference.parse(text)
    assert (found.domain, found.name, found.tag or "", found.digest or "") == (domain, name, tag, digest)
    assert str(found) == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "at least one component"),
        (":justtag", "invalid reference format"),
        (f"@sha256:{F64}", "invalid reference format"),
        (f"repo@sha256:{'f' * 34}", "length"),
        (f"validname@invaliddigest:{F128}", "unsupported"),
        ("Uppercase:tag", "lowercase"),
        ("test:5000/Uppercase/lowercase:tag", "lowercase"),
        ("a/" * 129 + "a:tag", "more than 255"),
        ("aa/asdf$$^/aa", "invalid reference format"),
        ("[2001:db8::1]", "invalid reference format"),
        ("[2001:db8::1]:5000", "invalid reference format"),
        ("[fe80::1%eth0]:5000/repo", "invalid reference format"),
        ("[fe80::1%@invalidzone]:5000/repo", "invalid reference format"),
        ("a:" + "t" * 129, "invalid reference format"),
        ("a\n", "invalid reference format"),
        ("a" * 5000, "invalid reference format"),
    ],
)
def test_what_is_no_reference(text: str, reason: str) -> None:
    with pytest.raises(InvalidReferenceError, match=reason):
        ImageReference.parse(text)


@pytest.mark.parametrize(
    ("texts", "domain", "path", "familiar"),
    [
        (["fooo/bar", "docker.io/fooo/bar", "index.docker.io/fooo/bar"], "docker.io", "fooo/bar", "fooo/bar"),
        (["ubuntu", "library/ubuntu", "docker.io/ubuntu"], "docker.io", "library/ubuntu", "ubuntu"),
        (["index.docker.io/ubuntu", "docker.io/library/ubuntu"], "docker.io", "library/ubuntu", "ubuntu"),
        (["other/library"], "docker.io", "other/library", "other/library"),
        (["library/foo/bar"], "docker.io", "library/foo/bar", "library/foo/bar"),
        (["127.0.0.1:8000/private"], "127.0.0.1:8000", "private", "127.0.0.1:8000/private"),
        (["example.com/private/moonbase"], "example.com", "private/moonbase", "example.com/private/moonbase"),
        (["Foo/bar"], "Foo", "bar", "Foo/bar"),
        (["FOO/bar"], "FOO", "bar", "FOO/bar"),
        (["docker.io/a.b/c"], "docker.io", "a.b/c", "docker.io/a.b/c"),
        (["localhost/a"], "localhost", "a", "localhost/a"),
        (["test_com/foo"], "docker.io", "test_com/foo", "test_com/foo"),
        (["test-com:8080/foo"], "test-com:8080", "foo", "test-com:8080/foo"),
        (["docker/migrator"], "docker.io", "docker/migrator", "docker/migrator"),
        (["[fc00::1]:5000/docker"], "[fc00::1]:5000", "docker", "[fc00::1]:5000/docker"),
        ([f"docker.io/{HEX}"], "docker.io", f"library/{HEX}", f"library/{HEX}"),
    ],
)
def test_normalize(texts: list[str], domain: str, path: str, familiar: str) -> None:
    for text in texts:
        found = ImageReference.normalize(text)
        assert (found.domain, found.path, found.familiar_name) == (domain, path, familiar)


@pytest.mark.parametrize(
    "text",
    [
        *("https://github.com/docker/docker", "docker/Docker", "-docker", "-docker/docker", "-docker.io/a/b"),
        *(
            "docker///docker",
            "docker.io/docker/Docker",
            "docker.io/docker///docker",
            "[fc00::1]",
            "[fc00::1]:5000",
        ),
        *("fc00::1:5000/debian", "[fe80::1%eth0]:5000/debian", "[2001:db8:3:4::192.0.2.33]:5000/debian", HEX),
        *(
            "docker-/docker",
            "-docker-/docker",
            "____/____",
            "_docker/_docker",
            "dock..er/docker",
            "dock_.er/docker",
        ),
        *("dock-.er/docker", "docker/", "x" * 256 + "/docker", "", "/", "a@b", "a:", "docker.io/"),
    ],
)
def test_what_cannot_be_normalized(text: str) -> None:
    with pytest.raises(InvalidReferenceError):
        ImageReference.normalize(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("redis", "docker.io/library/redis"),
        ("redis:latest", "docker.io/library/redis:latest"),
        (f"redis@sha256:{HEX}", f"docker.io/library/redis@sha256:{HEX}"),
        ("dmcgowan/myapp:latest", "docker.io/dmcgowan/myapp:latest"),
        (HEX, f"sha256:{HEX}"),
        (f"sha256:{HEX}", f"sha256:{HEX}"),
        (HEX[:-1], f"docker.io/library/{HEX[:-1]}"),
        ("dbcc1", "docker.io/library/dbcc1"),
    ],
)
def test_parse_any(text: str, expected: str) -> None:
    assert str(parse_any(text)) == expected


def test_what_is_asked_for() -> None:
    plain = ImageReference.normalize("redis")
    assert plain.target == "latest"
    assert plain.with_default_tag().familiar == "redis:latest"
    both = plain.with_tag("6").with_digest(f"sha256:{HEX}")
    assert both.familiar == f"redis:6@sha256:{HEX}"
    assert both.target == f"sha256:{HEX}"
    assert both.with_default_tag() == both
    assert both.without_target() == plain
    for wrong in ("-foo", "", "a:b"):
        with pytest.raises(InvalidReferenceError):
            plain.with_tag(wrong)
    with pytest.raises(InvalidReferenceError):
        plain.with_digest("foo")


COMPONENTS = st.sampled_from(["a", "library", "redis", "a.b", "a__b", "a-----b", "0", HEX])
DOMAINS = st.sampled_from(
    ["", "docker.io", "index.docker.io", "localhost", "[::1]:5000", "[::1]", "Foo", "foo", "a-b.c:1", "1.2.3.4"]
)
PATHS = st.lists(COMPONENTS, min_size=1, max_size=3).map("/".join)
TAGS = st.sampled_from(["", "latest", "_", "A.b-c_", "5000", "t" * 128])
REFERENCES = st.builds(
    lambda domain, path, tag, data: ImageReference(
        domain, path, Tag(tag) if tag else None, Digest.of(data) if data else None
    ),
    DOMAINS,
    PATHS,
    TAGS,
    st.binary(max_size=2),
)


@given(REFERENCES)
def test_what_is_written_is_read(reference: ImageReference) -> None:
    assert str(ImageReference.parse(str(reference))) == str(reference)


@given(REFERENCES)
def test_the_familiar_form_stands_for_the_same(reference: ImageReference) -> None:
    try:
        normal = ImageReference.normalize(str(reference))
    except InvalidReferenceError:
        return  # such as a domain that looks like a namespace, and makes the path too long
    assert ImageReference.normalize(str(normal)) == normal
    assert ImageReference.normalize(normal.familiar).name == normal.name


@given(st.text(max_size=60))
def test_any_text_is_a_reference_or_refused(text: str) -> None:
    for parse in (ImageReference.parse, ImageReference.normalize):
        try:
            found = parse(text)
        except InvalidReferenceError:
            continue
        assert ImageReference.parse(str(found)) == found


@pytest.mark.timeout(20)
@pytest.mark.parametrize("piece", ["a", "a-", "a.", "-", "a/", "a:", "[", "A.", "a_"])
def test_no_text_takes_long(piece: str) -> None:
    for end in ("", "!", "@", "/"):
        with pytest.raises(InvalidReferenceError):
            ImageReference.parse(piece * (2040 // len(piece)) + end + "$")
