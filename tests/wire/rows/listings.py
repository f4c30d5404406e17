"""The catalog and tag lists (reference, 1.6, 1.7)."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

from tests.wire.table import JSON, Row, Value, as_go, refusal
from tests.wire.world import APP, APP_TAGS, REPOSITORIES, TAGS


def rows() -> Iterator[Row]:
    yield from _catalog()
    yield from _tags()


def _page(target: str, document: object, link: str | None = None) -> Row:
    headers: dict[str, Value] = {"Content-Type": JSON}
    if link is not None:
        headers["Link"] = f'<$PREFIX{link}>; rel="next"'
    return Row("GET", target, 200, headers, as_go(document))


def _catalog() -> Iterator[Row]:
    def page(query: str, names: list[str], link: str | None = None) -> Row:
        return _page(f"/v2/_catalog{query}", {"repositories": names}, link and f"/v2/_catalog?{link}")

    yield page("", REPOSITORIES)
    for number, name in enumerate(REPOSITORIES):
        last = number == len(REPOSITORIES) - 1
        before = f"&last={quote(REPOSITORIES[number - 1], safe='')}" if number else ""
        yield page(f"?n=1{before}", [name], None if last else f"last={quote(name, safe='')}&n=1")
    yield page("?n=3", ["Mixed.Case/app", "a/1", "a"], "last=a&n=3")
    yield page("?n=3&last=a", ["a/b", "emptied", APP], "last=library%2Fapp&n=3")
    yield page("?last=signed&n=2&foo=bar", ["sorted", "test"], "last=test&n=2")
    yield page("?n=1000", REPOSITORIES)
    yield page(f"?n={len(REPOSITORIES)}", REPOSITORIES)
    yield page("?n=", REPOSITORIES)
    yield page("?n=0", [])
    yield page("?n=%2B2", REPOSITORIES[:2], "last=a%2F1&n=2")
    yield page("?n=2&n=3", REPOSITORIES[:2], "last=a%2F1&n=2")
    yield page("?last=test", ["untagged"])
    yield page("?last=untagged", [])
    yield page("?last=a/0", REPOSITORIES[1:])
    yield page("?last=a/5", REPOSITORIES[2:])
    yield page("?last=a/b/c", REPOSITORIES[4:])
    yield page("?last=no/such/thing", REPOSITORIES[6:])
    yield page("?last=zzz&n=5", [])
    yield page("?last=%00%2F..%2F..", REPOSITORIES)
    for query, detail in [
        ("n=-1", "-1"),
        ("n=abc", "abc"),
        ("n=1.5", "1.5"),
        ("n=+1", " 1"),
        ("n=1_0", "1_0"),
        ("n=%D9%A1", "١"),
        ("n=9223372036854775808", "9223372036854775808"),
        ("n=%3Cscript%3E", "<script>"),
        ("n=1001", 1001),
        ("n=9223372036854775807", 9223372036854775807),
    ]:
        yield refusal("GET", f"/v2/_catalog?{query}", 400, "PAGINATION_NUMBER_INVALID", {"n": detail})


def _tags() -> Iterator[Row]:
    def page(name: str, query: str, tags: list[str], link: str | None = None) -> Row:
        path = f"/v2/{name}/tags/list"
        return _page(f"{path}{query}", {"name": name, "tags": tags}, link and f"{path}?{link}")

    # The test vectors of 1.7.
    yield page("test", "?n=2", TAGS[:2], "last=asj9e&n=2")
    yield page("test", "?last=jyi7b&n=3", TAGS[3:])
    yield page("test", "?last=sb71y&n=1", [])
    yield page("test", "?n=100", TAGS)
    yield page("test", "?last=does-not-exist&n=3", TAGS[2:], "last=sb71y&n=3")

    yield page("test", "", TAGS)
    yield page("test", "?n=", TAGS)
    yield page("test", "?last=kb0j5", TAGS[4:])
    yield page("test", "?n=5", TAGS, "last=sb71y&n=5")
    yield page("test", "?n=5&last=sb71y", [])
    yield page("test", "?n=1&last=%C3%BC", [])
    yield page("test", "?n=5000", TAGS)
    yield page("test", "?n=%2B1&foo=bar", TAGS[:1], "last=2j2ar&n=1")
    yield page("test", "?n=%zz", TAGS)
    yield page("sorted", "", ["1.0", "1.0-rc1", "1.0.1", "B", "_a", "a"])
    yield page("sorted", "?n=2", ["1.0", "1.0-rc1"], "last=1.0-rc1&n=2")
    yield page("sorted", "?n=2&last=1.0-rc1", ["1.0.1", "B"], "last=B&n=2")
    yield page("sorted", "?n=1&last=B", ["_a"], "last=_a&n=1")
    yield page(APP, "", APP_TAGS)
    yield page("untagged", "", [])
    yield page("untagged", "?n=3&last=x", [])
    yield page("emptied", "", [])
    yield page("no/such", "?n=0", [])
    yield page("test", "?n=0", [])
    for query in ("", "?n=3", "?last=x", "?n=3&last=x"):
        for name in ("no/such", "layers/only", "library"):
            yield refusal("GET", f"/v2/{name}/tags/list{query}", 404, "NAME_UNKNOWN", {"name": name})
    for query, detail in [
        ("n=-1", -1),
        ("n=abc", 0),
        ("n=1.5", 0),
        ("n=+1", 0),
        ("n=1_0", 0),
        ("n=9223372036854775808", 9223372036854775807),  # seen: Go's parser tells the nearest it can
        ("n=-9223372036854775809", -9223372036854775808),
    ]:
        yield refusal("GET", f"/v2/test/tags/list?{query}", 400, "PAGINATION_NUMBER_INVALID", {"n": detail})
