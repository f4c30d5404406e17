"""The stand-in holds to the rules: what breaks one of them is refused, so that passing it says something."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tests.frostfs.cluster import Cluster
from tests.frostfs.store import PRIVATE
from tests.frostfs.wire import Refused, canonical, check_request, pb, sign


def prepared(cluster: Cluster, payload: bytes = b"content", **changes: Any) -> tuple[bytes, Any, Any, bytes]:
    header = pb.Header(
        version=pb.Version(major=2, minor=14),
        container_id=pb.ID(value=cluster.container),
        owner_id=pb.ID(value=cluster.owner),
        creation_epoch=10,
        payload_length=len(payload),
        payload_hash=pb.Checksum(type=2, sum=hashlib.sha256(payload).digest()),
        attributes=[pb.Pair(key="FilePath", value="/object")],
    )
    for name, value in changes.items():
        setattr(header, name, value) if not hasattr(value, "DESCRIPTOR") else getattr(header, name).CopyFrom(value)
    object_id = hashlib.sha256(canonical(header)).digest()
    return object_id, sign(cluster.private, canonical(pb.ID(value=object_id))), header, payload


def resigned(cluster: Cluster, header: Any, payload: bytes = b"content") -> tuple[bytes, Any, Any, bytes]:
    object_id = hashlib.sha256(canonical(header)).digest()
    return object_id, sign(cluster.private, canonical(pb.ID(value=object_id))), header, payload


SPOILT: dict[str, Callable[[Cluster], tuple[bytes, Any, Any, bytes]]] = {
    "payload length": lambda c: prepared(c, payload_length=3),
    "payload hash": lambda c: prepared(c, payload_hash=pb.Checksum(type=2, sum=bytes(32))),
    "payload checksum": lambda c: prepared(c, payload_hash=pb.Checksum()),
    "owner": lambda c: prepared(c, owner_id=pb.ID(value=b"short")),
    "container": lambda c: prepared(c, container_id=pb.ID(value=bytes(32))),
    "creation epoch": lambda c: prepared(c, creation_epoch=11),
    "too large": lambda c: prepared(c, bytes(c.store.max_object_size + 1)),
    "id": lambda c: (bytes(32), *prepared(c)[1:]),
    "signature": lambda c: (prepared(c)[0], sign(c.private, b"other"), *prepared(c)[2:]),
    "signer": lambda c: (
        prepared(c)[0],
        sign(ec.generate_private_key(ec.SECP256R1()), canonical(pb.ID(value=prepared(c)[0]))),
        *prepared(c)[2:],
    ),
}


@pytest.mark.parametrize("rule", SPOILT)
def test_rules_for_objects(cluster: Cluster, rule: str) -> None:
    cluster.store.put(*prepared(cluster))
    with pytest.raises(Refused, match=f"invalid object: {rule}$"):
        cluster.store.put(*SPOILT[rule](cluster))


def test_rules_for_attributes_and_parents(cluster: Cluster) -> None:
    for pairs, rule in [
        ([("a", "1"), ("a", "2")], "duplicate attributes"),
        ([("a", "")], "empty attribute"),
        ([("__SYSTEM__EXPIRATION_EPOCH", "9")], "expired"),
        ([("a", "x" * 16 * 1024)], "header size"),
    ]:
        header = prepared(cluster)[2]
        header.attributes.extend(pb.Pair(key=key, value=value) for key, value in pairs)
        with pytest.raises(Refused, match=rule):
            cluster.store.put(*resigned(cluster, header))
    parent_id, signature, parent, _ = prepared(cluster, b"whole")
    header = prepared(cluster)[2]
    header.split.CopyFrom(
        pb.Split(
            parent=pb.ID(value=parent_id),
            parent_header=parent,
            parent_signature=signature,
            split_id=uuid.uuid4().bytes,
        )
    )
    header.split.parent_signature.sign = b"\4" + bytes(64)
    with pytest.raises(Refused, match="signature"):
        cluster.store.put(*resigned(cluster, header))


def test_what_was_removed_stays_removed(cluster: Cluster) -> None:
    made = prepared(cluster)
    cluster.store.put(*made)
    cluster.store.locked.add(made[0])
    with pytest.raises(Refused) as refused:
        cluster.store.delete(made[0], cluster.owner)
    assert refused.value.code == 2050
    cluster.store.locked.clear()
    cluster.store.delete(made[0], cluster.owner)
    for act in (lambda: cluster.store.put(*made), lambda: cluster.store.header(made[0])):
        with pytest.raises(Refused) as refused:
            act()
        assert refused.value.code == 2052


def test_signatures_of_requests(cluster: Cluster) -> None:
    def request() -> Any:
        made = pb.Request(body=b"", meta=pb.RequestMeta(ttl=2))
        made.verify.body_signature.CopyFrom(sign(cluster.private, b""))
        made.verify.meta_signature.CopyFrom(sign(cluster.private, canonical(made.meta)))
        made.verify.origin_signature.CopyFrom(sign(cluster.private, b""))
        return made

    check_request(request(), pb.Empty())
    for part in ("body_signature", "meta_signature", "origin_signature"):
        spoilt = request()
        getattr(spoilt.verify, part).CopyFrom(sign(cluster.private, b"other"))
        with pytest.raises(Refused):
            check_request(spoilt, pb.Empty())


def test_sessions_bind_verb_container_and_owner(cluster: Cluster) -> None:
    node, other = cluster.nodes[0], ec.generate_private_key(ec.SECP256R1())
    made = node._create_session(
        pb.SessionBody(owner_id=pb.ID(value=cluster.owner), expiration=12), cluster.owner, None
    )

    def token(key: Any = cluster.private, **changes: Any) -> Any:
        values = {"container": cluster.container, "verb": 5, "exp": 12, "session": made.id} | changes
        target = pb.Target(container=pb.ID(value=values["container"]))
        body = pb.TokenBody(
            id=values["session"],
            owner_id=pb.ID(value=cluster.owner),
            lifetime=pb.Lifetime(exp=values["exp"]),
            session_key=made.session_key,
            object=pb.ObjectContext(verb=values["verb"], target=target),
        )
        return pb.SessionToken(body=body, signature=sign(key, canonical(body)))

    def code(given: Any) -> int:
        try:
            node._check_session(given, cluster.container, 5)
        except Refused as refused:
            return refused.code
        return 0

    refused = [token(key=other), token(container=bytes(32)), token(verb=1), None]
    assert [code(each) for each in refused] == [2048] * 4
    assert [code(token()), code(token(session=uuid.uuid4().bytes)), code(token(exp=9))] == [0, 4096, 4097]
    cluster.store.epoch = 13
    assert code(token(exp=13)) == 4097


def test_access_rules() -> None:
    cluster = Cluster(nodes=0, basic_acl=PRIVATE)
    cluster.store.allow(cluster.container, cluster.owner, 0)
    for container, code in [(cluster.container, 2048), (bytes(32), 3072)]:
        with pytest.raises(Refused) as refused:
            cluster.store.allow(container, b"another", 0)
        assert refused.value.code == code
