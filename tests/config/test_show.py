from __future__ import annotations

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from tests.config.reading import SOURCE, loaded, read
from tests.wire.fuzzing import thorough

from lading.config.load import Loaded, load, parse
from lading.config.models.section import options_of
from lading.config.show import MASK, as_json, as_yaml, masked, shown
from lading.config.texts import TEXTS


def values(body: str = "storage: inmemory", environ: dict[str, str] | None = None) -> dict[str, dict[str, object]]:
    found = json.loads(as_json(loaded(body, environ)))
    assert isinstance(found, dict)
    return found


class TestSources:
    def test_of_a_file(self):
        assert values("storage: inmemory\nhttp:\n  addr: :5000")["http.addr"] == {
            "value": ":5000",
            "source": "config.yml:4:9",
        }

    def test_of_a_variable(self):
        environ = {"REGISTRY_HTTP_ADDR": ":1", "REGISTRY_REDIS_ADDRS_0": "a:1"}
        found = values("storage: inmemory\nhttp: {addr: ':2', net: tcp}", environ)
        assert found["http.addr"] == {"value": ":1", "source": "REGISTRY_HTTP_ADDR"}
        assert found["http.net"]["source"] == "config.yml:3:25"
        assert found["redis.addrs"] == {"value": ["a:1"], "source": "REGISTRY_REDIS_ADDRS_0"}

    def test_of_nobody(self):
        found = values("storage: inmemory\nhttp: {net: ~}")
        assert found["http.net"] == {"value": "tcp", "source": "default"}
        assert found["redis.readtimeout"] == {"value": "3s", "source": "default"}

    def test_of_older_keys(self):
        found = values("storage: {inmemory: ~, cache: {layerinfo: inmemory}}\nloglevel: warn")
        assert found["log.level"] == {"value": "warn", "source": "config.yml:3:11"}
        assert found["storage.cache.blobdescriptor"] == {"value": "inmemory", "source": "config.yml:2:43"}

    def test_of_parameters_of_drivers(self):
        found = values("storage: {filesystem: {maxthreads: 30}}")
        assert found["storage.filesystem.maxthreads"] == {"value": 30, "source": "config.yml:2:36"}
        assert found["storage.filesystem.rootdirectory"] == {"value": "/var/lib/registry", "source": "default"}

    def test_of_the_default(self):
        found = json.loads(as_json(load(None, {})))
        assert found["http.addr"]["source"].startswith("default.yml (built in):")


SECRET = "hunter2hunter2"

SECRETS = [
    "http: {secret: %s}",
    "redis: {password: %s, sentinelpassword: %s}",
    "redis: {addrs: ['redis://me:%s@host:6379']}",
    "redis: {addrs: ['me:%s@host:6379']}",
    "proxy: {password: %s}",
    "proxy: {remoteurl: 'https://me:%s@host/'}",
    "log: {hooks: [{options: {smtp: {password: %s}}}]}",
    "notifications: {endpoints: [{headers: {Authorization: [Bearer %s]}}]}",
    "notifications: {endpoints: [{url: 'https://host/hook?token=%s'}]}",
    "health: {http: [{uri: 'https://me:%s@host', headers: {Authorization: [%s]}}]}",
    "auth: {token: {unknown: %s}}",
    "auth: {other: {realm: %s}}",
    "middleware: {storage: [{name: x, options: {privatekey: %s, unknown: [%s]}}]}",
    "storage: {s3: {secretkey: %s, accesskey: %s, sessiontoken: %s}}",
    "storage: {s3: {regionendpoint: 'https://me:%s@host'}}",
    "storage: {azure: {accountkey: %s, credentials: {secret: %s}}}",
    "storage: {gcs: {credentials: {private_key: %s}}}",
    "storage: {frostfs: {wallet: {password: %s}, peers: %s}}",
    "storage: {frostfs: {peers: {0: {unknown: %s}}}}",
    "storage: {other: {x: {y: [%s]}}}",
]


@pytest.mark.parametrize("template", SECRETS)
def test_secrets_are_masked(template):
    body = template.replace("%s", SECRET)
    if not body.startswith("storage"):
        body += "\nstorage: inmemory"
    result = loaded(body)
    assert SECRET not in as_yaml(result) + as_json(result)
    assert MASK in as_yaml(result)


def test_the_debug_variables_have_the_cache():
    result = loaded("storage: {inmemory: {}, cache: {blobdescriptor: inmemory}}")
    assert masked(result.configuration)["storage"]["cache"]["blobdescriptor"] == "inmemory"
    assert "cache" not in masked(loaded("storage: inmemory").configuration)["storage"]


def test_a_secret_from_a_file_is_masked_too(tmp_path):
    path = tmp_path / "secret"
    path.write_text(SECRET)
    result = loaded(environ={"REGISTRY_HTTP_SECRET_FILE": str(path)})
    assert SECRET not in as_yaml(result)
    assert values(environ={"REGISTRY_HTTP_SECRET_FILE": str(path)})["http.secret"] == {
        "value": MASK,
        "source": "REGISTRY_HTTP_SECRET_FILE",
    }


EVERYTHING = """
log: {level: debug, fields: {service: registry, n: [1, .inf]}, hooks: [{type: mail, options: {from: a@b}}]}
storage:
  s3: {region: us-east-1, chunksize: 5242880}
  delete: {enabled: true}
  cache: {blobdescriptor: inmemory}
  redirect: {disable: true}
  maintenance: {uploadpurging: {age: 1h30m}}
auth: {silly: {realm: r, service: s}}
middleware: {storage: [{name: redirect, options: {baseurl: https://example.com}}, {name: b, disabled: true}]}
http: {addr: ':5000', draintimeout: 1500ms, headers: {X-A: [b, '0123', 'yes']}}
notifications: {endpoints: [{name: a, url: http://a, timeout: 333333333}, {name: "b: #c"}]}
redis: {readtimeout: -1, disableindentity: true, tls: {clientcas: [/ca]}}
health: {file: [{file: /x, interval: 7s}, {file: /y}]}
proxy: {remoteurl: https://r, exec: {command: c, lifetime: 0}}
validation: {disabled: true, manifests: {urls: {allow: [a]}, indexes: {platformlist: [{os: linux}]}}}
"""


@pytest.mark.parametrize(
    "body",
    [
        "storage: inmemory",
        EVERYTHING,
        "storage: {filesystem: ~, delete: {enabled: yes}}",
        "storage: inmemory\nloglevel: warn",
        "storage: {azure: {credentials: {type: default}}}",
        "storage: {frostfs: {peers: {0: {address: a}}, container: c}}",
    ],
)
def test_it_reads_as_the_same_configuration(body):
    result = loaded(body)
    again = parse(as_yaml(result), SOURCE, {})
    assert [each[:2] for each in shown(again)] == [each[:2] for each in shown(result)]
    assert again.warnings == []


_TEXT = st.text(max_size=20)


@thorough(25)
@given(_TEXT, _TEXT, _TEXT)
def test_texts_of_any_kind_come_through(name, field, pattern):
    document = {
        "version": "0.1",
        "storage": "inmemory",
        "notifications": {"endpoints": [{"name": name}]},
        "log": {"fields": {field: name}},
        "policy": {"repository": {"classes": [pattern]}},
    }
    result = parse(yaml.safe_dump(document), name or "f", {})
    assert isinstance(result, Loaded)
    again = parse(as_yaml(result).encode(), "f", {})
    assert [each[:2] for each in shown(again)] == [each[:2] for each in shown(result)]


def test_what_is_not_unicode_is_printable():
    result = loaded(environ={"REGISTRY_PROXY_USERNAME": "\udcff"})
    assert json.loads(as_json(result))["proxy.username"]["value"] == "\udcff"
    assert (as_yaml(result) + as_json(result)).encode("utf-8")


def test_every_key_is_shown():
    assert {key for key in TEXTS if key.startswith("redis.")} - {"redis.tls.enabled"} <= set(values())
    assert {each.key for each in options_of(type(read()))} - {"loglevel"} == {
        path.partition(".")[0] for path in values()
    }


def test_keys_of_tokens_are_shown_without_what_lets_in(tmp_path):
    path = tmp_path / "config.yml"
    workload = "{name: w, issuer: i, audience: a, jwks: 'https://user:hunter2@keys.example/jwks?key=hunter2'}"
    path.write_text(
        "version: 0.1\nstorage: inmemory\n"
        "auth: {token: {realm: r, jwks: 'https://user:hunter2@keys.example/jwks?key=hunter2'}}\n"
        f"access: {{robots: /robots}}\ntokenservice: {{issuer: i, keys: /keys, workloads: [{workload}]}}\n"
    )
    text = as_yaml(load(str(path), {}))
    assert "hunter2" not in text
    assert text.count("jwks: https://***@keys.example/jwks?***") == 2
    assert "robots: /robots" in text
