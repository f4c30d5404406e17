from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.config.reading import attempt, loaded, problems, stored, warnings, without_columns
from tests.wire.fuzzing import thorough

from lading.config.load import Loaded, load, parse
from lading.config.problems import ConfigurationError
from lading.config.show import shown

EVERYTHING = """
log: {level: debug, fields: {service: registry}, hooks: [{type: mail, options: {smtp: {password: p}, from: a}}]}
storage:
  s3: {region: us-east-1, secretkey: key, chunksize: 5242880}
  delete: {enabled: true}
  redirect: {disable: true}
  maintenance: {uploadpurging: {age: 1h30m}}
auth: {silly: {realm: r, service: s}}
middleware: {storage: [{name: redirect, options: {baseurl: https://example.com}}]}
http: {addr: ':5000', draintimeout: 1500ms, headers: {X-A: [b]}, secret: '0123'}
notifications: {endpoints: [{name: a, url: http://a, timeout: 333333333, headers: {Authorization: [x]}}]}
redis: {readtimeout: -1, disableindentity: true, tls: {clientcas: [/ca]}}
health: {file: [{file: /x, interval: 7s}]}
proxy: {remoteurl: https://r, exec: {command: c, lifetime: 0}}
validation: {disabled: true, manifests: {urls: {allow: [a]}}}
"""


def raised(text: str | bytes) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        parse(text, "config.yml", {})
    return caught.value


class TestVersion:
    @pytest.mark.parametrize(
        ("text", "line"),
        [
            ("", 'config.yml:1: version: unsupported version: "" (known: 0.1)'),
            ("~", 'config.yml:1: version: unsupported version: "" (known: 0.1)'),
            ("storage: inmemory", 'config.yml:1: version: unsupported version: "" (known: 0.1)'),
            ("\nversion: 0.2", 'config.yml:2: version: unsupported version: "0.2" (known: 0.1)'),
            ("version: 0.10", 'config.yml:1: version: unsupported version: "0.10" (known: 0.1)'),
            ("version: [0.1]", "config.yml:1: version: must be text"),
            ("- version", "config.yml:1: must be a mapping of settings"),
            ("text", "config.yml:1: must be a mapping of settings"),
        ],
    )
    def test_refused(self, text, line):
        assert without_columns(raised(text).problems) == [line]

    @pytest.mark.parametrize("version", ["0.1", "'0.1'", '"0.1"'])
    def test_accepted(self, version):
        assert parse(f"version: {version}\nstorage: inmemory", "f", {}).configuration.version == "0.1"

    def test_only_the_file_chooses(self):
        with pytest.raises(ConfigurationError, match="unsupported version"):
            parse("version: 0.2\nstorage: inmemory", "f", {"REGISTRY_VERSION": "0.1"})


class TestSources:
    def test_a_file(self, tmp_path):
        path = tmp_path / "config.yml"
        path.write_text("version: 0.1\nstorage: inmemory\n")
        result = load(str(path), {"REGISTRY_CONFIGURATION_PATH": "/nowhere"})
        assert (result.source, result.configuration.storage.driver) == (str(path), "inmemory")

    def test_a_file_named_by_the_environment(self, tmp_path):
        path = tmp_path / "config.yml"
        path.write_text("version: 0.1\nstorage: inmemory\n")
        assert load(None, {"REGISTRY_CONFIGURATION_PATH": str(path)}).source == str(path)
        assert load("", {"REGISTRY_CONFIGURATION_PATH": str(path)}).source == str(path)

    @pytest.mark.parametrize("environ", [{}, {"REGISTRY_CONFIGURATION_PATH": ""}])
    def test_the_built_in_default(self, environ):
        result = load(None, {**environ, "REGISTRY_HTTP_ADDR": "127.0.0.1:0"})
        c = result.configuration
        assert (c.storage.driver, c.storage.parameters) == ("filesystem", {"rootdirectory": "./lading-data"})
        assert (c.storage.delete.enabled, c.http.addr) == (True, "127.0.0.1:0")
        assert c.validation.manifests.urls.allow == ["^https?://"]
        assert (result.warnings, result.source) == ([], "default.yml (built in)")

    def test_the_environment_of_the_process_by_default(self, monkeypatch):
        monkeypatch.delenv("REGISTRY_CONFIGURATION_PATH", raising=False)
        monkeypatch.setenv("REGISTRY_LOG_LEVEL", "debug")
        assert load(None).configuration.log.level == "debug"

    @pytest.mark.parametrize(
        ("path", "reason"),
        [("/nowhere/config.yml", "No such file or directory"), ("/", "Is a directory"), ("\0", "")],
    )
    def test_unreadable(self, path, reason):
        with pytest.raises(ConfigurationError) as caught:
            load(path, {})
        [line] = caught.value.problems
        assert "cannot be read" in line
        assert line.endswith(reason)
        assert line.isprintable()


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("version: 0.1\nhttp:\n  net: udp", "3:8: http.net"),
        ("version: 0.1\nhttp: {net:\n   udp}", "2:8: http.net"),
        ("version: 0.1\nstorage: {s3: ~, gcs: ~}", "2:1: storage"),
        ("version: 0.1\nredis:\n  addrs:\n    - [x]", "4:7: redis.addrs[0]"),
        ("version: 0.1\nlog: {hooks: [{levels: x}]}", "2:24: log.hooks[0].levels"),
        ("version: 0.1\nx: ]", "2:4: not valid YAML"),
    ],
)
def test_places(text, place):
    assert any(line.startswith(f"config.yml:{place}: ") for line in raised(text).problems)


def test_the_place_of_an_unknown_key_is_where_the_key_stands():
    assert loaded("storage: inmemory\nhttp: {adr: ':1'}").warnings == [
        "config.yml:3:8: http.adr: unknown key, ignored (did you mean addr?)"
    ]


def test_all_problems_at_once():
    body = """
http:
  net: udp
  tls: {minimumtls: ssl3}
storage: {filesystem: {maxthreads: many}, redirect: {}}
catalog: {maxentries: few}
"""
    found = problems(
        body, {"REGISTRY_TAGS_MAXTAGS": "-1", "REGISTRY_REDIS_ADDRS_5": "x", "REGISTRY_PROXY_TTL": "{"}
    )
    places = [line.split(": ")[:2] for line in found]
    assert sorted(places) == [
        ["REGISTRY_PROXY_TTL", "proxy.ttl"],
        ["REGISTRY_REDIS_ADDRS_5", "redis.addrs"],
        ["REGISTRY_TAGS_MAXTAGS", "tags.maxtags"],
        ["config.yml:4", "http.net"],
        ["config.yml:5", "http.tls.minimumtls"],
        ["config.yml:6", "storage.filesystem.maxthreads"],
        ["config.yml:6", "storage.redirect.disable"],
        ["config.yml:7", "catalog.maxentries"],
    ]


def test_the_text_of_the_error():
    assert str(ConfigurationError("f", ["one"])) == "error parsing f: one"
    assert str(ConfigurationError("f", ["one", "two"])) == "error parsing f:\n  one\n  two"


class TestWarnings:
    @pytest.mark.parametrize(
        ("body", "line"),
        [
            ("htp: 5", "config.yml:2: htp: unknown key, ignored (did you mean http?)"),
            ("http:\n  adr: x", "config.yml:3: http.adr: unknown key, ignored (did you mean addr?)"),
            ("HTTP: {}", "config.yml:2: HTTP: unknown key, ignored (did you mean http?)"),
            ("xyzzy: {a: b}", "config.yml:2: xyzzy: unknown key, ignored"),
            (
                "health: {file: [{file: a}, {fil: b}]}",
                "config.yml:2: health.file[1].fil: unknown key, ignored (did you mean file?)",
            ),
            (
                "auth: {token: {issuerr: x}}",
                "config.yml:2: auth.token.issuerr: unknown key, ignored (did you mean issuer?)",
            ),
            (
                "http: {tls: {key: k}}",
                "config.yml:2: http.tls.key: has no effect without a certificate: TLS is off",
            ),
            (
                "http: {tls: {clientcas: [c]}}",
                "config.yml:2: http.tls.clientcas: has no effect without a certificate: TLS is off, and no client"
                " is asked for one",
            ),
            (
                "middleware: {weird: [{name: x}]}",
                "config.yml:2: middleware.weird: unknown key, ignored (known are registry, repository, storage)",
            ),
            (
                "http: {tls: {letsencrypt: {cachefile: c}}}",
                "config.yml:2: http.tls.letsencrypt.hosts: names no host: there will be no certificate, and every"
                " client is refused",
            ),
            (
                "http: {host: 'myhost:5000'}",
                "config.yml:2: http.host: has no effect without a scheme and a host: https://host",
            ),
            (
                "redis: {tls: {key: k}}",
                "config.yml:2: redis.tls: certificate and key are needed both:"
                " continuing without client certificate",
            ),
        ],
    )
    def test_lines(self, body, line):
        assert warnings(f"{body}\nstorage: inmemory") == [line]

    @pytest.mark.parametrize(
        ("storage", "line"),
        [
            (
                "filesystem: {rootdir: x}",
                "storage.filesystem.rootdir: unknown key, ignored (did you mean rootdirectory?)",
            ),
            ("inmemory: ~, cache: {}", 'storage.cache: unknown cache type "", caching disabled'),
            ("inmemory: ~, cache: {layerinfo: x}", 'storage.cache: unknown cache type "x", caching disabled'),
            (
                "inmemory: ~, cache: {blobdescriptor: redis, blobdescriptorsize: 5}",
                "storage.cache.blobdescriptorsize: blobdescriptorsize parameter is not supported with redis cache",
            ),
            (
                "inmemory: ~, delete: {enabled: 'true'}",
                "storage.delete.enabled: is not true or false, so deletion stays off",
            ),
        ],
    )
    def test_of_storage(self, storage, line):
        assert warnings(f"storage: {{{storage}}}") == [f"config.yml:2: {line}"]

    @pytest.mark.parametrize(
        "body",
        [
            "storage: {azure: {Max_Retries: 5, AccountName: x}}",
            "storage: {other: {anything: goes}}",
            "storage: {inmemory: {ignored: 1}}",
            "storage: {inmemory: ~, cache: {blobdescriptor: inmemory, blobdescriptorsize: 5}}",
            EVERYTHING,
        ],
    )
    def test_nothing_to_warn_about(self, body):
        assert loaded(body).warnings == []


SECRET = "hunter2hunter2"

SECRETS = [
    "http: {secret: %s}",
    "redis: {password: %s}",
    "redis: {sentinelpassword: %s}",
    "proxy: {password: %s}",
    "log: {hooks: [{options: {smtp: {password: %s}}}]}",
    "notifications: {endpoints: [{headers: {Authorization: %s}}]}",
    "notifications: {endpoints: [{headers: {Authorization: [%s]}}]}",
    "health: {http: [{headers: {Authorization: %s}}]}",
    "auth: {token: {issuer: %s}}",
    "auth: {token: %s}",
    "http: %s",
    "storage: {s3: {secretkey: %s}}",
    "storage: {s3: %s}",
    "middleware: {storage: [{options: {privatekey: %s}}]}",
]


@pytest.mark.parametrize("template", SECRETS)
@pytest.mark.parametrize(
    "value", [SECRET, f"{{a: {SECRET}}}", f"[{SECRET}]", f"*{SECRET}", f"'{SECRET}", f"!!int {SECRET}"]
)
def test_secrets_are_never_shown(template, value):
    body = template % value
    if not body.startswith("storage"):
        body += "\nstorage: inmemory"
    result = attempt(f"version: 0.1\n{body}")
    assert SECRET not in f"{result} {result!r}"


@pytest.mark.parametrize(
    "name", ["REGISTRY_HTTP_SECRET", "REGISTRY_HTTP_SECRET_FILE", "REGISTRY_HTTP", "REGISTRY_REDIS"]
)
@pytest.mark.parametrize("value", [SECRET, f"*{SECRET}", f"[{SECRET}", f"!!int {SECRET}", f"{{: {SECRET}"])
def test_secrets_of_the_environment_are_never_shown(name, value):
    result = attempt("version: 0.1\nstorage: inmemory", {name: value})
    assert SECRET not in f"{result} {result!r}"


def test_problems_are_single_printable_lines():
    [line] = problems('storage: inmemory\nhttp: {net: "a\\nb\\e[31m"}')
    assert line == r"config.yml:3: http.net: unknown address type a\nb\x1b[31m (allowed: tcp, unix)"


_SECTIONS = ["log", "storage", "http", "redis", "auth", "middleware", "health", "validation"]
_WORDS = """
    log level hooks fields options storage inmemory filesystem maxthreads rootdirectory delete enabled cache
    redirect disable tag maintenance uploadpurging age readonly http tls ciphersuites headers addr net host
    redis auth token validation manifests urls allow middleware notifications endpoints health file <<
"""
_YAML = st.recursive(
    st.sampled_from(["~", "x", "1", "true", "'q'", "-1", "5s", "''", "1.5"]),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: "[" + ", ".join(items) + "]")
        | st.dictionaries(
            st.sampled_from(_WORDS.split()),
            inner,
            max_size=4,
        ).map(lambda entries: "{" + ", ".join(f"{k}: {v}" for k, v in entries.items()) + "}")
    ),
    max_leaves=25,
)


@thorough(40)
@given(st.text() | st.binary() | st.text().map(lambda text: f"version: 0.1\n{text}"))
def test_arbitrary_documents(text):
    result = attempt(text)
    assert isinstance(result, Loaded) or all(line.isprintable() for line in result.problems)


@thorough(40)
@given(st.dictionaries(st.sampled_from(_SECTIONS), _YAML))
def test_arbitrary_sections(sections):
    result = attempt("\n".join(["version: 0.1", *(f"{key}: {value}" for key, value in sections.items())]))
    if isinstance(result, Loaded):
        assert shown(result)
    else:
        assert result.problems
        assert all(line.startswith("config.yml:") for line in result.problems)


def test_a_storage_problem_does_not_hide_others():
    assert len(problems("storage: [x]\ntags: {maxtags: -1}")) == 2


def test_stored_is_what_it_says():
    assert stored("log: ~").storage.driver == "inmemory"
