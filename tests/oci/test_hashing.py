from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lading.oci.digest import Digest
from lading.oci.hashing import RESUMABLE, Hasher, load_libcrypto

# What Go 1.26 writes after "" and after "abc".
GO_STATES = {
    b"": "736861036a09e667bb67ae853c6ef372a54ff53a510e527f9b05688c1f83d9ab5be0cd19" + "00" * 72,
    b"abc": "736861036a09e667bb67ae853c6ef372a54ff53a510e527f9b05688c1f83d9ab5be0cd19"
    + "616263"
    + "00" * 61
    + "0000000000000003",
}

# Both engines: the one whose state can be exported, and hashlib.
ALGORITHMS = [("sha256", True), ("sha256", False), ("sha384", True), ("sha512", True)]

resumable = pytest.mark.skipif(not RESUMABLE, reason="this Python's libcrypto cannot be reached")
data_and_cuts = st.binary(max_size=700).flatmap(
    lambda data: st.tuples(st.just(data), st.lists(st.integers(0, len(data)), max_size=6).map(sorted))
)


def state_after(data: bytes) -> bytes:
    hasher = Hasher()
    hasher.update(data)
    state = hasher.export()
    assert state is not None
    return state


@pytest.mark.parametrize(("algorithm", "can_resume"), ALGORITHMS)
@given(data_and_cuts)
def test_every_split_has_the_same_digest(algorithm: str, can_resume: bool, split: tuple[bytes, list[int]]) -> None:
    data, cuts = split
    hasher = Hasher(algorithm, resumable=can_resume)
    for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        hasher.update(data[start:end])
        assert hasher.size == end
        assert hasher.digest() == Digest.of(data[:end], algorithm)
    assert (hasher.algorithm, hasher.size) == (algorithm, len(data))
    assert Digest.parse(hasher.digest()) == hasher.digest()


def test_an_unknown_algorithm_is_refused() -> None:
    with pytest.raises(ValueError, match="unsupported digest algorithm: md5"):
        Hasher("md5")


def test_this_python_can_resume() -> None:
    """Not a promise for every Python, but for those that we build and test on."""
    assert RESUMABLE


@resumable
@given(data_and_cuts)
def test_a_restored_hasher_continues(split: tuple[bytes, list[int]]) -> None:
    data, cuts = split
    hasher: Hasher | None = Hasher()
    for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        assert hasher is not None
        hasher.update(data[start:end])
        state = hasher.export()
        assert state is not None
        assert len(state) == 108
        hasher = Hasher.restore("sha256", state, end)
    assert hasher is not None
    assert hasher.size == len(data)
    assert hasher.digest() == Digest.of(data)


@resumable
def test_exporting_at_every_offset_of_some_blocks() -> None:
    data = bytes(range(256))
    for offset in range(257):
        hasher = Hasher.restore("sha256", state_after(data[:offset]), offset)
        assert hasher is not None
        hasher.update(data[offset:])
        assert hasher.digest() == Digest.of(data)


@resumable
@pytest.mark.parametrize("data", GO_STATES)
def test_the_state_is_that_of_go(data: bytes) -> None:
    assert state_after(data).hex() == GO_STATES[data]
    # A block that was full before leaves nothing behind the partial one.
    assert state_after(b"x" * 127)[36 + 63 : 100] == b"\0"


@resumable
def test_a_length_above_four_gigabytes_survives() -> None:
    size = 5 * 1024**3 + 7
    state = state_after(b"1234567")[:100] + size.to_bytes(8, "big")
    hasher = Hasher.restore("sha256", state, size)
    assert hasher is not None
    assert hasher.export() == state
    other = Hasher.restore("sha256", state_after(b"1234567"), 7)
    assert other is not None
    assert hasher.digest() != other.digest()


@resumable
@pytest.mark.parametrize(
    ("state", "size"),
    [
        (b"", 0),
        (state_after(b"abc")[:-1], 3),
        (state_after(b"abc") + b"\0", 3),
        (state_after(b"abc"), 2),
        (state_after(b"abc"), 67),
        (b"sha\x02" + state_after(b"abc")[4:], 3),
        (b"sha\x07" + state_after(b"abc")[4:], 3),
        (state_after(b"abc")[:39] + b"\x01" + state_after(b"abc")[40:], 3),
        (b"\0" * 108, 0),
        (state_after(b"")[:100] + b"\xff" * 8, 2**64 - 1),
    ],
)
def test_a_malformed_state_is_none(state: bytes, size: int) -> None:
    assert Hasher.restore("sha256", state, size) is None


@given(st.binary(max_size=120), st.integers(0, 200))
def test_noise_is_no_state(state: bytes, size: int) -> None:
    assert Hasher.restore("sha256", state, size) is None


@pytest.mark.parametrize(("algorithm", "can_resume"), ALGORITHMS[1:])
def test_other_engines_have_no_state(algorithm: str, can_resume: bool) -> None:
    assert Hasher(algorithm, resumable=can_resume).export() is None


@pytest.mark.parametrize("algorithm", ["sha384", "sha512"])
def test_other_algorithms_cannot_be_restored(algorithm: str) -> None:
    assert Hasher.restore(algorithm, b"", 0) is None


@pytest.mark.parametrize("path", ["/nonexistent.so", hashlib.__file__, None])
def test_without_the_functions_there_is_no_library(path: str | None) -> None:
    """A file that is missing, one that is no library, and (usually) a program without them."""
    library = load_libcrypto(path)
    assert library is None or path is None


@pytest.mark.parametrize("can_resume", [True, False])
def test_hashers_in_threads_do_not_disturb_each_other(can_resume: bool) -> None:
    found: dict[int, Digest] = {}
    chunk = bytes(range(251)) * 40

    def work(number: int) -> None:
        hasher = Hasher(resumable=can_resume)
        for _ in range(200):
            hasher.update(chunk[number:])
        found[number] = hasher.digest()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: Digest.of(chunk[number:] * 200) for number in range(4)}


GO_PROGRAM = """
package main

import ("crypto/sha256"; "encoding"; "encoding/hex"; "encoding/json"; "os")

type Case struct{ Head, Tail, State string }

func main() {
    var cases, answers []Case
    if err := json.NewDecoder(os.Stdin).Decode(&cases); err != nil { panic(err) }
    for _, c := range cases {
        head, _ := hex.DecodeString(c.Head)
        tail, _ := hex.DecodeString(c.Tail)
        state, _ := hex.DecodeString(c.State)
        restored := sha256.New()
        if err := restored.(encoding.BinaryUnmarshaler).UnmarshalBinary(state); err != nil { panic(err) }
        restored.Write(tail)
        fresh := sha256.New()
        fresh.Write(head)
        mine, err := fresh.(encoding.BinaryMarshaler).MarshalBinary()
        if err != nil { panic(err) }
        answer := Case{Tail: hex.EncodeToString(restored.Sum(nil)), State: hex.EncodeToString(mine)}
        answers = append(answers, answer)
    }
    json.NewEncoder(os.Stdout).Encode(answers)
}
"""


@resumable
@pytest.mark.peer
@pytest.mark.skipif(shutil.which("go") is None, reason="go is not installed")
def test_go_takes_our_states_and_we_take_those_of_go(tmp_path: Path) -> None:
    data = bytes(range(256)) * 2
    offsets = [0, 1, 55, 56, 63, 64, 65, 127, 128, 129, 300, 512]
    cases = [
        {"Head": data[:end].hex(), "Tail": data[end:].hex(), "State": state_after(data[:end]).hex()}
        for end in offsets
    ]
    (tmp_path / "go.mod").write_text("module states\n\ngo 1.21\n")
    (tmp_path / "main.go").write_text(GO_PROGRAM)
    run = subprocess.run(
        ["go", "run", "."],
        cwd=tmp_path,
        env={**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=mod", "GOPROXY": "off"},
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    for offset, answer in zip(offsets, json.loads(run.stdout), strict=True):
        assert f"sha256:{answer['Tail']}" == Digest.of(data)
        assert bytes.fromhex(answer["State"]) == state_after(data[:offset])
        hasher = Hasher.restore("sha256", bytes.fromhex(answer["State"]), offset)
        assert hasher is not None
        hasher.update(data[offset:])
        assert hasher.digest() == Digest.of(data)
