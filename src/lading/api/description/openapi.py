"""The description as an OpenAPI 3.1 document."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from lading import __version__
from lading.api.description import headers as head
from lading.api.description.model import Answer, Header, Operation, Parameter
from lading.api.description.operations import ANYWHERE, MOVED, NOWHERE, OPERATIONS, OPTIONS


def document() -> dict[str, Any]:
    """JSON that tools read; paths are relative to the registry's root, with names as `{name}`."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in (*OPERATIONS, *OPTIONS):
        paths.setdefault(operation.endpoint.template, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "OCI Distribution API",
            "version": __version__,
            "description": "What Lading answers: the OCI distribution specification 1.1, and the catalog.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "securitySchemes": {
                "basic": {"type": "http", "scheme": "basic"},
                "bearer": {"type": "http", "scheme": "bearer"},
            }
        },
        "security": [{}, {"basic": []}, {"bearer": []}],
    }


def answers(operation: Operation) -> tuple[Answer, ...]:
    """Those of the operation, and those that any has but it describes itself; by status."""
    described = {answer.status: answer for answer in (*ANYWHERE, *operation.answers)}
    if any(parameter.where == "path" for parameter in operation.parameters):
        described[MOVED.status] = MOVED
        described[NOWHERE.status] = _either(described.get(NOWHERE.status), NOWHERE)
    return tuple(sorted(described.values(), key=lambda answer: answer.status))


def _either(answer: Answer | None, other: Answer) -> Answer:
    if answer is None:
        return other
    text = f"{answer.description} {other.description}"
    return replace(answer, description=text, content={**answer.content, **other.content})


def _operation(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.id,
        "summary": operation.summary,
        "parameters": [_parameter(parameter) for parameter in operation.parameters],
        "responses": {str(answer.status): _answer(answer, operation.method) for answer in answers(operation)},
    }
    if operation.section:
        described["description"] = f"Specification: {operation.section}."
    if operation.body:
        content = {kind: {"schema": schema} for kind, schema in operation.body.items()}
        described["requestBody"] = {"required": operation.body_required, "content": content}
    return described


def _parameter(parameter: Parameter) -> dict[str, Any]:
    schema = {"type": "array", "items": parameter.schema} if parameter.repeated else parameter.schema
    return {
        "name": parameter.name,
        "in": parameter.where,
        "description": parameter.description,
        "required": parameter.required,
        "schema": schema,
    }


def _answer(answer: Answer, method: str) -> dict[str, Any]:
    text = answer.description
    if answer.codes:
        text += f" Codes: {', '.join(dict.fromkeys(code.code for code in answer.codes))}."
    described: dict[str, Any] = {
        "description": text,
        "headers": {header.name: _header(header) for header in (*answer.headers, head.API_VERSION)},
    }
    if answer.content and method != "HEAD":
        described["content"] = {kind: {"schema": schema} for kind, schema in answer.content.items()}
    return described


def _header(header: Header) -> dict[str, Any]:
    return {"description": header.description, "required": header.always, "schema": header.schema}
