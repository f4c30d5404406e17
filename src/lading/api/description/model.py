"""What a description is made of; `operations` is the description itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lading.api.routes import Endpoint
from lading.oci.errors import Code

Schema = Mapping[str, Any]
"""JSON Schema (draft 2020-12), as OpenAPI 3.1 takes it."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """`where` is `path`, `query` or `header`."""

    name: str
    where: str
    description: str
    schema: Schema
    required: bool = False
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class Header:
    """A header of an answer; it may be missing unless it is `always` there."""

    name: str
    description: str
    schema: Schema
    always: bool = True


@dataclass(frozen=True, slots=True)
class Answer:
    """One status of an operation, its headers, the media types of its body, and the codes it may hold."""

    status: int
    description: str
    headers: tuple[Header, ...] = ()
    content: Mapping[str, Schema] = field(default_factory=dict)
    codes: tuple[Code, ...] = ()


@dataclass(frozen=True, slots=True)
class Operation:
    """A method of an endpoint. `id` is unique; `section` is where the specification has it, if it does."""

    id: str
    method: str
    endpoint: Endpoint
    summary: str
    section: str
    parameters: tuple[Parameter, ...]
    answers: tuple[Answer, ...]
    body: Mapping[str, Schema] = field(default_factory=dict)
    body_required: bool = False
