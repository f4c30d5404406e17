"""Who imports the client gets a client, and nothing of a server."""

from __future__ import annotations

import subprocess
import sys

ALLOWED = {"client", "oci"}


def imported(statement: str) -> set[str]:
    program = f"import sys; {statement}; print('\\n'.join(sys.modules))"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    return set(run.stdout.split())


def test_the_client_imports_nothing_of_the_server() -> None:
    found = imported("import lading.client, lading.client.sync, lading.client.files")
    assert "lading.client" in found
    ours = {name.split(".")[1] for name in found if name.startswith("lading.")}
    assert ours == ALLOWED
    servers = {"uvloop", "httptools", "h2", "bcrypt", "yaml", "jwt", "cryptography", "prometheus_client", "shtab"}
    assert found & (servers | {"aiohttp.web"}) == set()


def test_the_command_line_imports_no_client() -> None:
    assert not [name for name in imported("import lading.cli") if name.startswith(("lading.client", "aiohttp"))]
