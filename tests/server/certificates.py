"""An authority for tests, and the files a listener is given."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

import trustme

from lading.server.listener import Tls


@dataclass
class Authority:
    folder: Path

    def __post_init__(self) -> None:
        self.ca = trustme.CA()
        self.folder.mkdir(exist_ok=True)
        self.file = self.folder / "ca.pem"
        self.ca.cert_pem.write_to_path(str(self.file))

    def issue(self, name: str = "server", *identities: str, key: trustme.KeyType = trustme.KeyType.ECDSA) -> Tls:
        """Writes over what has that name already."""
        issued = self.ca.issue_cert(*(identities or ("127.0.0.1", "localhost")), key_type=key)
        chain, key_file = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        chain.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        key_file.write_bytes(issued.private_key_pem.bytes())
        return Tls(str(chain), str(key_file))

    def client(self, presenting: Tls | None = None) -> ssl.SSLContext:
        """A context that believes this authority, with a certificate of its own or without."""
        context = ssl.create_default_context(cafile=str(self.file))
        if presenting is not None:
            context.load_cert_chain(presenting.certificate, presenting.key)
        return context
