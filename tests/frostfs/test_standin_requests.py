"""What the nodes of the stand-in answer to requests that break a rule, and to those the driver does not make."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tests.frostfs.cluster import Cluster
from tests.frostfs.node import LEGACY, MAGIC, NEW
from tests.frostfs.test_driver import LARGE, read, write
from tests.frostfs.wire import canonical, check_request, pb, sign

OBJECTS = "object.ObjectService/"


def _left_alone(request: Any) -> None:
    """It breaks no rule."""


class Asking:
    """A client of its own, who signs what it is given."""

    def __init__(self, cluster: Cluster, key: ec.EllipticCurvePrivateKey | None = None) -> None:
        self.cluster = cluster
        self.key = key or cluster.private
        self.version = pb.Version(major=2, minor=14)
        self.channel = grpc.insecure_channel(cluster.nodes[0].address)

    def request(self, body: Any, spoil: Callable[[Any], object] = _left_alone, **meta: Any) -> bytes:
        made = pb.Request(body=canonical(body), meta=pb.RequestMeta(**{"version": self.version, "ttl": 2} | meta))
        made.verify.body_signature.CopyFrom(sign(self.key, made.body))
        made.verify.meta_signature.CopyFrom(sign(self.key, canonical(made.meta)))
        made.verify.origin_signature.CopyFrom(sign(self.key, b""))
        spoil(made)
        return canonical(made)

    def one(self, method: str, body: Any, spoil: Callable[[Any], object] = _left_alone, **meta: Any) -> Any:
        answer = self.channel.unary_unary(f"/{LEGACY}{method}")(self.request(body, spoil, **meta), timeout=10)
        return _checked(answer)

    def many(self, method: str, body: Any, **meta: Any) -> list[Any]:
        answers = self.channel.unary_stream(f"/{LEGACY}{method}")(self.request(body, **meta), timeout=10)
        return [_checked(answer) for answer in answers]

    def put(self, *requests: bytes) -> Any:
        return _checked(self.channel.stream_unary(f"/{LEGACY}{OBJECTS}Put")(iter(requests), timeout=10))

    def token(self, verb: int) -> Any:
        owner = pb.ID(value=self.cluster.owner)
        asked = pb.SessionBody(owner_id=owner, expiration=100)
        made = pb.SessionAnswer.FromString(self.one("session.SessionService/Create", asked).body)
        target = pb.Target(container=pb.ID(value=self.cluster.container))
        body = pb.TokenBody(
            id=made.id,
            owner_id=owner,
            lifetime=pb.Lifetime(exp=100),
            session_key=made.session_key,
            object=pb.ObjectContext(verb=verb, target=target),
        )
        return pb.SessionToken(body=body, signature=sign(self.key, canonical(body)))

    def made(self, path: str, payload: bytes, token: Any) -> Any:
        """Put by the node, for the owner."""
        header = pb.Header(
            container_id=pb.ID(value=self.cluster.container), owner_id=pb.ID(value=self.cluster.owner)
        )
        pairs = {"FilePath": path, "FileName": path.rpartition("/")[2], "Timestamp": "1600000000"}
        header.attributes.extend(pb.Pair(key=key, value=value) for key, value in pairs.items())
        bodies = [pb.PutBody(init=pb.PutInit(header=header))]
        bodies += [pb.PutBody(chunk=payload[at : at + 100_000]) for at in range(0, len(payload), 100_000)]
        return self.put(*(self.request(body, session_token=token) for body in bodies))


def _checked(raw: bytes) -> Any:
    """The answer, whose signatures are right: they are made as those of requests."""
    answer = pb.Response.FromString(raw)
    request = pb.Request(meta=pb.RequestMeta(), verify=answer.verify)
    request.meta.MergeFromString(canonical(answer.meta))
    assert canonical(request.meta) == canonical(answer.meta)
    body = pb.Empty.FromString(answer.body)
    check_request(request, body)
    assert (answer.meta.ttl, answer.meta.version.major) == (1, 2)
    return answer


@pytest.fixture
def asking(cluster: Cluster) -> Asking:
    return Asking(cluster)


def _address(cluster: Cluster, object_id: bytes) -> Any:
    return pb.Address(container_id=pb.ID(value=cluster.container), object_id=pb.ID(value=object_id))


def test_what_every_request_must_have(cluster: Cluster, asking: Asking) -> None:
    network = "netmap.NetmapService/NetworkInfo"
    asked = [
        asking.one(network, pb.Empty()),
        asking.one(network, pb.Empty(), magic_number=MAGIC),
        asking.one(network, pb.Empty(), magic_number=MAGIC + 1),
        asking.one(network, pb.Empty(), ttl=0),
        asking.one(network, pb.Empty(), lambda made: setattr(made.verify.body_signature, "sign", bytes(65))),
        asking.one(network, pb.Empty(), lambda made: made.ClearField("verify")),
        # Not in the canonical form, though signed: a field twice.
        asking.one(network, pb.Empty(), lambda made: setattr(made, "body", b"\x08\x00")),
    ]
    assert [answer.meta.status.code for answer in asked] == [0, 0, 1025, 1024, 1026, 1026, 1026]
    with pytest.raises(grpc.RpcError) as refused:
        asking.one(network, pb.Empty(), version=pb.Version(major=2, minor=10), ttl=0)
    assert refused.value.code() is grpc.StatusCode.UNKNOWN
    with pytest.raises(grpc.RpcError) as refused:
        asking.channel.unary_unary(f"/{NEW}{network}")(asking.request(pb.Empty()), timeout=10)
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_every_message_of_a_stream_is_looked_at(cluster: Cluster, asking: Asking) -> None:
    token, header = asking.token(1), pb.Header(container_id=pb.ID(value=cluster.container))
    header.owner_id.value = cluster.owner
    init = asking.request(pb.PutBody(init=pb.PutInit(header=header)), session_token=token)
    chunk = asking.request(pb.PutBody(chunk=b"content"), session_token=token)
    spoilt = asking.request(
        pb.PutBody(chunk=b"content"),
        lambda made: made.verify.meta_signature.CopyFrom(sign(cluster.private, b"other")),
        session_token=token,
    )
    large = asking.request(pb.PutBody(chunk=bytes(4 * 1024**2)), session_token=token)
    codes = [asking.put(*sent).meta.status.code for sent in ([init, chunk], [init, spoilt], [chunk], [init, init])]
    assert codes == [0, 1026, 1024, 1024]
    with pytest.raises(grpc.RpcError) as refused:
        asking.put(init, large)
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_objects_that_a_node_makes_are_read_and_deleted(cluster: Cluster, asking: Asking) -> None:
    """As it does for the Go driver, with a session, unless they are uploads."""
    for path, content in {"/docker/link": b"content", "/docker/empty": b"", "/docker/data": LARGE}.items():
        assert asking.made(path, content, asking.token(1)).meta.status.code == 0
        storage = cluster.storage()
        assert await storage.get(path) == content
        assert await read(storage, path, 3) == content[3:]
    refused = [asking.token(2), None, asking.token(1)]
    refused[2].signature.CopyFrom(sign(ec.generate_private_key(ec.SECP256R1()), canonical(refused[2].body)))
    assert [asking.made("/x", b"", token).meta.status.code for token in refused] == [2048] * 3
    await cluster.storage().delete("/docker")
    assert await cluster.storage().list("/") == []


async def test_parts_of_objects(cluster: Cluster, asking: Asking) -> None:
    await write(cluster.storage(), "/data", LARGE)
    [parent] = cluster.store.parents
    info = cluster.store.split_info(parent)
    address = _address(cluster, parent)

    def ranged(offset: int, length: int, **more: Any) -> Any:
        asked = pb.RangeBody(address=address, range=pb.Range(offset=offset, length=length), **more)
        return asking.many(f"{OBJECTS}GetRange", asked)[0]

    size = len(LARGE)
    codes = [ranged(*span).meta.status.code for span in ((0, 0), (size, 1), (1, size), (size - 1, 1))]
    assert codes == [1024, 2053, 2053, 0]
    raw = [
        pb.HeadAnswer.FromString(
            asking.one(f"{OBJECTS}Head", pb.HeadBody(address=address, raw=True)).body
        ).split_info,
        pb.GetAnswer.FromString(
            asking.many(f"{OBJECTS}Get", pb.GetBody(address=address, raw=True))[0].body
        ).split_info,
        pb.RangeAnswer.FromString(ranged(0, 1, raw=True).body).split_info,
    ]
    assert raw == [info] * 3
    short = pb.HeadAnswer.FromString(
        asking.one(f"{OBJECTS}Head", pb.HeadBody(address=address, main_only=True)).body
    ).short_header
    assert (short.payload_length, short.owner_id.value) == (size, cluster.owner)


async def test_filters_of_a_search(cluster: Cluster, asking: Asking) -> None:
    await cluster.storage().put("/a", b"content")
    token = asking.token(1)
    asking.made("/b", b"", token)

    def found(match: int, key: str, value: str) -> set[str]:
        filters = [pb.Filter(key="$Object:ROOT"), pb.Filter(match_type=match, key=key, value=value)]
        asked = pb.SearchBody(container_id=pb.ID(value=cluster.container), version=1, filters=filters)
        ids = [
            each.value
            for answer in asking.many(f"{OBJECTS}Search", asked)
            for each in pb.SearchAnswer.FromString(answer.body).id_list
        ]
        return {
            pair.value for each in ids for pair in cluster.store.header(each).attributes if pair.key == "FilePath"
        }

    assert found(1, "FilePath", "/a") == {"/a"}
    assert found(2, "FilePath", "/a") == {"/b"}
    assert found(3, "RegistryNonce", "") == {"/b"}
    assert found(4, "RegistryNonce", "1") == {"/a"}
    assert found(1, "$Object:payloadLength", "7") == {"/a"}
    assert found(1, "$Object:objectType", "REGULAR") == {"/a", "/b"}
    for filters, version in (
        ([pb.Filter(match_type=9, key="FilePath")], 1),
        ([pb.Filter(key="$Object:x")], 1),
        ([], 2),
    ):
        asked = pb.SearchBody(container_id=pb.ID(value=cluster.container), version=version, filters=filters)
        assert asking.many(f"{OBJECTS}Search", asked)[0].meta.status.code == 1024


def test_nodes_under_maintenance(cluster: Cluster, asking: Asking) -> None:
    cluster.nodes[0].maintenance = True
    asked = pb.SearchBody(container_id=pb.ID(value=cluster.container), version=1)
    assert asking.many(f"{OBJECTS}Search", asked)[0].meta.status.code == 1027
    assert asking.one("netmap.NetmapService/LocalNodeInfo", pb.Empty()).meta.status.code == 0
