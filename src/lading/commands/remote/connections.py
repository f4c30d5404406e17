"""From the options of a command to registries that can be talked to."""

from __future__ import annotations

import argparse
from typing import Any

from lading import __version__
from lading.client import TLS, ClientError, Registries, StaticCredentials


def registries(options: argparse.Namespace, side: str = "") -> Registries:
    """`side` is src or dest where there are options for one alone. Raises `ClientError`."""

    def option(name: str) -> Any:
        found = getattr(options, f"{side}_{name}", None) if side else None
        return getattr(options, name) if found is None else found

    verify = option("tls_verify") is not False
    try:
        folder = option("cert_dir")
        tls = TLS.from_folder(folder, verify=verify) if folder else TLS(verify=verify)
        tls.check()
        if options.authfile is not None:
            with open(options.authfile, "rb"):
                pass
    except OSError as error:
        raise ClientError(f"{error.filename}: {error.strerror}") from error
    except ValueError as error:
        raise ClientError(str(error)) from error
    login = option("creds")
    credentials = None if login is None else StaticCredentials(*login)
    return Registries(
        credentials=None if credentials is None else lambda _: credentials,
        files=None if options.authfile is None else [options.authfile],
        plain_http=bool(option("plain_http")),
        tls=tls,
        user_agent=f"lading/{__version__}",
        token_servers=frozenset(options.token_server),
    )
