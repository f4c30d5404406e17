"""The conformance program for HTTP/2."""

from __future__ import annotations

import asyncio
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from tests.server.certificates import Authority
from tests.server.serving import serving
from tests.servers.peers import executable

from lading.server.listener import Listener

pytestmark = [pytest.mark.peer, pytest.mark.slow, pytest.mark.timeout(240)]

NO_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd]|&#x?[0-9a-fA-F]+;")

PREMISES = {
    # Without TLS, what does not begin as HTTP/2 is answered as HTTP/1.1.
    "Sends invalid connection preface": "plain",
    # Its head of 20 kB is larger than the default frame, and not than those that are taken here.
    "Sends a large size HEADERS frame that exceeds the SETTINGS_MAX_FRAME_SIZE": "both",
}


@pytest.mark.parametrize("kind", ["plain", "tls"])
async def test_h2spec(tmp_path: Path, authority: Authority, kind: str) -> None:
    program = executable("h2spec")
    tls = None
    if kind == "tls":
        protocols = authority.issue()
        tls = type(protocols)(protocols.certificate, protocols.key, protocols=("h2", "http/1.1"))
    async with serving(Listener(http2=True, tls=tls)) as running:
        report = tmp_path / "report.xml"
        options = ["-h", "127.0.0.1", "-p", str(running.port), "-o", "5", "-j", str(report)]
        secure = ["-t", "-k"] if tls else []
        expected = {name for name, where in PREMISES.items() if where in (kind, "both")}
        # It waits for answers for some seconds: on a busy machine one may come too late, but not always.
        for _ in range(3):
            process = await asyncio.create_subprocess_exec(
                program, *options, *secure, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
            )
            await asyncio.wait_for(process.wait(), 100)
            # What it received instead of what it wanted it writes down as it came.
            told = NO_XML.sub("?", report.read_text(errors="replace"))
            cases = list(ET.fromstring(told).iter("testcase"))
            assert len(cases) > 140
            failed = {case.get("classname", ""): " ".join(case.itertext()) for case in cases if len(case)}
            if failed.keys() <= expected:
                break
    assert failed.keys() <= expected, failed
