"""The options of drivers, access controllers and middleware that are known by name.

They stay untyped until the adapter reads them; but knowing which are text, and which names hold `_`, lets
environment variables reach them.
"""

from __future__ import annotations

from dataclasses import replace

from lading.config.kinds import Kind, Leaf, MapOf


def _options(text: str, other: str = "", **nested: Kind) -> MapOf:
    fixed: dict[str, Kind] = {
        **dict.fromkeys(text.split(), Leaf.TEXT),
        **dict.fromkeys(other.split(), Leaf.ANY),
        **nested,
    }
    return MapOf(Leaf.ANY, fixed, closed=True)


_S3 = _options(
    "accesskey secretkey sessiontoken region regionendpoint redirectendpoint bucket keyid rootdirectory"
    " storageclass useragent objectacl loglevel",
    "forcepathstyle encrypt secure skipverify v4auth chunksize equalparts multipartcopychunksize"
    " multipartcopymaxconcurrency multipartcopythresholdsize usedualstack accelerate usefipsendpoint",
)

DRIVERS: dict[str, Kind] = {
    "inmemory": MapOf(Leaf.ANY),
    "filesystem": _options("rootdirectory", "maxthreads"),
    "s3": _S3,
    "s3aws": _S3,
    "azure": _options(
        "accountname accountkey container rootdirectory realm serviceurl connectionstring retry_delay"
        " copy_status_poll_delay",
        "max_retries copy_status_poll_max_retry skipverify",
        credentials=_options("type clientid tenantid secret"),
    ),
    "gcs": _options(
        "bucket rootdirectory keyfile useragent",
        "chunksize maxconcurrency",
        credentials=_options(
            "type project_id private_key_id private_key client_email client_id auth_uri token_uri"
            " auth_provider_x509_cert_url client_x509_cert_url universe_domain"
        ),
    ),
    "frostfs": _options(
        "container rpc_endpoint",
        "connection_timeout request_timeout rebalance_interval session_expiration_duration",
        wallet=_options("path password address"),
        peers=MapOf(_options("address", "weight priority")),
    ),
}

CONTROLLERS: dict[str, Kind] = {
    "silly": _options("realm service"),
    "htpasswd": _options("realm path"),
    "token": _options(
        "realm service issuer rootcertbundle jwks autoredirectpath", "autoredirect signingalgorithms"
    ),
}

MIDDLEWARE = replace(
    _options(
        "baseurl scheme host trimpathprefix privatekey keypairid duration ipfilteredby awsregion updatefrequency"
        " updatefrenquency iprangesurl directory",
        "size",
    ),
    closed=False,
)

SECRETS = {
    *("accesskey", "secretkey", "sessiontoken", "keyid", "accountkey", "connectionstring", "secret", "password"),
    *("private_key", "private_key_id", "privatekey", "keypairid"),
}
"""Options, in any of these, whose values are never shown."""
