"""A token server that shares no code with Lading: what the specification says, and one user."""

from __future__ import annotations

import base64
import contextlib
import json
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from tests.auth import tokens

USER, PASSWORD = "user", "secret"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    key: tokens.PrivateKey

    def do_GET(self) -> None:
        if self.path == "/keys":
            self._reply(200, json.loads(tokens.jwks(tokens.jwk(self.key, "independent"))))
            return
        query = parse_qs(urlsplit(self.path).query)
        scheme, _, text = (self.headers["Authorization"] or "").partition(" ")
        right = scheme == "Basic" and base64.b64decode(text).decode() == f"{USER}:{PASSWORD}"
        self._grant(right, query)

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        right = form.get("username") == [USER] and form.get("password") == [PASSWORD]
        self._grant(right, form)

    def _grant(self, right: bool, asked: dict[str, list[str]]) -> None:
        if not right:
            self._reply(401, {"errors": [{"code": "UNAUTHORIZED", "message": "no"}]})
            return
        access = []
        for scope in " ".join(asked.get("scope", [])).split():
            kind, _, rest = scope.partition(":")
            name, _, actions = rest.rpartition(":")
            access.append({"type": kind, "name": name, "actions": actions.split(",")})
        body = tokens.claims(aud=asked["service"][0], sub=USER) | {"access": access}
        text = tokens.token(self.key, body, kid="independent")
        self._reply(200, {"token": text, "access_token": text, "expires_in": 300})

    def _reply(self, status: int, document: object) -> None:
        data = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextlib.contextmanager
def running(certificate: Path | None = None, key: Path | None = None) -> Iterator[tuple[str, tokens.PrivateKey]]:
    """The address of the server, with TLS if there is a certificate, and the key it signs with."""
    signing = tokens.ec_key()
    handler = type("Handler", (_Handler,), {"key": signing})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    scheme = "http" if certificate is None else "https"
    try:
        yield f"{scheme}://localhost:{server.server_address[1]}", signing
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
