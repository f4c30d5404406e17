"""Chains of certificates that tokens carry (`x5c`, RFC 7515 section 4.1.6)."""

from __future__ import annotations

import base64
import binascii
import datetime

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from lading.auth.keys import PublicKey, algorithms_of

MAX_CERTIFICATES = 8


class ChainError(Exception):
    """The chain is malformed, or leads to no root. The text says which."""


def key_of(chain: object, roots: tuple[x509.Certificate, ...], now: float) -> PublicKey:
    """The key of the first certificate, if the chain leads to a root at `now`, seconds since 1970.

    Any key usage will do. Raises `ChainError`.
    """
    leaf, *intermediates = _parse(chain)
    moment = datetime.datetime.fromtimestamp(now, datetime.UTC)
    if not _is_root(leaf, roots, moment):
        _verify(leaf, intermediates, roots, moment)
    key = leaf.public_key()
    if not isinstance(key, PublicKey) or not algorithms_of(key):
        raise ChainError("the certificate's key is of a kind that signs no tokens")
    return key


def _parse(chain: object) -> list[x509.Certificate]:
    if not isinstance(chain, list) or not 0 < len(chain) <= MAX_CERTIFICATES:
        raise ChainError("x5c is not a list of certificates")
    try:
        return [x509.load_der_x509_certificate(base64.b64decode(text, validate=True)) for text in chain]
    except (binascii.Error, TypeError, ValueError):
        raise ChainError("x5c holds what is no certificate") from None


def _is_root(leaf: x509.Certificate, roots: tuple[x509.Certificate, ...], moment: datetime.datetime) -> bool:
    """Servers whose own certificate is the bundle are common."""
    return leaf in roots and leaf.not_valid_before_utc <= moment <= leaf.not_valid_after_utc


def _verify(
    leaf: x509.Certificate,
    intermediates: list[x509.Certificate],
    roots: tuple[x509.Certificate, ...],
    moment: datetime.datetime,
) -> None:
    if not roots:
        raise ChainError("there is no bundle of root certificates")
    authorities = ExtensionPolicy.permit_all().require_present(x509.BasicConstraints, Criticality.AGNOSTIC, None)
    verifier = (
        PolicyBuilder()
        .store(Store(list(roots)))
        .time(moment)
        .extension_policies(ca_policy=authorities, ee_policy=ExtensionPolicy.permit_all())
        .build_client_verifier()
    )
    try:
        verifier.verify(leaf, intermediates)
    except (VerificationError, UnsupportedAlgorithm, ValueError):
        raise ChainError("the certificates lead to no root of the bundle") from None
