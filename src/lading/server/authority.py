"""An authority that issues certificates by ACME (RFC 8555), with challenges answered in TLS (RFC 8737)."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import ssl
from collections.abc import Callable
from contextlib import AbstractContextManager

from acme import challenges, client, crypto_util, errors, messages
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from josepy.errors import Error as JoseError
from josepy.jwa import ES256, RS256
from josepy.jwk import JWK, JWKRSA
from requests.exceptions import RequestException

_ACME_IDENTIFIER = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31")
_CHALLENGE_LIFE = datetime.timedelta(days=1)

Presented = Callable[[str, bytes], AbstractContextManager[None]]
"""Serves a key with its certificate, in PEM, to who asks for a host by `acme-tls/1`, while it is open."""


class AuthorityError(Exception):
    """No certificate was had; the text says why, in one line."""


@challenges.ChallengeResponse.register
class _Response(challenges.KeyAuthorizationChallengeResponse):
    typ = "tls-alpn-01"


@challenges.Challenge.register
class _TlsAlpn01(challenges.KeyAuthorizationChallenge):
    """The library has it no more."""

    typ = "tls-alpn-01"
    response_cls = _Response

    def validation(self, account_key: JWK, **_: object) -> bytes:
        return hashlib.sha256(self.key_authorization(account_key).encode("ascii")).digest()


def new_key() -> bytes:
    """In the form that Distribution reads too."""
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )


def obtain(url: str, email: str, account: bytes, host: str, presented: Presented) -> bytes:
    """A new key and the certificate's chain, in PEM. `account` is a private key, of an account that may be new.

    Blocks for as long as the authority takes, minutes at most. Raises `AuthorityError`, `OSError`.
    """
    try:
        return _obtain(url, email, JWK.load(account), host, presented)
    except errors.ValidationError as error:
        raise AuthorityError(_line("; ".join(_failures(error)))) from error
    except errors.TimeoutError as error:
        raise AuthorityError("it has not decided in time") from error
    except (RequestException, errors.Error, JoseError, ValueError) as error:
        raise AuthorityError(_line(str(error) or type(error).__name__)) from error


def _obtain(url: str, email: str, account: JWK, host: str, presented: Presented) -> bytes:
    speaking = _registered(url, email, account)
    key = new_key()
    order = speaking.new_order(crypto_util.make_csr(key, [host]))
    with contextlib.ExitStack() as presenting:
        for authorization in order.authorizations:
            if authorization.body.status == messages.STATUS_VALID:
                continue
            found = [body for body in authorization.body.challenges if isinstance(body.chall, _TlsAlpn01)]
            if not found:
                raise AuthorityError("it does not offer the challenge tls-alpn-01")
            challenge = found[0].chall
            presenting.enter_context(presented(host, _challenge_pair(host, challenge.validation(account))))
            speaking.answer_challenge(found[0], challenge.response(account))
        return key + speaking.poll_and_finalize(order).fullchain_pem.encode("ascii")


def _registered(url: str, email: str, account: JWK) -> client.ClientV2:
    algorithm = RS256 if isinstance(account, JWKRSA) else ES256
    network = client.ClientNetwork(account, alg=algorithm, user_agent="lading")
    # What the system trusts, as for every other program, and not a list that comes with a library.
    paths = ssl.get_default_verify_paths()
    network.verify_ssl = paths.cafile or paths.capath or True  # type: ignore[assignment]
    speaking = client.ClientV2(client.ClientV2.get_directory(url, network), network)
    wanted = messages.NewRegistration.from_data(email=email or None, terms_of_service_agreed=True)
    try:
        speaking.new_account(wanted)
    except errors.ConflictError as error:
        network.account = messages.RegistrationResource(uri=error.location, body=messages.Registration())
    return speaking


def _challenge_pair(host: str, validation: bytes) -> bytes:
    key = new_key()
    private = serialization.load_pem_private_key(key, None)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "ACME challenge")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(issuer_name=name, subject_name=name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CHALLENGE_LIFE)
        .not_valid_after(now + _CHALLENGE_LIFE)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        # The digest as an OCTET STRING in DER.
        .add_extension(x509.UnrecognizedExtension(_ACME_IDENTIFIER, b"\x04\x20" + validation), critical=True)
        .sign(private, hashes.SHA256())
    )
    return key + made.public_bytes(serialization.Encoding.PEM)


def _failures(error: errors.ValidationError) -> list[str]:
    found = [
        body.error for each in error.failed_authzrs for body in each.body.challenges if body.error is not None
    ]
    return [str(problem.detail or problem) for problem in found]


def _line(text: str) -> str:
    return " ".join(text.split())
