"""The journal: who loses what when there is no room, and what outlives a change of the configuration."""

from __future__ import annotations

import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lading.notify import journal as journals
from lading.notify.journal import KEPT, Entry, Interest, Journal, Room, Row

A, B = Interest("a"), Interest("b")
ROOM = Room(100, 1 << 30)


@pytest.fixture
def make(tmp_path):
    made: list[Journal] = []

    def open_(room: Room = ROOM, endpoints=("a", "b")) -> Journal:
        journal = Journal(tmp_path, room, durable=False)
        made.append(journal)
        journal.prepare(endpoints)
        return journal

    yield open_
    for each in made:
        each.close()


def rows(*numbers: int, action: str = "push", size: int = 10) -> list[Row]:
    return [Row(action, "m", b"%*d" % (size, number)) for number in numbers]


def waiting(journal: Journal, interest: Interest) -> list[int]:
    return [int(entry.body) for entry in journal.after(interest, journal.cursor(interest.name), 10_000)]


def advance(journal: Journal, interest: Interest) -> None:
    journal.advance(interest.name, journal.newest())


def test_the_oldest_go_when_nobody_takes_them(make):
    journal = make()
    dropped = sum(journal.append(rows(number)) for number in range(150))
    assert waiting(journal, A) == waiting(journal, B) == list(range(150 - len(waiting(journal, A)), 150))
    assert 98 <= len(waiting(journal, A)) <= 100
    assert dropped == 150 - len(waiting(journal, A))


def test_a_lame_endpoint_takes_events_from_nobody_but_itself(make):
    journal = make()
    heard: list[int] = []
    for number in range(0, 500, 10):
        journal.append(rows(*range(number, number + 9)))
        journal.append(rows(number + 9, action="pull"))
        heard += waiting(journal, B)
        advance(journal, B)
    assert heard == list(range(500)), "pulls, too"
    assert set(waiting(journal, A)) <= set(range(380, 500))


def test_pulls_go_before_what_has_changed(make):
    journal = make()
    journal.append(rows(*range(60)))
    journal.append(rows(*range(100, 140), action="pull"))
    journal.append(rows(*range(200, 240)))
    kept = waiting(journal, A)
    assert [number for number in kept if number < 100] == list(range(60))
    assert [number for number in kept if number >= 200] == list(range(200, 240))


def test_what_all_have_had_goes_first(make):
    journal = make()
    journal.append(rows(*range(90)))
    advance(journal, A)
    advance(journal, B)
    assert journal.append(rows(*range(100, 199))) == 0
    assert waiting(journal, A) == list(range(100, 199))


def test_bytes_are_limited_too(make):
    journal = make(Room(1000, 100_000))
    journal.append(rows(*range(5), size=10_000))
    assert journal.append(rows(*range(100, 110), size=10_000)) == 6
    assert waiting(journal, A) == list(range(101, 110))


def test_sizes_stay_true(make):
    journal = make(Room(5000, 1 << 30))
    for number in range(30):
        journal.append(rows(*range(100), action="pull" if number % 2 else "push"))
        advance(journal, A)
        if number % 3:
            advance(journal, B)
    journal.park("a", "422", Entry(journal.newest(), *rows(1)[0]))
    journal.replay([1])
    for interest in (A, B):
        advance(journal, interest)
    sizes = journal._connection.execute("SELECT events, bytes FROM sizes").fetchone()
    assert sizes == journal._connection.execute("SELECT count(*), sum(length(body)) FROM events").fetchone()
    assert sizes[0] == KEPT


def test_the_file_shrinks_again(make, tmp_path):
    journal = make(Room(100_000, 1 << 30))
    for _ in range(20):
        journal.append(rows(*range(1000), size=500))
    file = tmp_path / journals.FILE
    journal._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    large = file.stat().st_size
    for _ in range(10):
        advance(journal, A)
        advance(journal, B)
    journal._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert large > 10_000_000
    assert file.stat().st_size < large / 2


def test_endpoints_that_come_and_go(make):
    journal = make()
    journal.append(rows(1, 2))
    assert journal.prepare(["b", "c"]) == {"a": 2}
    assert waiting(journal, B) == [1, 2]
    assert waiting(journal, Interest("c")) == []
    journal.append(rows(3))
    assert waiting(journal, Interest("c")) == [3]
    assert journal.prepare(["b", "c"]) == {}


def test_what_is_ignored_is_not_read(make):
    journal = make()
    journal.append(
        [Row("push", "m", b"1"), Row("pull", "m", b"2"), Row("push", "x", b"3"), Row("delete", "", b"4")]
    )
    picky = Interest("a", frozenset({"x"}), frozenset({"pull"}))
    assert waiting(journal, picky) == [1, 4]
    assert journal.count(picky, 0, journal.newest()) == 2
    assert not picky.wants("x", "push")


def test_parked_events_are_limited(make, monkeypatch):
    journal = make()
    monkeypatch.setattr(journals, "PARKED", 3)
    journal.append(rows(*range(6)))
    entries = journal.after(A, 0, 10)
    assert [journal.park("a", "400 Bad Request", entry) for entry in entries] == [0, 0, 0, 1, 1, 1]
    assert [int(each.body) for each in journal.parked()] == [3, 4, 5]
    assert journal.cursor("a") == entries[-1].seq, "in one step: it is not sent again after a crash"


def test_replay_is_for_the_endpoint_that_refused_it(make):
    journal = make()
    journal.append(rows(7))
    [entry] = journal.after(A, 0, 10)
    journal.park("a", "400 Bad Request", entry)
    advance(journal, B)
    journal.replay([each.number for each in journal.parked()])
    assert (waiting(journal, A), waiting(journal, B), journal.parked()) == ([7], [], [])


def test_what_is_named_twice_or_gone_is_replayed_once(make):
    journal = make()
    journal.append(rows(1, 2))
    for entry in journal.after(A, 0, 10):
        journal.park("a", "400", entry)
    assert journal.replay([1, 1, 77]) == (1, 0)
    assert waiting(journal, A) == [1]
    assert [each.number for each in journal.parked()] == [2]
    assert journal.discard([2, 2, 77]) == 1
    assert journal.parked() == []


def test_replay_tells_what_it_takes_the_place_of(make):
    journal = make(endpoints=("a",))
    journal.append(rows(0))
    journal.park("a", "400", journal.after(A, 0, 1)[0])
    journal.append(rows(*range(1, 101)))
    assert len(waiting(journal, A)) == 100
    queued, given_up = journal.replay([1])
    assert (queued, given_up) == (1, 2)
    assert waiting(journal, A) == [*range(3, 101), 0]


def test_a_journal_of_another_version_is_left_alone(make, tmp_path):
    make().close()
    with sqlite3.connect(tmp_path / journals.FILE) as connection:
        connection.execute("PRAGMA user_version=9")
    connection.close()
    with pytest.raises(sqlite3.DatabaseError, match="another version"):
        make()


def test_what_is_read_at_once_is_limited(make, monkeypatch):
    journal = make()
    monkeypatch.setattr(journals, "READ_BYTES", 100)
    journal.append(rows(*range(5), size=80))
    assert len(journal.after(A, 0, 10)) == 2
    journal.append(rows(9, size=1000))
    assert len(journal.after(A, 5, 10)) == 1


@given(st.lists(st.tuples(st.sampled_from(["push", "pull", "a", "b", "both"]), st.integers(1, 30)), max_size=40))
@settings(max_examples=60, deadline=None)
def test_nothing_goes_while_there_is_room(tmp_path_factory, steps):
    journal = Journal(tmp_path_factory.mktemp("journal"), Room(50, 1 << 30), durable=False)
    journal.prepare(["a", "b"])
    model: dict[str, list[int]] = {"a": [], "b": []}
    total = 0
    for step, number in steps:
        if step in {"push", "pull"}:
            added = rows(*range(total, total + number), action=step)
            total += number
            dropped = journal.append(added)
            for name, interest in (("a", A), ("b", B)):
                model[name] += [int(row.body) for row in added]
                there = waiting(journal, interest)
                assert set(there) <= set(model[name])
                assert there == sorted(there)
                if not dropped:
                    assert there == model[name]
                model[name] = there
            assert max(len(model["a"]), len(model["b"])) <= 50
        else:
            for name, interest in (("a", A), ("b", B)):
                if step in {name, "both"}:
                    advance(journal, interest)
                    model[name] = []
    journal.close()
