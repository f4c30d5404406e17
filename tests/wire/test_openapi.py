"""The OpenAPI document, run by schemathesis against a registry: it answers nothing that the document has not."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks
from tests.servers.process import Registry, lading, registries

from lading.api.description.openapi import document

schema = schemathesis.openapi.from_dict(document())
schema.config.generation.update(modes=list(schemathesis.GenerationMode))

DATA = b"the content of a blob"
DIGEST = f"sha256:{hashlib.sha256(DATA).hexdigest()}"
ALONE = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """With an image and an open upload in it, so that not everything is unknown."""
    with registries(lading(), tmp_path_factory.mktemp("openapi")) as start:
        running = start()
        session = running.client.request("POST", f"/v2/app/blobs/uploads/?digest={DIGEST}", body=DATA)
        assert session.status == 201
        descriptor = {"mediaType": "application/octet-stream", "digest": DIGEST, "size": len(DATA)}
        kind = "application/vnd.oci.image.manifest.v1+json"
        manifest = {"schemaVersion": 2, "mediaType": kind, "config": descriptor, "layers": [descriptor]}
        pushed = running.client.request(
            "PUT", "/v2/app/manifests/latest", {"Content-Type": kind}, json.dumps(manifest).encode()
        )
        assert pushed.status == 201
        yield running


@pytest.mark.slow
@pytest.mark.timeout(120)
@schema.parametrize()
@ALONE
def test_nothing_is_undocumented(case: schemathesis.Case, registry: Registry) -> None:
    if "name" in case.path_parameters and len(case.path_parameters["name"]) % 2:
        case.path_parameters["name"] = "app"
    for name, known in (("reference", "latest"), ("digest", DIGEST)):
        if len(case.path_parameters.get(name, "")) % 2:
            case.path_parameters[name] = known
    case.call_and_validate(
        base_url=f"http://{registry.host}",
        checks=[
            not_a_server_error,
            checks.status_code_conformance,
            checks.content_type_conformance,
            checks.response_headers_conformance,
            checks.response_schema_conformance,
        ],
    )
