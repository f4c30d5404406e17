"""The OpenAPI document, run by schemathesis against registries that listen: they answer what it has."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator

import bcrypt
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks
from tests.servers.process import Registry, lading, registries
from tests.wire.described import OF_ANY

from lading.api.description.openapi import document
from lading.api.description.operations import NO_METHOD
from lading.api.routes import Endpoint

schema = schemathesis.openapi.from_dict(document())
PATHS = document()["paths"]
schema.config.generation.update(modes=list(schemathesis.GenerationMode))

DATA = b"the content of a blob"
DIGEST = f"sha256:{hashlib.sha256(DATA).hexdigest()}"
OCTETS = "application/octet-stream"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
DESCRIPTOR = {"mediaType": OCTETS, "digest": DIGEST, "size": len(DATA)}
MANIFEST = json.dumps(
    {"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": DESCRIPTOR, "layers": [DESCRIPTOR]}
).encode()
OF_HTTP = OF_ANY | {"date", "connection", "transfer-encoding"}
"""Headers that any answer of a server may have."""

CHECKS = [
    not_a_server_error,  # the first: it is left out where something has failed
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]


def examples(count: int) -> settings:
    """So many requests for each operation, the same ones each time."""
    return settings(
        max_examples=count,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


def check(
    case: schemathesis.Case, registry: Registry, *, may_fail: bool = False, **headers: str
) -> schemathesis.Response:
    """Status, media type, codes and the headers there must be are for schemathesis; other headers are for us."""
    answer = case.call(base_url=f"http://{registry.host}", headers=headers)
    case.validate_response(answer, checks=CHECKS[may_fail:])
    if case.method.lower() not in PATHS[case.operation.path]:
        check_other_method(case, answer)
        return answer
    described = PATHS[case.operation.path][case.method.lower()]["responses"][str(answer.status_code)]
    known = {name.lower() for name in described.get("headers", {})} | OF_HTTP
    assert not answer.headers.keys() - known, f"{case.method} {case.formatted_path} {answer.status_code}"
    return answer


def check_other_method(case: schemathesis.Case, answer: schemathesis.Response) -> None:
    """Schemathesis tries methods that the document does not have, too."""
    if case.operation.path == Endpoint.BASE.template:
        assert answer.status_code in {200, 401}
    elif answer.status_code == NO_METHOD.status:
        assert answer.headers["allow"]
    else:
        assert answer.status_code in {301, 401, 403, 404}  # before the method is looked at


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """With an image and an open upload in it, so that not everything is unknown."""
    with registries(lading(), tmp_path_factory.mktemp("openapi")) as start:
        running = start()
        session = running.client.request("POST", f"/v2/app/blobs/uploads/?digest={DIGEST}", body=DATA)
        session.expect(201)
        kind = {"Content-Type": MANIFEST_TYPE}
        running.client.request("PUT", "/v2/app/manifests/latest", kind, MANIFEST).expect(201)
        yield running


def upload(registry: Registry) -> tuple[str, str]:
    """The id and the state of a session that has just begun."""
    path, _, state = registry.client.request("POST", "/v2/app/blobs/uploads/").location.partition("?_state=")
    return path.rpartition("/")[2], state


@pytest.mark.slow
@pytest.mark.timeout(180)
@schema.parametrize()
@examples(20)
def test_nothing_is_undocumented(case: schemathesis.Case, registry: Registry) -> None:
    if "name" in case.path_parameters and len(case.path_parameters["name"]) % 2:
        case.path_parameters["name"] = "app"
    for name, known in (("reference", "latest"), ("digest", DIGEST)):
        if len(case.path_parameters.get(name, "")) % 2:
            case.path_parameters[name] = known
    if case.path_parameters.get("name") == "app" and "uuid" in case.path_parameters:
        case.path_parameters["uuid"], case.query["_state"] = upload(registry)
    check(case, registry)


REFUSING = ["nobody", "who may read", "read-only", "no deletes", "pulled through", "upstream away", "immutable"]


@pytest.fixture(scope="module")
def refusing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[Registry, dict[str, str]]]]:
    """Registries that refuse, each with the headers of who asks."""
    folder = tmp_path_factory.mktemp("refusing")
    users = folder / "users"
    users.write_bytes(b"alice:" + bcrypt.hashpw(b"wonderland", bcrypt.gensalt(4)) + b"\n")
    rules = [{"repositories": ["**"], "actions": ["pull"], "who": ["alice"]}]
    guard = {"auth": {"htpasswd": {"realm": "r", "path": str(users)}}, "access": {"rules": rules}}
    closed = {"storage": {"maintenance": {"readonly": {"enabled": True}}}}
    all_tags = {"repositories": ["**"], "tags": ["*"]}
    alice = {"Authorization": f"Basic {base64.b64encode(b'alice:wonderland').decode()}"}
    with registries(lading(), folder) as start:
        guarded, upstream, fixed = start(extra=guard), start(), start(extra={"immutable": [all_tags]})
        for each in (upstream, fixed):
            each.client.request("POST", f"/v2/app/blobs/uploads/?digest={DIGEST}", body=DATA).expect(201)
            kind = {"Content-Type": MANIFEST_TYPE}
            each.client.request("PUT", "/v2/app/manifests/latest", kind, MANIFEST).expect(201)
        yield {
            "nobody": (guarded, {}),
            "who may read": (guarded, alice),
            "read-only": (start(extra=closed), {}),
            "no deletes": (start(extra={"storage": {"delete": {"enabled": False}}}), {}),
            "pulled through": (start(extra={"proxy": {"remoteurl": f"http://{upstream.host}"}}), {}),
            "upstream away": (start(extra={"proxy": {"remoteurl": "http://127.0.0.1:1"}}), {}),
            "immutable": (fixed, {}),
        }


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("why", REFUSING)
@schema.parametrize()
@examples(3)
def test_no_refusal_is_undocumented(
    case: schemathesis.Case, refusing: dict[str, tuple[Registry, dict[str, str]]], why: str
) -> None:
    case.headers.pop("Authorization", None)
    known = {"name": "app", "digest": DIGEST, "reference": "latest"}
    if len(case.path_parameters.get("name", "")) % 2:
        case.path_parameters |= {name: known[name] for name in case.path_parameters.keys() & known.keys()}
    registry, headers = refusing[why]
    answer = check(case, registry, may_fail=why == "upstream away", **headers)
    if why == "nobody":
        assert answer.status_code in {401, 301, 404}, answer
