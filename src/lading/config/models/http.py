"""`http`: where the registry listens, with which TLS, and what it adds to its answers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import ip_network
from typing import Annotated, Literal, get_args
from urllib.parse import urlsplit

from lading.config.models.section import Problem, Reads, Section, Then, option
from lading.config.models.values import Duration, Flag, Lists, Secret, Text, one_of
from lading.config.yaml import Scalar

_CBC = ["AES_128_CBC_SHA", "AES_256_CBC_SHA"]
_GCM = ["AES_128_GCM_SHA256", "AES_256_GCM_SHA384"]
CIPHER_SUITES = frozenset(
    [f"TLS_{cipher}" for cipher in [*_GCM, "CHACHA20_POLY1305_SHA256"]]
    + [f"TLS_RSA_WITH_{cipher}" for cipher in ["3DES_EDE_CBC_SHA", *_CBC, *_GCM]]
    + [f"TLS_ECDHE_ECDSA_WITH_{cipher}" for cipher in [*_CBC, *_GCM, "CHACHA20_POLY1305_SHA256"]]
    + [f"TLS_ECDHE_RSA_WITH_{c}" for c in ["3DES_EDE_CBC_SHA", *_CBC, *_GCM, "CHACHA20_POLY1305_SHA256"]]
)

_HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+", re.ASCII)
_HEADER_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]*")

MinimumTls = Literal["tls1.2", "tls1.3"]
ClientAuth = Literal[
    "request-client-cert",
    "require-any-client-cert",
    "verify-client-cert-if-given",
    "require-and-verify-client-cert",
]
Net = Literal["tcp", "unix"]

_UNKNOWN_MINIMUM = "unknown minimum TLS level '<x>' specified for http.tls.minimumtls"
_UNKNOWN_CLIENT_AUTH = f"invalid ClientAuth <x> Must be one of: {', '.join(get_args(ClientAuth))}"


def split_address(address: str) -> tuple[str, int]:
    """`host:port` as (host, port); no host is every interface. Raises `ValueError`."""
    host, colon, port = address.rpartition(":")
    if not colon or (":" in host and not (host.startswith("[") and host.endswith("]"))):
        raise ValueError("must be host:port, such as :5000 or [::1]:5000")
    if not (port.isascii() and port.isdigit()) or len(port) > 5 or int(port) > 65535:
        raise ValueError("the port must be a number from 0 to 65535")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _check_address(address: str) -> str:
    if address:
        split_address(address)
    return address


def _check_host(host: str) -> str:
    if not host.isascii():
        raise ValueError("must be ASCII; an international name goes in its xn-- form")
    try:
        _ = urlsplit(host).port
    except ValueError as error:
        # A text with a colon but no scheme (`myhost:5000`) has always been passed over in silence.
        if "://" in host:
            raise ValueError(f'could not parse http "host" parameter: {error}') from None
    return host


def _check_drain(seconds: float) -> float:
    if seconds < 0:
        raise ValueError("must not be negative")
    return seconds


def _permissions(data: object) -> int:
    """`0660`, in YAML a number in octal; from the environment or in quotes the same digits."""
    text = data.text if isinstance(data, Scalar) else f"{data:o}" if isinstance(data, int) else str(data)
    digits = text.removeprefix("0o")
    if not digits or set(digits) - set("01234567") or int(digits, 8) > 0o777:
        raise ValueError("must be permissions in octal, such as 0660")
    return int(digits, 8)


def _check_networks(names: list[str]) -> list[str]:
    for name in names:
        try:
            _ = name == "unix" or ip_network(name)
        except ValueError as error:
            raise ValueError(f"{error} (networks such as 10.0.0.0/8, addresses, and unix)") from None
    return names


def _check_prefix(prefix: str) -> str:
    if prefix and not prefix.startswith("/"):
        raise ValueError('must start with "/"')
    return prefix


class LetsEncrypt(Section):
    """`cachefile` switches ACME on; despite its name it is a directory."""

    cachefile: Text = ""
    email: Text = ""
    hosts: list[Text] = option(factory=list)
    directoryurl: Text = ""


class Tls(Section):
    """TLS is on with a certificate or with Let's Encrypt."""

    certificate: Text = ""
    key: Text = ""
    clientcas: list[Text] = option(factory=list)
    clientauth: Annotated[ClientAuth, one_of(ClientAuth, _UNKNOWN_CLIENT_AUTH)] = "require-and-verify-client-cert"
    """Of no effect without `clientcas`."""
    minimumtls: Annotated[
        MinimumTls, one_of(MinimumTls, f"{_UNKNOWN_MINIMUM} (allowed: tls1.2, tls1.3)", empty="tls1.2")
    ] = "tls1.2"
    ciphersuites: list[Text] = option(factory=list)
    """Names known to Go, unchecked with a minimum of TLS 1.3, where they cannot be chosen."""
    letsencrypt: LetsEncrypt = option(factory=LetsEncrypt)

    @property
    def enabled(self) -> bool:
        return bool(self.certificate or self.letsencrypt.cachefile)

    def complaints(self) -> Iterator[Problem]:
        for index, suite in enumerate(self.ciphersuites if self.minimumtls != "tls1.3" else ()):
            if suite not in CIPHER_SUITES:
                what = f"unknown TLS cipher suite '{suite}' specified for http.tls.cipherSuites"
                yield ("ciphersuites", index), f"{what} (allowed: {', '.join(sorted(CIPHER_SUITES))})"
        if self.certificate and self.letsencrypt.cachefile:
            yield (), "cannot specify both certificate and Let's Encrypt"
        if self.certificate and not self.key:
            yield (), "certificate is set, but not its key"


def _check_path(path: str) -> str:
    if not path.startswith("/") or path.startswith("/debug/"):
        raise ValueError('must start with "/", and not with "/debug/"')
    return path


class Prometheus(Section):
    enabled: Flag = False
    path: Annotated[Text, Then(_check_path)] = "/metrics"


class Debug(Section):
    """The debug listener; it is there when it has an address."""

    addr: Annotated[Text, Then(_check_address)] = ""
    prometheus: Prometheus = option(factory=Prometheus)


class Http2(Section):
    disabled: Flag = False


class H2c(Section):
    enabled: Flag = False


class Http(Section):
    """`host` without a scheme (`myhost:5000`) is of no effect. `trustedproxies` None is not the same as none."""

    net: Annotated[Net, one_of(Net, "unknown address type <x> (allowed: tcp, unix)", empty="tcp")] = "tcp"
    addr: Text = ""
    socketmode: Annotated[int, Reads(_permissions)] | None = None
    trustedproxies: Annotated[list[Text], Then(_check_networks)] | None = None
    host: Annotated[Text, Then(_check_host)] = ""
    prefix: Annotated[Text, Then(_check_prefix)] = ""
    secret: Secret = ""
    relativeurls: Flag = False
    draintimeout: Annotated[Duration, Then(_check_drain)] = 0.0
    tls: Tls = option(factory=Tls)
    headers: Lists[Text] = option(factory=dict)
    debug: Debug = option(factory=Debug)
    http2: Http2 = option(factory=Http2)
    h2c: H2c = option(factory=H2c)

    def complaints(self) -> Iterator[Problem]:
        if self.addr and self.net == "tcp":
            try:
                split_address(self.addr)
            except ValueError as error:
                yield ("addr",), str(error)
        for name, values in self.headers.items():
            if _HEADER_NAME.fullmatch(name) is None:
                yield ("headers", name), "is not the name of a header"
            for index, value in enumerate(values):
                if _HEADER_VALUE.fullmatch(value) is None:
                    yield ("headers", name, index), "has control characters"
