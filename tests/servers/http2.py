"""An HTTP/2 client that says exactly what a test wants said, one request at a time on a connection."""

from __future__ import annotations

import socket
from collections.abc import Iterable

import h2.config
import h2.connection
import h2.events
from tests.servers.certificate import Certificate

SECONDS = 30.0
Headers = list[tuple[str, str]]


class Http2:
    """With a `certificate` over TLS, else in the clear, with prior knowledge."""

    def __init__(self, host: str, certificate: Certificate | None = None) -> None:
        address, _, port = host.rpartition(":")
        self.socket = socket.create_connection((address, int(port)), SECONDS)
        if certificate is not None:
            self.socket = certificate.trusting_http2().wrap_socket(self.socket, server_hostname=address)
            assert self.socket.selected_alpn_protocol() == "h2"
        self.scheme = "http" if certificate is None else "https"
        config = h2.config.H2Configuration(
            header_encoding="latin-1", validate_outbound_headers=False, normalize_outbound_headers=False
        )
        self.connection = h2.connection.H2Connection(config)
        self.connection.initiate_connection()
        self.flush()

    def __enter__(self) -> Http2:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def flush(self) -> None:
        self.socket.sendall(self.connection.data_to_send())

    def open(self, method: str, target: str, authority: str, headers: Iterable[tuple[str, str]], end: bool) -> int:
        """Returns the stream; with `end` it has no body."""
        stream: int = self.connection.get_next_available_stream_id()
        pseudo = [(":method", method), (":scheme", self.scheme), (":authority", authority), (":path", target)]
        self.connection.send_headers(stream, pseudo + list(headers), end_stream=end)
        self.flush()
        return stream

    def request(
        self, method: str, target: str, authority: str, headers: Iterable[tuple[str, str]] = (), body: bytes = b""
    ) -> tuple[int, Headers, bytes]:
        """The status, the headers and the body of the answer."""
        stream = self.open(method, target, authority, headers, end=not body)
        answer = _Arriving(stream)
        self._send_body(stream, body, answer)
        while not answer.complete:
            self._receive(answer)
        return answer.status, answer.headers, bytes(answer.body)

    def _send_body(self, stream: int, body: bytes, answer: _Arriving) -> None:
        """As the server's windows allow; not to the end if it answers first."""
        left = memoryview(body)
        while left and not answer.complete:
            window = self.connection.local_flow_control_window(stream)
            size = min(window, self.connection.max_outbound_frame_size, len(left))
            if size == 0:
                self._receive(answer)
                continue
            self.connection.send_data(stream, bytes(left[:size]), end_stream=size == len(left))
            left = left[size:]
            self.flush()

    def _receive(self, answer: _Arriving) -> None:
        for event in self.events():
            answer.take(event)
            if isinstance(event, h2.events.DataReceived) and event.flow_controlled_length:
                self.connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        self.flush()

    def events(self) -> list[h2.events.Event]:
        """What the server says next. Raises ConnectionResetError when it has closed."""
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionResetError("the server has closed the connection")
        return list(self.connection.receive_data(data))


class _Arriving:
    """The answer on one stream."""

    def __init__(self, stream: int) -> None:
        self.status = 0
        self.headers: Headers = []
        self.body = bytearray()
        self.complete = False
        self._stream = stream

    def take(self, event: h2.events.Event) -> None:
        if getattr(event, "stream_id", None) != self._stream:
            return
        if isinstance(event, h2.events.ResponseReceived):
            lines = [(str(name), str(value)) for name, value in event.headers or []]
            self.status = int(dict(lines)[":status"])
            self.headers = [line for line in lines if line[0] != ":status"]
        elif isinstance(event, h2.events.DataReceived):
            self.body += event.data or b""
        elif isinstance(event, h2.events.StreamReset):
            if not self.status:
                raise ConnectionResetError(f"the stream was reset: {event.error_code}")
            self.complete = True
        elif isinstance(event, h2.events.StreamEnded):
            self.complete = True
