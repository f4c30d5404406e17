"""A stand-in for nodes of FrostFS: the protocol and its rules, without a chain, in memory.

What passes here has been understood as the public descriptions have it. It proves nothing about a real node.
"""

from __future__ import annotations

import contextlib
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from cryptography.hazmat.primitives.asymmetric import ec
from tests.frostfs.maker import Maker
from tests.frostfs.store import DELETE, GET, HEAD, PUT, RANGE, SEARCH, Store
from tests.frostfs.wire import Refused, canonical, check_request, owner_of, pb, public_bytes, sign, valid

LEGACY, NEW = "neo.fs.v2.", "frost.fs."
CHUNK = 3 * 1024 * 1024
MAGIC = 15405
DELETE_VERB = 5
NO_STATUS = -1
"""Of a refusal that who asked can only be told by gRPC."""
VERSION = pb.Version(major=2, minor=14)

Call = Callable[..., Any]


class Node:
    """`begin` on a port of its own; `end` and `begin` again is a restart, which forgets sessions."""

    def __init__(self, store: Store, prefixes: tuple[str, ...] = (LEGACY,), *, signs: bool = True) -> None:
        self.store = store
        self.prefixes = prefixes
        self.signs = signs
        self.port = 0
        self.requests: Counter[str] = Counter()
        self.heard: list[tuple[str, bytes]] = []
        """Requests as they came, with the kinds of their bodies; those of a stream one by one."""
        self.broken: Counter[str] = Counter()
        """How many of the next streams of a kind (`Get`, `GetRange`, `Put`) break off in the middle."""
        self.maintenance = False
        self.delay = 0.0
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._sessions: dict[bytes, tuple[Any, bytes, int]] = {}
        """By their ids: the private key, the owner, the last epoch."""
        self._server: grpc.Server | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def begin(self, credentials: grpc.ServerCredentials | None = None) -> Node:
        self._sessions.clear()
        options = [("grpc.max_receive_message_length", 4 * 1024 * 1024), ("grpc.so_reuseport", 0)]
        self._server = grpc.server(ThreadPoolExecutor(24), options=options)
        for prefix in self.prefixes:
            for service, methods in self._services().items():
                handlers = {name: self._handler(name, *each) for name, each in methods.items()}
                handler = grpc.method_handlers_generic_handler(f"{prefix}{service}", handlers)
                self._server.add_generic_rpc_handlers((handler,))
        deadline = time.monotonic() + 10
        while True:
            try:
                where = f"127.0.0.1:{self.port}"
                if credentials is None:
                    self.port = self._server.add_insecure_port(where)
                else:
                    self.port = self._server.add_secure_port(where, credentials)
                break
            except RuntimeError:
                assert time.monotonic() < deadline
                time.sleep(0.02)
        self._server.start()
        return self

    def end(self) -> None:
        if self._server is not None:
            self._server.stop(None).wait(10)
            self._server = None

    def forget_sessions(self) -> None:
        self._sessions.clear()

    def _services(self) -> dict[str, dict[str, tuple[Any, Call, int, bool]]]:
        return {
            "netmap.NetmapService": {
                "LocalNodeInfo": (pb.Empty, self._local, -1, False),
                "NetworkInfo": (pb.Empty, self._network, -1, False),
            },
            "session.SessionService": {"Create": (pb.SessionBody, self._create_session, -1, False)},
            "container.ContainerService": {"Get": (pb.ContainerBody, self._container, -1, False)},
            "object.ObjectService": {
                "Get": (pb.GetBody, self._get, GET, True),
                "Put": (pb.PutBody, self._put, PUT, False),
                "Delete": (pb.DeleteBody, self._delete, DELETE, False),
                "Head": (pb.HeadBody, self._head, HEAD, False),
                "Search": (pb.SearchBody, self._search, SEARCH, True),
                "GetRange": (pb.RangeBody, self._range, RANGE, True),
            },
        }

    def _handler(self, name: str, kind: Any, act: Call, operation: int, streams: bool) -> grpc.RpcMethodHandler:
        def one(raw: bytes, context: Any) -> bytes:
            with self._counted(name):
                try:
                    return self._answer(act(*self._accept(raw, kind, operation)))
                except Refused as refused:
                    return self._refusal(refused, context)

        def many(raw: bytes, context: Any) -> Iterator[bytes]:
            with self._counted(name):
                breaking = self._breaks(name)
                try:
                    for number, body in enumerate(act(*self._accept(raw, kind, operation))):
                        yield self._answer(body)
                        if breaking and number:
                            context.abort(grpc.StatusCode.UNAVAILABLE, "the connection broke")
                except Refused as refused:
                    yield self._refusal(refused, context)

        def put(requests: Iterator[bytes], context: Any) -> bytes:
            with self._counted(name):
                breaking = self._breaks(name)
                try:
                    bodies = []
                    for raw in requests:
                        bodies.append(self._accept(raw, kind, operation))
                        if breaking:
                            context.abort(grpc.StatusCode.UNAVAILABLE, "the connection broke")
                    return self._answer(self._put(bodies))
                except Refused as refused:
                    return self._refusal(refused, context)

        if name == "Put":
            return grpc.stream_unary_rpc_method_handler(put)
        return grpc.unary_stream_rpc_method_handler(many) if streams else grpc.unary_unary_rpc_method_handler(one)

    def _counted(self, name: str) -> Any:
        self.requests[name] += 1
        if self.delay:
            time.sleep(self.delay)
        return contextlib.nullcontext()

    def _breaks(self, name: str) -> bool:
        self.broken[name] -= 1
        return self.broken[name] >= 0

    def _accept(self, raw: bytes, kind: Any, operation: int) -> tuple[Any, bytes, Any]:
        """The body, whose request it is, and the session it comes in."""
        self.heard.append((kind.DESCRIPTOR.name, raw))
        request = pb.Request.FromString(raw)
        body = kind.FromString(request.body)
        if (request.meta.version.major, request.meta.version.minor) < (2, 11):
            raise Refused(NO_STATUS, "statuses are not understood")
        if not request.meta.ttl:
            raise Refused(1024, "ttl is zero")
        if request.meta.magic_number not in (0, MAGIC):
            raise Refused(1025, "wrong magic")
        check_request(request, body)
        if self.maintenance and operation >= 0:
            raise Refused(1027, "node under maintenance")
        signer = owner_of(request.verify.body_signature.key)
        token = request.meta.session_token if request.meta.HasField("session_token") else None
        who = signer if token is None else token.body.owner_id.value
        if operation >= 0 and operation != PUT:
            address = getattr(body, "address", None)
            container = body.container_id.value if address is None else address.container_id.value
            self.store.allow(container, who, operation)
        return body, who, token

    def _answer(self, body: Any) -> bytes:
        return self._response(body, self._meta())

    def _refusal(self, refused: Refused, context: Any) -> bytes:
        if refused.code == NO_STATUS:
            context.abort(grpc.StatusCode.UNKNOWN, str(refused))
        status = pb.Status(code=refused.code, message=str(refused))
        return self._response(None, self._meta(status))

    def _meta(self, status: Any = None) -> Any:
        return pb.ResponseMeta(version=VERSION, epoch=self.store.epoch, ttl=1, status=status)

    def _response(self, body: Any, meta: Any) -> bytes:
        answer = pb.Response(meta=meta)
        if body is not None:
            answer.body = canonical(body)
        if self.signs:
            answer.verify.body_signature.CopyFrom(sign(self._key, answer.body))
            answer.verify.meta_signature.CopyFrom(sign(self._key, canonical(meta)))
            answer.verify.origin_signature.CopyFrom(sign(self._key, b""))
        return canonical(answer)

    def _local(self, body: Any, who: bytes, token: Any) -> Any:
        info = pb.NodeInfo(public_key=public_bytes(self._key), addresses=[self.address], state=1)
        return pb.NodeAnswer(version=VERSION, node_info=info)

    def _network(self, body: Any, who: bytes, token: Any) -> Any:
        size = self.store.max_object_size
        value = size.to_bytes((size.bit_length() + 7) // 8, "little")
        sizes = {b"EpochDuration": b"\xf0", b"MaxObjectSize": value}
        parameters = [pb.Parameter(key=key, value=value) for key, value in sizes.items()]
        config = pb.NetworkConfig(parameters=parameters)
        info = pb.NetworkInfo(current_epoch=self.store.epoch, magic_number=MAGIC, network_config=config)
        return pb.NetworkAnswer(network_info=info)

    def _create_session(self, body: Any, who: bytes, token: Any) -> Any:
        if body.owner_id.value != who or body.expiration < self.store.epoch:
            raise Refused(1024, "session of another, or in the past")
        session, key = uuid.uuid4().bytes, ec.generate_private_key(ec.SECP256R1())
        self._sessions[session] = key, who, body.expiration
        return pb.SessionAnswer(id=session, session_key=public_bytes(key))

    def _check_session(self, token: Any, container: bytes, *verbs: int) -> Any:
        """The private key of the session."""
        if token is None:
            raise Refused(2048, "no session: the node is not in the container")
        body = token.body
        session = self._sessions.get(body.id)
        if session is None:
            raise Refused(4096, "session token not found")
        if body.lifetime.exp < self.store.epoch or session[2] < self.store.epoch:
            raise Refused(4097, "session token expired")
        kept = (
            uuid.UUID(bytes=body.id).version == 4
            and body.session_key == public_bytes(session[0])
            and body.owner_id.value == session[1]
            and body.object.verb in verbs
            and body.object.target.container.value == container
            and max(body.lifetime.nbf, body.lifetime.iat) <= self.store.epoch
            and valid(token.signature, canonical(body))
            and owner_of(token.signature.key) == body.owner_id.value
        )
        if not kept:
            raise Refused(2048, "session does not allow it")
        return session[0]

    def _container(self, body: Any, who: bytes, token: Any) -> Any:
        found = self.store.containers.get(body.container_id.value)
        if found is None:
            raise Refused(3072, "container not found")
        return pb.ContainerAnswer(container=found)

    def _head(self, body: Any, who: bytes, token: Any) -> Any:
        object_id = body.address.object_id.value
        header = self.store.header(object_id)
        if body.raw and object_id in self.store.parents:
            return pb.HeadAnswer(split_info=self.store.split_info(object_id))
        if body.main_only:
            kept = {field.name for field in pb.ShortHeader.DESCRIPTOR.fields}
            short = {field.name: value for field, value in header.ListFields() if field.name in kept}
            return pb.HeadAnswer(short_header=pb.ShortHeader(**short))
        signature = self.store.signatures.get(object_id)
        return pb.HeadAnswer(header=pb.HeaderWithSignature(header=header, signature=signature))

    def _get(self, body: Any, who: bytes, token: Any) -> Iterator[Any]:
        object_id = body.address.object_id.value
        header = self.store.header(object_id)
        if body.raw and object_id in self.store.parents:
            yield pb.GetAnswer(split_info=self.store.split_info(object_id))
            return
        payload, signature = self.store.payload(object_id), self.store.signatures.get(object_id)
        yield pb.GetAnswer(init=pb.Init(object_id=pb.ID(value=object_id), signature=signature, header=header))
        for start in range(0, len(payload), CHUNK):
            yield pb.GetAnswer(chunk=payload[start : start + CHUNK])

    def _range(self, body: Any, who: bytes, token: Any) -> Iterator[Any]:
        object_id = body.address.object_id.value
        if body.raw and object_id in self.store.parents:
            self.store.header(object_id)
            yield pb.RangeAnswer(split_info=self.store.split_info(object_id))
            return
        payload = self.store.payload(object_id)
        start, length = body.range.offset, body.range.length
        if not length:
            raise Refused(1024, "zero range length")
        if start + length > len(payload):
            raise Refused(2053, "out of range")
        piece = CHUNK if not self.broken["GetRange"] >= 0 else 1024
        for at in range(start, start + length, piece):
            yield pb.RangeAnswer(chunk=payload[at : min(at + piece, start + length)])

    def _search(self, body: Any, who: bytes, token: Any) -> Iterator[Any]:
        if body.version != 1:
            raise Refused(1024, "unsupported query version")
        found = self.store.search(body.container_id.value, body.filters)
        for start in range(0, len(found), 100):
            yield pb.SearchAnswer(id_list=[pb.ID(value=each) for each in found[start : start + 100]])

    def _delete(self, body: Any, who: bytes, token: Any) -> Any:
        container = body.address.container_id.value
        self._check_session(token, container, DELETE_VERB)
        tombstone = self.store.delete(body.address.object_id.value, who)
        made = pb.Address(container_id=pb.ID(value=container), object_id=pb.ID(value=tombstone))
        return pb.DeleteAnswer(tombstone=made)

    def _put(self, bodies: list[tuple[Any, bytes, Any]]) -> Any:
        init, who, token = bodies[0]
        kinds = [body.WhichOneof("part") for body, _, _ in bodies]
        if kinds[0] != "init" or "init" in kinds[1:]:
            raise Refused(1024, "init first, and once")
        container = init.init.header.container_id.value
        self.store.allow(container, who, PUT)
        payload = b"".join(body.chunk for body, _, _ in bodies[1:])
        if init.init.HasField("signature"):
            self.store.put(init.init.object_id.value, init.init.signature, init.init.header, payload)
            return pb.PutAnswer(object_id=init.init.object_id)
        maker = Maker(self.store, self._check_session(token, container, 1, DELETE_VERB), token)
        return pb.PutAnswer(object_id=pb.ID(value=maker.make(init.init.header, payload)))
