from __future__ import annotations

import asyncio
import logging
import ssl
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import trustme
from tests.server.certificates import Authority
from tests.server.serving import Answer, Serving, ask, serving

from lading.server import tls
from lading.server.certificates import Certificates
from lading.server.listener import Listener, ServerError, Tls

VERSIONS = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}


async def get(running: Serving, context: ssl.SSLContext | None, head: str = "") -> Answer:
    return await asyncio.to_thread(ask, running.port, context, head)


@pytest.mark.parametrize("offered", VERSIONS)
@pytest.mark.parametrize("minimum", ["tls1.2", "tls1.3"])
async def test_versions(authority: Authority, minimum: str, offered: str) -> None:
    context = authority.client()
    context.maximum_version = VERSIONS[offered]
    async with serving(Listener(tls=replace(authority.issue(), minimum=minimum))) as running:
        if minimum == "tls1.3" and offered == "TLSv1.2":
            with pytest.raises(ssl.SSLError):
                await get(running, context)
        else:
            assert (await get(running, context)).version == offered


@pytest.mark.parametrize(
    ("suite", "name", "key"),
    [
        ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384", trustme.KeyType.ECDSA),
        ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305", trustme.KeyType.ECDSA),
        ("TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA", "ECDHE-ECDSA-AES128-SHA", trustme.KeyType.ECDSA),
        ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256", trustme.KeyType.RSA),
        ("TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA", "ECDHE-RSA-AES256-SHA", trustme.KeyType.RSA),
        ("TLS_RSA_WITH_AES_128_GCM_SHA256", "AES128-GCM-SHA256", trustme.KeyType.RSA),
        ("TLS_RSA_WITH_AES_256_CBC_SHA", "AES256-SHA", trustme.KeyType.RSA),
    ],
)
async def test_cipher_suites(authority: Authority, suite: str, name: str, key: trustme.KeyType) -> None:
    context = authority.client()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ALL")
    async with serving(Listener(tls=replace(authority.issue(key=key), cipher_suites=(suite,)))) as running:
        assert (await get(running, context)).cipher == name
        context.set_ciphers(f"ALL:!{name}")
        with pytest.raises(ssl.SSLError):
            await get(running, context)


async def test_by_default_a_forward_secret_cipher_is_chosen(authority: Authority) -> None:
    context = authority.client()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with serving(Listener(tls=authority.issue())) as running:
        assert (await get(running, context)).cipher == "ECDHE-ECDSA-AES256-GCM-SHA384"
        context.set_ciphers("AES128-SHA")
        with pytest.raises(ssl.SSLError):
            await get(running, context)


async def test_suites_of_tls_1_3_alone_leave_no_older_version(authority: Authority) -> None:
    context = authority.client()
    settings = replace(authority.issue(), cipher_suites=("TLS_AES_128_GCM_SHA256",))
    async with serving(Listener(tls=settings)) as running:
        assert (await get(running, context)).version == "TLSv1.3"
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises(ssl.SSLError):
            await get(running, context)


def test_a_suite_that_openssl_does_not_have(authority: Authority) -> None:
    settings = replace(authority.issue(), cipher_suites=("TLS_RSA_WITH_3DES_EDE_CBC_SHA",))
    with pytest.raises(ServerError, match=r"^http\.tls\.ciphersuites: OpenSSL .* TLS_RSA_WITH_3DES_EDE_CBC_SHA$"):
        tls.bare_context(settings)


REQUIRED = {"require-any-client-cert", "require-and-verify-client-cert"}
VERIFIED = {"verify-client-cert-if-given", "require-and-verify-client-cert"}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("given", ["none", "ours", "second", "strange"])
@pytest.mark.parametrize("mode", sorted(REQUIRED | VERIFIED | {"request-client-cert"}))
async def test_client_certificates(
    tmp_path: Path, authority: Authority, mode: str, given: str, version: str
) -> None:
    second, strange = Authority(tmp_path / "second"), Authority(tmp_path / "strange")
    issuers = {"ours": authority, "second": second, "strange": strange}
    context = authority.client(issuers[given].issue("client", "me") if given in issuers else None)
    context.maximum_version = VERSIONS[version]
    settings = replace(authority.issue(), client_cas=(str(authority.file), str(second.file)), client_auth=mode)
    refused = (given == "none" and mode in REQUIRED) or (given == "strange" and mode in VERIFIED)
    async with serving(Listener(tls=settings)) as running:
        if refused:
            with pytest.raises(OSError, match=r"."):
                await get(running, context)
        else:
            assert "200 OK" in (await get(running, context)).text


async def test_an_authority_need_not_be_a_root(tmp_path: Path, authority: Authority) -> None:
    below = authority.ca.create_child_ca()
    pool = tmp_path / "below.pem"
    below.cert_pem.write_to_path(str(pool))
    issued = below.issue_cert("me")
    client = Tls(str(tmp_path / "me.pem"), str(tmp_path / "me.key"))
    issued.cert_chain_pems[0].write_to_path(client.certificate)
    issued.private_key_pem.write_to_path(client.key)
    settings = replace(authority.issue(), client_cas=(str(pool),))
    async with serving(Listener(tls=settings)) as running:
        assert "200 OK" in (await get(running, authority.client(client))).text


async def test_a_chain_is_sent(tmp_path: Path, authority: Authority) -> None:
    issued = authority.ca.create_child_ca().issue_cert("localhost")
    settings = Tls(str(tmp_path / "chain.pem"), str(tmp_path / "chain.key"))
    Path(settings.certificate).write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(settings.key)
    async with serving(Listener(tls=settings)) as running:
        assert "200 OK" in (await get(running, authority.client())).text


def broken(authority: Authority, what: str) -> Tls:
    settings = authority.issue()
    other = authority.issue("other")
    match what:
        case "encrypted":
            command = ["openssl", "pkcs8", "-topk8", "-in", settings.key, "-out", other.key, "-passout", "pass:x"]
            subprocess.run(command, check=True, capture_output=True)
            return replace(settings, key=other.key)
        case "mismatched":
            return replace(settings, key=other.key)
        case "missing":
            return replace(settings, certificate="/nowhere.pem")
        case "not-pem":
            Path(other.certificate).write_bytes(b"hello")
            return replace(settings, certificate=other.certificate)
        case "no-authority":
            return replace(settings, client_cas=(str(authority.file), settings.key))
    raise AssertionError(what)


@pytest.mark.parametrize(
    ("what", "line"),
    [
        ("encrypted", r"http\.tls\.key: \S+other\.key: the key is encrypted, and there is nobody to ask for it"),
        ("mismatched", r"http\.tls: cannot use .* the key does not belong to the certificate"),
        ("missing", r"http\.tls\.certificate: cannot read /nowhere\.pem: No such file or directory"),
        ("not-pem", r"http\.tls: cannot use the certificate \S+other\.pem with .*: it is not PEM, or not whole"),
        ("no-authority", r"http\.tls\.clientcas: could not add CA to pool: \S+: there is no certificate in it"),
    ],
)
def test_files_that_cannot_be_used(authority: Authority, what: str, line: str) -> None:
    with pytest.raises(ServerError, match=f"^{line}$"):
        Certificates(broken(authority, what))


class TestRenewal:
    async def test_new_connections_get_the_new_one(self, authority: Authority) -> None:
        async with serving(Listener(tls=authority.issue())) as running:
            assert running.certificates is not None
            before = await get(running, authority.client())
            authority.issue(key=trustme.KeyType.RSA)
            running.certificates.look()
            after = await get(running, authority.client())
            assert before.serial != after.serial
            assert (await get(running, authority.client())).serial == after.serial

    async def test_old_connections_stay(self, authority: Authority) -> None:
        async with serving(Listener(tls=authority.issue())) as running:
            assert running.certificates is not None
            client = authority.client()
            reader, writer = await asyncio.open_connection("127.0.0.1", running.port, ssl=client)
            authority.issue()
            running.certificates.reload()
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
            writer.close()

    def test_half_a_renewal_is_not_taken_nor_complained_about_at_once(
        self, authority: Authority, caplog: pytest.LogCaptureFixture
    ) -> None:
        settings = authority.issue()
        certificates = Certificates(settings)
        before, key = certificates.context, Path(settings.key).read_bytes()
        authority.issue()
        new_key = Path(settings.key).read_bytes()
        Path(settings.key).write_bytes(key)
        certificates.look()
        assert (certificates.context, caplog.records) == (before, [])
        Path(settings.key).write_bytes(new_key)
        certificates.look()
        assert certificates.context is not before
        assert [r for r in caplog.records if r.levelno >= logging.ERROR] == []

    def test_a_broken_pair_is_told_once(self, authority: Authority, caplog: pytest.LogCaptureFixture) -> None:
        settings = authority.issue()
        certificates = Certificates(settings)
        before = certificates.context
        Path(settings.key).write_bytes(b"hello")
        for _ in range(5):
            certificates.look()
        Path(settings.key).unlink()
        for _ in range(5):
            certificates.look()
        assert certificates.context is before
        first, second = [record.getMessage() for record in caplog.records]
        assert first.startswith("http.tls: cannot use the certificate ")
        assert second.startswith("http.tls.key: cannot read ")
        assert second.endswith("; the certificate in use stays")

    def test_asked_to_it_says_at_once(self, authority: Authority, caplog: pytest.LogCaptureFixture) -> None:
        settings = authority.issue()
        certificates = Certificates(settings)
        Path(settings.key).write_bytes(b"hello")
        certificates.reload()
        assert len(caplog.records) == 1

    def test_what_has_not_changed_is_not_made_anew(self, authority: Authority) -> None:
        settings = authority.issue()
        certificates = Certificates(settings)
        before = certificates.context
        Path(settings.key).touch()
        certificates.reload()
        assert certificates.context is before
