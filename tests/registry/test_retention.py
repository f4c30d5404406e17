"""What retention decides: by its rules, and against a plain reading of them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lading.oci.digest import Digest
from lading.oci.names import RepositoryName, Tag
from lading.oci.patterns import Selection
from lading.registry import retention
from lading.registry.retention import Held, Rule

NAME = RepositoryName("team/app")
HOUR = 3600.0
NOW = 1_800_000_000.0
DIGEST = Digest("sha256:" + 64 * "a")


def rule(tags: str = "*", *, repositories: str = "team/*", **reasons: float) -> Rule:
    return Rule(Selection((repositories,), (tags,)), **reasons)  # type: ignore[arg-type]


def tag(name: str, hours: float = 0, pulled: float | None = None, *, immutable: bool = False) -> Held:
    """Pushed, and pulled, so many hours ago."""
    last_pull = 0.0 if pulled is None else NOW - pulled * HOUR
    return Held(Tag(name), DIGEST, NOW - hours * HOUR, last_pull, immutable)


def staying(rules: list[Rule], tags: list[Held], since: float = 0.0) -> list[str]:
    plan = retention.decide(rules, NAME, tags, NOW, since)
    assert [verdict.held for verdict in plan.verdicts] == tags
    assert all(verdict.reason for verdict in plan.verdicts)
    assert plan.going == [verdict for verdict in plan.verdicts if not verdict.stays]
    return [verdict.held.tag for verdict in plan.verdicts if verdict.stays]


def test_the_last_by_the_time_of_push() -> None:
    tags = [tag("a", 3), tag("b", 1), tag("c", 2)]
    assert staying([rule(last=2)], tags) == ["b", "c"]


def test_of_one_moment_the_one_that_sorts_last_is_newest() -> None:
    assert staying([rule(last=1)], [tag("1.0", 1), tag("1.1", 1)]) == ["1.1"]


def test_pushed_within() -> None:
    tags = [tag("new", 1), tag("old", 25), tag("ahead", -1)]
    assert staying([rule(pushed_within=24 * HOUR)], tags) == ["new", "ahead"]


def test_pulled_within() -> None:
    tags = [tag("used", 100, 1), tag("unused", 100, 50), tag("never", 100), tag("new", 1)]
    assert staying([rule(pulled_within=24 * HOUR)], tags) == ["used", "new"]


def test_what_was_pulled_before_anybody_noted_it_is_not_known() -> None:
    tags = [tag("a", 1000), tag("b", 1000, 900)]
    rules = [rule(pulled_within=24 * HOUR)]
    assert staying(rules, tags, since=NOW - 23 * HOUR) == ["a", "b"]
    assert staying(rules, tags, since=NOW - 25 * HOUR) == []


def test_a_rule_without_a_reason_keeps_all_it_selects_and_the_rest_goes() -> None:
    assert staying([rule("v*")], [tag("latest"), tag("v1"), tag("v2", 1000)]) == ["v1", "v2"]


def test_rules_add_up() -> None:
    tags = [tag("latest", 1000), tag("pr-1", 3), tag("pr-2", 2), tag("v1", 900)]
    assert staying([rule("v*"), rule("latest"), rule("pr-*", last=1)], tags) == ["latest", "pr-2", "v1"]


def test_where_no_rule_is_about_the_repository_all_stay() -> None:
    assert staying([rule(last=1, repositories="other/*")], [tag("a"), tag("b")]) == ["a", "b"]


def test_immutable_tags_stay_and_count() -> None:
    tags = [tag("a", 1, immutable=True), tag("b", 2), tag("c", 3, immutable=True)]
    assert staying([rule(last=1)], tags) == ["a", "c"]


def test_a_signature_stays_with_its_image_and_does_not_count() -> None:
    signature = Held(Tag(f"sha256-{64 * 'a'}.sig"), DIGEST, NOW, about=DIGEST)
    assert staying([rule(last=1)], [signature, tag("a", 5)]) == [signature.tag, "a"]


def test_the_reasons() -> None:
    tags = [tag("a", 1), tag("b", 2), tag("x")]
    plan = retention.decide([rule("[", last=9), rule("a", last=1), rule("b", pushed_within=1)], NAME, tags, NOW, 0)
    assert [verdict.reason for verdict in plan.verdicts] == [
        "retention.rules[1]: it is one of the last 1",
        "no rule keeps it any more",
        "no rule names it",
    ]


names = st.text("abv1", min_size=1, max_size=3)
held = st.builds(
    Held,
    names.map(Tag),
    st.just(DIGEST),
    st.integers(-5, 50).map(lambda hours: NOW - hours * HOUR),
    st.just(0.0) | st.integers(0, 50).map(lambda hours: NOW - hours * HOUR),
    st.booleans(),
)
hours = st.just(0.0) | st.integers(1, 40).map(lambda count: count * HOUR)
selections = st.builds(
    Selection,
    st.sampled_from([("team/*",), ("**",), ("other",)]),
    st.sampled_from([("*",), ("a*",), ("*1",), ("v", "b*")]),
)
rules = st.builds(Rule, selections, st.integers(0, 3), hours, hours)


def _keeps(each: Rule, one: Held, tags: list[Held], since: float) -> bool:
    """The rule as the documentation says it, one tag at a time."""
    selected = [other for other in tags if each.selection.names(other.tag)]
    if one not in selected:
        return False
    newer = [other for other in selected if (other.pushed, other.tag) > (one.pushed, one.tag)]
    used = max(one.pulled, one.pushed, since)
    return (
        each.keeps_all
        or len(newer) < each.last
        or NOW - one.pushed < each.pushed_within
        or NOW - used < each.pulled_within
    )


@given(st.lists(rules, max_size=4), st.lists(held, max_size=12, unique_by=lambda one: one.tag), st.integers(0, 60))
def test_any_rules(some: list[Rule], tags: list[Held], hours_known: int) -> None:
    since = NOW - hours_known * HOUR
    covering = [each for each in some if each.selection.covers(NAME)]
    expected = [
        one.tag
        for one in tags
        if not covering or one.immutable or any(_keeps(each, one, tags, since) for each in covering)
    ]
    assert staying(some, tags, since) == expected


@given(st.lists(rules, max_size=4), st.lists(held, max_size=12, unique_by=lambda one: one.tag))
def test_what_is_left_by_one_run_is_left_by_the_next(some: list[Rule], tags: list[Held]) -> None:
    left = staying(some, tags)
    assert staying(some, [one for one in tags if one.tag in left]) == left
