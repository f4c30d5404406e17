"""The stand-in's messages, compiled from `standin.proto`, and how it checks what is signed.

Nothing of the driver's is used here: messages are decoded and encoded again by protobuf, as nodes do it, so that
what is not in its canonical form fails.
"""

from __future__ import annotations

import hashlib
import importlib.util
import tempfile
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from grpc_tools import protoc


def _compiled() -> Any:
    source = Path(__file__).parent
    with tempfile.TemporaryDirectory() as place:
        arguments = ["protoc", f"-I{source}", f"--python_out={place}", str(source / "standin.proto")]
        assert protoc.main(arguments) == 0
        spec = importlib.util.spec_from_file_location("standin_pb2", Path(place) / "standin_pb2.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return module


pb = _compiled()


class Refused(Exception):  # noqa: N818  it is an answer
    """The answer is this status."""

    def __init__(self, code: int, text: str = "") -> None:
        super().__init__(text)
        self.code = code


def public_bytes(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)


def sign(key: ec.EllipticCurvePrivateKey, data: bytes) -> Any:
    """As Go's nodes do it: SHA-512, a random number, an uncompressed point's mark in front."""
    r, s = utils.decode_dss_signature(key.sign(data, ec.ECDSA(hashes.SHA512())))
    value = b"\x04" + r.to_bytes(32, "big") + s.to_bytes(32, "big")
    return pb.Signature(key=public_bytes(key), sign=value, scheme=0)


def valid(signature: Any, data: bytes) -> bool:
    digest = hashes.SHA512() if signature.scheme == 0 else hashes.SHA256()
    value = signature.sign[1:] if signature.scheme == 0 else signature.sign
    if len(value) != 64:
        return False
    encoded = utils.encode_dss_signature(int.from_bytes(value[:32], "big"), int.from_bytes(value[32:], "big"))
    try:
        point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), signature.key)
        point.verify(encoded, data, ec.ECDSA(digest))
    except (InvalidSignature, ValueError):
        return False
    return True


def canonical(message: Any) -> bytes:
    data: bytes = message.SerializeToString(deterministic=True)
    return data


def check_request(request: Any, body: Any) -> None:
    """`body` is the decoded body. Raises `Refused`."""
    verify, meta = request.verify, request.meta
    while True:
        last = not verify.HasField("origin")
        origin = b"" if last else canonical(verify.origin)
        good = valid(verify.meta_signature, canonical(meta)) and valid(verify.origin_signature, origin)
        if not good or (not last and verify.HasField("body_signature")):
            raise Refused(1026, "request headers")
        if last:
            if not valid(verify.body_signature, canonical(body)):
                raise Refused(1026, "request body")
            return
        verify, meta = verify.origin, meta.origin


def owner_of(public: bytes) -> bytes:
    script = b"\x0c\x21" + public + b"\x41\x56\xe7\xb3\x27"
    short = b"\x35" + hashlib.new("ripemd160", hashlib.sha256(script).digest()).digest()
    return short + hashlib.sha256(hashlib.sha256(short).digest()).digest()[:4]


def base58(data: bytes) -> str:
    alphabet = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
    number, text = int.from_bytes(data, "big"), ""
    while number:
        text, number = alphabet[number % 58] + text, number // 58
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + text
