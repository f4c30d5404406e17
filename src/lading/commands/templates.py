"""Documents made of the API's description, by templates of Jinja (the extra `docs`)."""

from __future__ import annotations

import http
import re

from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import SandboxedEnvironment

from lading.api.description import headers as head
from lading.api.description.openapi import answers
from lading.api.description.operations import OPERATIONS
from lading.oci import errors
from lading.oci.errors import Code


class RenderingError(Exception):
    """The template cannot be used; `str()` is one line."""


def render(template: str) -> str:
    """The template's text filled in. Raises `RenderingError`.

    It is given `operations`, `errors` and `version_header`, the functions `answers(operation)` and
    `status_text(status)`, and the filters `cell` and `one_line`.
    """
    try:
        return _environment().from_string(template).render()
    except TemplateError as error:
        line = getattr(error, "lineno", None)
        raise RenderingError(f"{f'line {line}: ' if line else ''}{error}") from error
    except Exception as error:  # whatever a template does with what it is given
        raise RenderingError(f"{type(error).__name__}: {error}") from error


def catalogue() -> list[Code]:
    """Every row of the error catalogue, by code and status."""
    rows = [row for row in vars(errors).values() if isinstance(row, Code)]
    return sorted(rows, key=lambda row: (row.code, row.status))


def _environment() -> SandboxedEnvironment:
    environment = SandboxedEnvironment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.globals.update(
        operations=OPERATIONS,
        errors=catalogue(),
        version_header=head.API_VERSION,
        answers=answers,
        status_text=_status_text,
    )
    environment.filters["one_line"] = lambda text: re.sub(r"\s+", " ", text).strip()
    environment.filters["cell"] = lambda text: str(text).replace("|", "\\|")
    return environment


def _status_text(status: int) -> str:
    """The phrase of a status (RFC 9110), and of the one that stands in logs alone."""
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return "Client Closed Request"
