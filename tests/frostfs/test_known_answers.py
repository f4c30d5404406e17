"""What can be checked without any node: keys, addresses, ids, signatures, the binary form."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from tests.frostfs import wire
from tests.frostfs.cluster import ACCOUNT, PRIVATE, WALLET

from lading.storage.frostfs import signing, wallet
from lading.storage.frostfs.encoding import EncodingError, Message, encode
from lading.storage.frostfs.identifiers import base58, container_id, from_base58, owner_id, ripemd160
from lading.storage.frostfs.messages import identifier
from lading.storage.frostfs.signing import Key

WALLETS = [
    (
        "6PYP7YrwGnLuu4WYQbEe3WJiC44aKmqwqawLsp7H3oh5vocS9xTv2ZfTp3",
        "",
        "031a6c6fbbdf02ca351745fa86b9ba5a9452d785ac4f7fc2b7548ca2a46c4fcf4a",
        "NbUgTSFvPmsRxmGeWpuuGeJUoRoi6PErcM",
    ),
    (
        "6PYM8VdX2BSm7BSXKzV4Fz6S3R9cDLLWNrD9nMjxW352jEv3fsC8N3wNLY",
        "one",
        "02b3622bf4017bdfe317c58aed5f4c753f206b7db896046fa7d774bbc4bf7f8dc2",
        "Nhfg3TbpwogLvDGVvAvqyThbsHgoSUKwtn",
    ),
]

KEY = Key(ec.derive_private_key(PRIVATE, ec.SECP256R1()))


@pytest.mark.parametrize(("encrypted", "password", "public", "address"), WALLETS)
def test_a_wallet_opens_with_its_password_only(encrypted: str, password: str, public: str, address: str) -> None:
    key = wallet.decrypt(encrypted, password)
    assert key.public.hex() == public
    assert base58(owner_id(key.public)) == address
    with pytest.raises(wallet.WalletError) as refused:
        wallet.decrypt(encrypted, f"{password}!")
    assert refused.value.parameter == "password"


def _wallet(place: Path, *accounts: object) -> str:
    path = place / "wallet.json"
    path.write_text(json.dumps({"accounts": accounts}))
    return str(path)


def test_the_account_is_the_default_or_the_first_of_a_single_key(tmp_path: Path) -> None:
    several = {**ACCOUNT, "contract": {"script": "EwwhAg=="}}
    watched = {**ACCOUNT, "address": "NUVPACMnKFhpuHjsRjhUvXz1XhqfGZYVtY", "key": None}
    assert wallet.load(_wallet(tmp_path, several, ACCOUNT), "").public == KEY.public
    other = tmp_path / "other"
    other.mkdir()
    path = _wallet(other, {**watched, "isDefault": False}, {**ACCOUNT, "isDefault": True})
    assert wallet.load(path, "").public == KEY.public
    for address, parameter in [("Nhfg3TbpwogLvDGVvAvqyThbsHgoSUKwtn", "address"), ("nonsense", "address")]:
        with pytest.raises(wallet.WalletError) as refused:
            wallet.load(path, "", address)
        assert refused.value.parameter == parameter
    with pytest.raises(wallet.WalletError, match="has no key"):
        wallet.load(path, "", str(watched["address"]))


@pytest.mark.parametrize(
    "content", ["", "[" * 100_000, "[]", "{}", '{"accounts": 1}', '{"accounts": []}', '{"accounts": [{}]}']
)
def test_what_is_no_wallet(tmp_path: Path, content: str) -> None:
    path = tmp_path / "wallet.json"
    path.write_text(content)
    with pytest.raises(wallet.WalletError, match=r"no wallet|no account"):
        wallet.load(str(path), "")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"scrypt": "x"}, "scrypt is no mapping"),
        ({"scrypt": {"n": 3}}, "n must be a power of 2"),
        ({"scrypt": {"n": "a"}}, "must be int, not str"),
        ({"accounts": [{**ACCOUNT, "key": "0"}]}, f"account {ACCOUNT['address']}: not written in base58"),
        ({"accounts": [{**ACCOUNT, "key": "6PYP7"}]}, "checksum does not match"),
    ],
)
def test_wallets_that_are_malformed(tmp_path: Path, changes: dict[str, object], said: str) -> None:
    path = tmp_path / "wallet.json"
    path.write_text(json.dumps(WALLET | changes), encoding="utf-8-sig")
    with pytest.raises(wallet.WalletError, match=said) as refused:
        wallet.load(str(path), "")
    assert refused.value.parameter == "path"


@given(st.binary(max_size=55))
def test_ripemd160(data: bytes) -> None:
    assert ripemd160(data) == hashlib.new("ripemd160", data).digest()


@given(st.binary(max_size=40))
def test_base58_goes_there_and_back(data: bytes) -> None:
    assert from_base58(base58(data)) == data


def test_a_container_is_an_id_or_a_name() -> None:
    assert container_id(base58(b"\1" * 32)) == b"\1" * 32
    assert [container_id(text) for text in ("registry", base58(b"\0" * 32), base58(b"\1" * 31), "0OIl")] == [
        None
    ] * 4


@pytest.mark.parametrize(
    ("header", "object_id"),
    [
        (encode(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        (
            encode((10, [encode((1, "k1"), (2, "v1")), encode((1, "k2"), (2, "v2"))])),
            "6f712759dec1f95f095ccfb1d0b8b5377a5d2aedab1b05553d4e0e398b0b0071",
        ),
        (
            encode((1, encode((1, 1817223862), (2, 2425735897)))),
            "95d318d8600a5f50dd007a82c3ff8f5a418aeae1bb057cb0cba7ab401c692413",
        ),
        (encode((4, 11023562854130131584)), "e9e76dbf0be064088d55b24540227ae3442737924dbf8600d0b58880fd45f4d1"),
    ],
)
def test_ids_of_objects(header: bytes, object_id: str) -> None:
    assert hashlib.sha256(header).hexdigest() == object_id


def test_what_is_signed_of_an_object_is_its_id() -> None:
    assert identifier(b"\7" * 32) == b"\x0a\x20" + b"\7" * 32


def test_signatures_are_those_of_rfc_6979() -> None:
    """Appendix A.2.5."""
    key = Key(
        ec.derive_private_key(0xC9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721, ec.SECP256R1())
    )
    signed = Message(key.sign(b"sample"))
    assert signed.data(2).hex() == (
        "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716"
        "f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8"
    )
    assert signed.number(3) == 1
    assert signing.verify(signed, b"sample")
    assert not signing.verify(signed, b"other")


NUMBERS = st.integers(0, 2**64 - 1)


@given(NUMBERS, st.text(), st.binary(), st.lists(st.binary(max_size=5)))
def test_the_binary_form_is_that_of_protobuf(epoch: int, text: str, data: bytes, ids: list[bytes]) -> None:
    ours = encode(
        (4, epoch),
        (10, [encode((1, text), (2, "v"))]),
        (11, encode((5, [identifier(each) for each in ids]), (6, data))),
    )
    pb = wire.pb
    split = pb.Split(children=[pb.ID(value=each) for each in ids], split_id=data)
    header = pb.Header(creation_epoch=epoch, attributes=[pb.Pair(key=text, value="v")], split=split)
    assert ours == wire.canonical(header)
    read = Message(ours)
    assert (read.number(4), Message(read.all(10)[0]).data(1).decode()) == (epoch, text)
    assert [Message(raw).data(1) for raw in read.message(11).all(5)] == ids


@pytest.mark.parametrize("garbage", ["80", "0a", "0a05ff", "0b", "0d0000", "ff" * 11])
def test_garbage_is_refused(garbage: str) -> None:
    with pytest.raises(EncodingError):
        Message(bytes.fromhex(garbage))


def _answer() -> wire.pb.Response:  # type: ignore[name-defined]
    node = ec.generate_private_key(ec.SECP256R1())
    answer = wire.pb.Response(body=b"\x0a\x00", meta=wire.pb.ResponseMeta(epoch=3, ttl=1))
    answer.verify.body_signature.CopyFrom(wire.sign(node, answer.body))
    answer.verify.meta_signature.CopyFrom(wire.sign(node, wire.canonical(answer.meta)))
    answer.verify.origin_signature.CopyFrom(wire.sign(node, b""))
    relayed = wire.pb.Response(body=answer.body, meta=wire.pb.ResponseMeta(epoch=3, ttl=2, origin=answer.meta))
    relayed.verify.meta_signature.CopyFrom(wire.sign(node, wire.canonical(relayed.meta)))
    relayed.verify.origin_signature.CopyFrom(wire.sign(node, wire.canonical(answer.verify)))
    relayed.verify.origin.CopyFrom(answer.verify)
    return relayed


def test_answers_are_verified_through_those_who_passed_them_on() -> None:
    signing.check_answer(Message(wire.canonical(_answer())))
    unsigned = _answer()
    unsigned.ClearField("verify")
    signing.check_answer(Message(wire.canonical(unsigned)))
    for spoil in (
        lambda answer: setattr(answer, "body", b"\x0a\x01\x00"),
        lambda answer: setattr(answer.meta, "epoch", 4),
        lambda answer: setattr(answer.meta.origin, "epoch", 4),
        lambda answer: answer.verify.body_signature.CopyFrom(answer.verify.origin.body_signature),
        lambda answer: answer.verify.origin.ClearField("body_signature"),
        lambda answer: setattr(answer.verify.origin.origin_signature, "scheme", 2),
    ):
        answer = _answer()
        spoil(answer)
        with pytest.raises(signing.SignatureError):
            signing.check_answer(Message(wire.canonical(answer)))
