"""Holds an answer to the API's description: no status, header, media type or error code that it does not know."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jsonschema import Draft202012Validator

from lading.api.description.headers import API_VERSION
from lading.api.description.model import Answer, Operation
from lading.api.description.openapi import answers
from lading.api.description.operations import OPERATIONS, OPTIONS
from lading.api.routes import Endpoint, Route, match
from lading.oci import media

OF_ANY = {"content-length", "content-type", "x-content-type-options", API_VERSION.name.lower()}
DESCRIBED = {(operation.endpoint, operation.method): operation for operation in (*OPERATIONS, *OPTIONS)}


def operation_of(method: str, path: str) -> Operation | None:
    """None where the API has no such operation, or the path is not one of its."""
    start = path.find("/v2/")
    route = match(path[start:]) if start >= 0 else None
    return DESCRIBED.get((route.endpoint, method)) if isinstance(route, Route) else None


def check_described(
    method: str, path: str, status: int, headers: Sequence[tuple[str, str]], document: Any, configured: set[str]
) -> None:
    """`document` is the answer's body if it is JSON, `configured` are headers that `http.headers` adds."""
    operation = operation_of(method, path)
    if operation is None or status == 301 or (status, dict(headers).get("content-type", "")[:5]) == (404, "text/"):
        return  # such a path was not one of the API's as it was sent
    described = next((answer for answer in answers(operation) if answer.status == status), None)
    assert described is not None, f"{operation.id} answers {status}, which is not described"
    _check_headers(described, operation, {name.lower() for name, _ in headers} - configured)
    kind = dict(headers).get("content-type", "").partition(";")[0]
    if method != "HEAD" and kind and status != 307:
        assert kind in described.content or "*/*" in described.content, f"{operation.id} {status}: {kind}"
        if kind == media.JSON and document is not None and status >= 400:
            codes = {code.code for code in described.codes}
            strange = {error["code"] for error in document["errors"]} - codes
            assert not strange, f"{operation.id} {status}: {strange} is not among {codes}"
        if kind in described.content and document is not None:
            Draft202012Validator(described.content[kind]).validate(document)


def _check_headers(described: Answer, operation: Operation, sent: set[str]) -> None:
    known = {header.name.lower() for header in described.headers}
    needed = {header.name.lower() for header in described.headers if header.always}
    where = f"{operation.id} {described.status}"
    assert not sent - known - OF_ANY, f"{where}: {sent - known - OF_ANY} is not described"
    assert not needed - sent, f"{where}: {needed - sent} is missing"
    if operation.endpoint is not Endpoint.BASE:
        assert API_VERSION.name.lower() in sent, where
