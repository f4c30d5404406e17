"""The parameters of the azure driver, from `Storage.parameters`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from lading.config.models.section import Problem, Reads, Section, Then, option
from lading.config.models.values import Flag, Integer, Secret, Text, nonzero_or, value_of
from lading.config.scalars import parse_duration

KINDS = {"shared_key", "client_secret", "default_credentials"}


def _kind(kind: str) -> str:
    kind = "default_credentials" if kind == "default" else kind
    if kind and kind not in KINDS:
        raise ValueError(f'invalid credentials type: "{kind}"')
    return kind


def _pause(data: object) -> float:
    value = value_of(data)
    return parse_duration(value) if isinstance(value, str) and value else 0.1


class Credentials(Section):
    """Without `type`, an account key is used if there is one, else what the surroundings offer."""

    type: Annotated[Text, Then(_kind)] = ""
    clientid: Text = ""
    tenantid: Text = ""
    secret: Secret = ""


class AzureParameters(Section):
    accountname: Text = ""
    accountkey: Secret = ""
    container: Text = ""
    rootdirectory: Text = ""
    realm: Annotated[Text, Then(lambda value: value or "core.windows.net")] = "core.windows.net"
    serviceurl: Text = ""
    connectionstring: Secret = ""
    """Read, as the original does, and not used."""
    retry_delay: Annotated[float, Reads(_pause)] = option(
        default=0.1, keys=("retry_delay", "copy_status_poll_delay")
    )
    max_retries: Annotated[Integer, Then(nonzero_or(5))] = option(
        default=5, keys=("max_retries", "copy_status_poll_max_retry")
    )
    skipverify: Flag = False
    credentials: Credentials = option(factory=Credentials)

    @classmethod
    def prepare(cls, entries: dict[str, object]) -> dict[str, object]:
        return {key.lower(): value for key, value in entries.items()}

    def complaints(self) -> Iterator[Problem]:
        if not self.accountname:
            yield ("accountname",), "no accountname parameter provided"
        if not self.container:
            yield ("container",), "no container parameter provided"
        if not self.credentials.type:
            self.credentials.type = "shared_key" if self.accountkey else "default_credentials"
        if self.credentials.type == "shared_key" and not self.accountkey:
            yield ("accountkey",), "is needed for credentials of type shared_key"
        if self.credentials.type == "client_secret":
            for key in ("clientid", "tenantid", "secret"):
                if not getattr(self.credentials, key):
                    yield ("credentials", key), "is needed for credentials of type client_secret"
