"""What a blob on its way shows, and what it keeps in memory."""

from __future__ import annotations

from lading.registry.fills import WINDOW_BYTES, Fill

PIECE = bytes(1024 * 1024)


def test_what_is_not_written_yet_stays_in_memory() -> None:
    fill = Fill("/session")
    for _ in range(4 * WINDOW_BYTES // len(PIECE)):
        fill.push(PIECE)
    assert fill.recent(0, 10) == PIECE[:10]
    fill.written = fill.have
    fill.push(PIECE)
    assert fill.recent(0, 10) == b""
    assert sum(len(piece) for _, piece in fill.window) <= WINDOW_BYTES


def test_the_last_byte_is_shown_when_all_is_verified() -> None:
    fill = Fill("/session")
    fill.size = 2 * len(PIECE)
    fill.push(PIECE)
    assert fill.shown == len(PIECE)
    fill.push(PIECE)
    assert fill.shown == fill.size - 1
    fill.verified = True
    assert fill.shown == fill.size
