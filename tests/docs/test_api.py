"""The API's description: its page, its document for tools, and the handlers it speaks of."""

from __future__ import annotations

from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from tests.docs.generator import load

from lading.api.app import HANDLERS
from lading.api.description.model import Parameter
from lading.api.description.openapi import answers, document
from lading.api.description.operations import OPERATIONS, OPTIONS
from lading.api.routes import Endpoint, Route, match
from lading.commands.api import main
from lading.commands.templates import RenderingError, catalogue, render

generate = load()

EXAMPLES = {"{name}": "team/app", "{reference}": "v1", "{digest}": f"sha256:{'a' * 64}", "{uuid}": "b2c3"}
UNDER_AN_ID_ALONE = {(Endpoint.UPLOADS, method) for method in ("GET", "HEAD", "PATCH", "PUT", "DELETE")}
"""Answered as what is unknown: the methods of a session, without its id."""


def test_page_is_what_the_description_makes() -> None:
    page = generate.API_PAGE.read_text("utf-8")
    assert render(generate.API_TEMPLATE.read_text("utf-8")) == page, "run python docs/generate.py"


def test_every_handler_is_described() -> None:
    described = {(operation.endpoint, operation.method) for operation in OPERATIONS}
    handled = {(endpoint, method) for endpoint, methods in HANDLERS.items() for method in methods}
    handled |= {(Endpoint.BASE, "GET"), (Endpoint.BASE, "HEAD")}
    assert handled - described == UNDER_AN_ID_ALONE
    assert described <= handled


@pytest.mark.parametrize("endpoint", Endpoint)
def test_template_leads_to_its_endpoint(endpoint: Endpoint) -> None:
    path = endpoint.template
    for name, example in EXAMPLES.items():
        path = path.replace(name, example)
    route = match(path)
    assert isinstance(route, Route)
    assert route.endpoint is endpoint


def test_parameters_of_paths_are_those_of_the_template() -> None:
    for operation in OPERATIONS:
        named = {f"{{{parameter.name}}}" for parameter in operation.parameters if parameter.where == "path"}
        assert named == {name for name in EXAMPLES if name in operation.endpoint.template}, operation.id


def test_every_code_is_answered_somewhere() -> None:
    answered = {code for operation in OPERATIONS for answer in answers(operation) for code in answer.codes}
    assert set(catalogue()) == answered
    for operation in OPERATIONS:
        for answer in answers(operation):
            assert {code.status for code in answer.codes} <= {answer.status}, operation.id


def test_document_is_sound() -> None:
    described = document()
    ids = [operation["operationId"] for methods in described["paths"].values() for operation in methods.values()]
    assert len(ids) == len(set(ids)) == len(OPERATIONS) + len(OPTIONS)
    for operation in OPERATIONS:
        schemas = [parameter.schema for parameter in operation.parameters if isinstance(parameter, Parameter)]
        schemas += [schema for answer in operation.answers for schema in answer.content.values()]
        for schema in schemas:
            Draft202012Validator.check_schema(schema)


def test_template_tool(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    template = tmp_path / "t.jinja"
    template.write_text("{% for o in operations if o.method == 'PATCH' %}{{ o.endpoint.template }}{% endfor %}!\n")
    assert main([str(template)]) == 0
    assert capsys.readouterr().out == "/v2/{name}/blobs/uploads/{uuid}!\n"
    assert main([]) == 1
    assert capsys.readouterr().err == "please specify a template to execute.\n"
    template.write_text("\n{{ nothing }}\n")
    assert main([str(template)]) == 1
    assert "'nothing' is undefined" in capsys.readouterr().err
    assert main([str(tmp_path / "missing")]) == 1
    assert capsys.readouterr().err == f"{tmp_path}/missing: No such file or directory\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{{ 1 / 0 }}", "ZeroDivisionError: division by zero"),
        ("{% include '/etc/passwd' %}", "TypeError: no loader for this environment specified"),
        ("{{ answers(1) }}", "AttributeError: "),
        ("{{ 1 | one_line }}", "TypeError: "),
    ],
)
def test_what_a_template_does_wrong_is_told_in_a_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], text: str, told: str
) -> None:
    (tmp_path / "t").write_text(text)
    assert main([str(tmp_path / "t")]) == 1
    assert capfd.readouterr().err.startswith(f"{tmp_path}/t: {told}")


def test_templates_cannot_reach_out() -> None:
    with pytest.raises(RenderingError, match="unsafe"):
        render("{{ ''.__class__.__mro__ }}")
