"""What `neofs-python-sdk` makes of a node and of a driver's requests: run by the Python it is installed in.

It was written by others, over messages generated from NeoFS's own definitions, with other libraries for keys,
signatures and wallets. Its argument is a file of JSON that says what to do; it answers with JSON.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from ecdsa import NIST256p, SigningKey, VerifyingKey
from ecdsa.util import sigdecode_string
from google.protobuf.unknown_fields import UnknownFieldSet
from neo3.wallet.wallet import Wallet
from neofs.api.container import service_pb2 as container
from neofs.api.container import service_pb2_grpc as container_grpc
from neofs.api.netmap import service_pb2 as netmap
from neofs.api.object import service_pb2 as objects
from neofs.api.object import types_pb2 as object_types
from neofs.api.refs import types_pb2 as refs
from neofs.api.session import service_pb2 as session
from neofs.api.session import types_pb2 as session_types
from neofs.client import NeoFSClient

REQUESTS = {
    "Empty": netmap.NetworkInfoRequest,
    "SessionBody": session.CreateRequest,
    "ContainerBody": container.GetRequest,
    "GetBody": objects.GetRequest,
    "PutBody": objects.PutRequest,
    "DeleteBody": objects.DeleteRequest,
    "HeadBody": objects.HeadRequest,
    "SearchBody": objects.SearchRequest,
    "RangeBody": objects.GetRangeRequest,
}


def known(message: Any) -> None:
    """Nothing in it, at any depth, is a field that NeoFS does not have."""
    assert not len(UnknownFieldSet(message)), type(message).__name__
    for field, value in message.ListFields():
        if field.message_type is not None:
            for each in value if field.is_repeated else [value]:
                known(each)


def verify(signature: Any, data: bytes) -> None:
    old = signature.scheme == 0
    digest, value = (hashlib.sha512, signature.sign[1:]) if old else (hashlib.sha256, signature.sign)
    key = VerifyingKey.from_string(signature.key, curve=NIST256p)
    assert key.verify(value, data, hashfunc=digest, sigdecode=sigdecode_string, allow_truncate=True)


def verified(message: Any) -> Any:
    """The body of a request or an answer, whose three signatures are right."""
    header = message.verify_header
    verify(header.body_signature, message.body.SerializeToString())
    verify(header.meta_signature, message.meta_header.SerializeToString())
    verify(header.origin_signature, b"")
    return message.body


def check_request(kind: str, raw: bytes) -> None:
    request = REQUESTS[kind].FromString(raw)
    assert request.SerializeToString(deterministic=True) == raw, kind
    known(request)
    verified(request)
    if request.meta_header.HasField("session_token"):
        token = request.meta_header.session_token
        verify(token.signature, token.body.SerializeToString())


def check_object(object_id: bytes, signature: bytes, header: bytes) -> None:
    read = object_types.Header.FromString(header)
    assert hashlib.sha256(read.SerializeToString(deterministic=True)).digest() == object_id
    known(read)
    verify(refs.Signature.FromString(signature), refs.ObjectID(value=object_id).SerializeToString())
    if read.split.HasField("parent_header"):
        parent = read.split.parent_header.SerializeToString(deterministic=True)
        assert hashlib.sha256(parent).digest() == read.split.parent.value
        verify(read.split.parent_signature, refs.ObjectID(value=read.split.parent.value).SerializeToString())


class Client(NeoFSClient):
    """With what it lacks: a search of the first version, ranges, and sessions to delete in.

    And with a key of the account: the wallet's library no longer has the attribute it looks for.
    """

    def load_wallet(self, wallet_path: str, password: str) -> None:
        super().load_wallet(wallet_path, password)
        self.private = self.account.private_key_from_nep2(self.account.encrypted_key.decode(), password)

    def _sign(self, data: bytes) -> bytes:
        key = SigningKey.from_string(self.private, curve=NIST256p)
        return bytes(key.sign_deterministic(data, hashfunc=hashlib.sha256))

    def request(self, kind: Any, container_id: str, object_id: str = "") -> Any:
        made = kind()
        self._prepare_meta(made)
        if object_id:
            made.body.address.container_id.value = bytes.fromhex(container_id)
            made.body.address.object_id.value = bytes.fromhex(object_id)
        else:
            made.body.container_id.value = bytes.fromhex(container_id)
        return made

    def search(self, container_id: str, key: str, value: str) -> list[str]:
        asked = self.request(objects.SearchRequest, container_id)
        asked.body.version = 1
        asked.body.filters.add(key="$Object:ROOT")
        asked.body.filters.add(match_type=object_types.COMMON_PREFIX, key=key, value=value)
        self._sign_request(asked)
        return [each.value.hex() for answer in self.object_stub.Search(asked) for each in verified(answer).id_list]

    def range(self, container_id: str, object_id: str, offset: int, length: int) -> bytes:
        asked = self.request(objects.GetRangeRequest, container_id, object_id)
        asked.body.range.offset, asked.body.range.length = offset, length
        self._sign_request(asked)
        return b"".join(verified(answer).chunk for answer in self.object_stub.GetRange(asked))

    def header(self, container_id: str, object_id: str) -> Any:
        asked = self.request(objects.HeadRequest, container_id, object_id)
        self._sign_request(asked)
        found = verified(self.object_stub.Head(asked)).header
        signature, header = found.signature.SerializeToString(), found.header.SerializeToString()
        check_object(bytes.fromhex(object_id), signature, header)
        return found.header

    def delete(self, container_id: str, object_id: str) -> int:
        opening = session.CreateRequest()
        self._prepare_meta(opening)
        opening.body.owner_id.CopyFrom(self._build_owner_id())
        opening.body.expiration = 100
        self._sign_request(opening)
        made = verified(self.session_stub.Create(opening))
        asked = self.request(objects.DeleteRequest, container_id, object_id)
        token = asked.meta_header.session_token
        token.body.id, token.body.session_key = made.id, made.session_key
        token.body.owner_id.CopyFrom(self._build_owner_id())
        token.body.lifetime.exp = 100
        token.body.object.verb = session_types.ObjectSessionContext.DELETE
        token.body.object.target.container.value = bytes.fromhex(container_id)
        token.signature.CopyFrom(self._build_signature(token.body.SerializeToString()))
        self._sign_request(asked)
        answer = self.object_stub.Delete(asked)
        verified(answer)
        return int(answer.meta_header.status.code)

    def access(self, container_id: str) -> int:
        asked = self.request(container.GetRequest, container_id)
        self._sign_request(asked)
        found = verified(container_grpc.ContainerServiceStub(self.channel).Get(asked)).container
        assert hashlib.sha256(found.SerializeToString(deterministic=True)).hexdigest() == container_id
        return int(found.basic_acl)


def wallet_of(password: str, path: Path) -> str:
    """A wallet with a new key; the public one."""
    made = Wallet()
    account = made.account_new(password)
    path.write_text(json.dumps(made.to_json()))
    return str(account.public_key.to_array().hex())


def main(given: dict[str, Any]) -> dict[str, Any]:
    for kind, raw in given["requests"]:
        check_request(kind, bytes.fromhex(raw))
    for made in given["objects"]:
        check_object(*map(bytes.fromhex, made))
    client = Client(given["endpoint"], is_secure=False)
    client.load_wallet(given["wallet"], given["password"])
    place, held = Path(given["place"]), given["container"]
    answers: dict[str, Any] = {"address": client.account.address, "acl": client.access(held), "read": {}}
    for object_id in client.search(held, "FilePath", "/docker/"):
        header = client.header(held, object_id)
        path = next(each.value for each in header.attributes if each.key == "FilePath")
        client.get_object(held, object_id, str(place / "got"))
        data = (place / "got").read_bytes()
        assert header.payload_length == len(data)
        assert header.payload_hash.sum == hashlib.sha256(data).digest()
        if len(data) > 8:
            assert client.range(held, object_id, 5, len(data) - 8) == data[5:-3]
        answers["read"][path] = hashlib.sha256(data).hexdigest()
    (place / "sent").write_bytes(bytes.fromhex(given["sent"]))
    attributes = {"FilePath": "/sdk/file", "FileName": "file", "Timestamp": "1700000000"}
    answers["made"] = client.put_object(held, str(place / "sent"), attributes)
    doomed = client.put_object(held, str(place / "sent"), {"FilePath": "/sdk/doomed"})
    answers["wallet"] = wallet_of(given["new_password"], place / "theirs.json")
    answers["deleted"] = [client.delete(held, doomed), client.delete(held, doomed)]
    return answers


if __name__ == "__main__":
    print(json.dumps(main(json.loads(Path(sys.argv[1]).read_text()))))
