from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.config.reading import attempt, loaded, problems, read, stored, stored_problems
from tests.wire.fuzzing import thorough

from lading.config import environment
from lading.config.load import Loaded
from lading.config.problems import Place
from lading.config.schema import ROOT
from lading.config.yaml import MapNode


def test_the_recipe_of_the_documentation():
    configuration = read(
        "",
        {
            "REGISTRY_STORAGE": "filesystem",
            "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY": "/data",
            "REGISTRY_AUTH": "silly",
            "REGISTRY_AUTH_SILLY_REALM": "realm",
        },
    )
    assert (configuration.storage.driver, configuration.storage.parameters) == (
        "filesystem",
        {"rootdirectory": "/data"},
    )
    assert (configuration.auth.type, configuration.auth.parameters) == ("silly", {"realm": "realm"})


@pytest.mark.parametrize(
    ("value", "parameter"),
    [("us-west-1", "us-west-1"), ("true", True), ("some Value", "some Value"), ("0123", 83)],
)
def test_untyped_parameters_are_resolved(value, parameter):
    configuration = read("storage: {somedriver: {}}", {"REGISTRY_STORAGE_SOMEDRIVER_PARAM": value})
    assert configuration.storage.parameters == {"param": parameter}


def test_a_storage_type_replaces_the_whole_map():
    body = "storage: {filesystem: {rootdirectory: /x}, delete: {enabled: true}}"
    storage = read(body, {"REGISTRY_STORAGE": "filesystem"}).storage
    assert (storage.driver, storage.parameters, storage.delete.enabled) == ("filesystem", {}, False)


def test_a_storage_type_as_a_map():
    storage = read("storage: inmemory", {"REGISTRY_STORAGE": "{s3: {bucket: b}}"}).storage
    assert (storage.driver, storage.parameters) == ("s3", {"bucket": "b"})


def test_parameters_for_a_driver_given_by_its_name_only():
    storage = read("storage: filesystem", {"REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY": "/x"}).storage
    assert storage.parameters == {"rootdirectory": "/x"}


def test_two_drivers():
    assert problems("storage: {filesystem: {}}", {"REGISTRY_STORAGE_S3_BUCKET": "b"}) == [
        "REGISTRY_STORAGE_S3_BUCKET: storage: "
        "multiple storage drivers specified in configuration or environment: filesystem, s3"
    ]


def test_two_kinds_of_authorization_are_an_error_only_to_start_with():
    configuration = stored("auth: {silly: {realm: r}}", {"REGISTRY_AUTH_PARAMS": "param1: value1"})
    assert (configuration.auth.type, configuration.auth.surplus) == ("silly", ["params"])


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("REGISTRY_STORAGE_SOMEDRIVER", "storage.somedriver"),
        ("REGISTRY_STORAGE_LOG", "storage.log"),
        ("REGISTRY_LOG_HOOKS", "log.hooks"),
        ("REGISTRY_HTTP_HEADERS", "http.headers"),
        ("REGISTRY_HTTP", "http"),
        ("REGISTRY_AUTH_SILLY", "auth.silly"),
    ],
)
def test_a_word_where_more_is_needed(name, path):
    found = problems("storage: {somedriver: {}}", {name: "somestring"})
    assert found[0].startswith(f"{name}: {path}: must be a ")


def test_an_empty_value_resets_to_the_default():
    configuration = stored("http: {addr: ':1', headers: {A: [b]}}", {"REGISTRY_HTTP": ""})
    assert (configuration.http.addr, configuration.http.headers) == ("", {})


def test_a_section_is_replaced_wholesale_and_children_come_after():
    http = stored(
        "http: {addr: ':1', prefix: /p/}", {"REGISTRY_HTTP": "{addr: ':2'}", "REGISTRY_HTTP_NET": "tcp"}
    ).http
    assert (http.addr, http.prefix) == (":2", "")


def test_many_at_once():
    configuration = read(
        "",
        {
            "REGISTRY_VERSION": "0.1",
            "REGISTRY_LOG_LEVEL": "debug",
            "REGISTRY_LOG_FORMATTER": "json",
            "REGISTRY_LOG_FIELDS": "abc: xyz",
            "REGISTRY_LOG_HOOKS": "- type: asdf",
            "REGISTRY_LOGLEVEL": "debug",
            "REGISTRY_STORAGE": "s3",
            "REGISTRY_AUTH_PARAMS": "param1: value1",
            "REGISTRY_AUTH_PARAMS_VALUE2": "value2",
        },
    )
    assert configuration.log.level == "debug"
    assert configuration.log.fields == {"abc": "xyz"}
    assert [hook.type for hook in configuration.log.hooks] == ["asdf"]
    assert configuration.auth.parameters == {"param1": "value1", "value2": "value2"}


@pytest.mark.parametrize(
    ("environ", "level"),
    [
        ({"REGISTRY_LOGLEVEL": "info"}, "warn"),
        ({"REGISTRY_LOG_LEVEL": "error"}, "error"),
        ({"REGISTRY_LOG_LEVEL": "ERROR"}, "error"),
    ],
)
def test_log_level(environ, level):
    assert stored("log: {level: warn}", environ).log.level == level


@pytest.mark.parametrize("name", ["REGISTRY_LOG_LEVEL", "REGISTRY_LOGLEVEL"])
def test_a_bad_log_level(name):
    assert problems(environ={name: "loud"})[0].endswith(
        ": invalid loglevel loud Must be one of [error, warn, info, debug]"
    )


def test_the_version_from_the_environment_is_stored_and_chooses_nothing():
    assert read(environ={"REGISTRY_VERSION": "0.2"}).version == "0.2"
    assert problems(environ={"REGISTRY_VERSION": "x"}) == [
        "REGISTRY_VERSION: version: must be two numbers, such as 0.1"
    ]


@pytest.mark.parametrize(
    "name",
    [
        "REGISTRY_DUCKS",
        "REGISTRY_REPORTING_ASDF",
        "REGISTRY_HTTP_NETT",
        "REGISTRY_HTTP_TLS_KEYS_0",
        "REGISTRY_PORT_5000_TCP_ADDR",
        "REGISTRY_http_addr",
        "REGISTRY_HTTP_addr",
        "REGISTRY_HTTP__ADDR",
        "REGISTRY_LOG_FIELDS_",
        "REGISTRY_",
    ],
)
def test_unknown_variables_are_warned_about_and_do_nothing(name):
    result = loaded(environ={name: "quack: [", "PATH": "x", "registry_LOG_LEVEL": "debug"})
    assert result.warnings == [f"Ignoring unrecognized environment variable {name}"]
    assert result.configuration == read()


def test_the_path_of_the_configuration_is_not_an_option():
    assert loaded(environ={"REGISTRY_CONFIGURATION_PATH": "/etc/config.yml"}).warnings == []


def test_the_logins_of_clients_are_no_option():
    """Who uses podman may well have this in the environment."""
    result = loaded(environ={"REGISTRY_AUTH_FILE": "/run/user/0/containers/auth.json"})
    assert (result.warnings, result.configuration) == ([], read())


def test_another_prefix():
    root = MapNode(Place("f", 1))
    outcome = environment.apply(root, ROOT, {"DOCK_LOG_LEVEL": "debug", "REGISTRY_LOG_LEVEL": "error"}, "DOCK")
    assert (list(root.entries), outcome.warnings, outcome.problems) == (["log"], [], [])


@pytest.mark.parametrize(
    ("name", "value", "reach"),
    [
        (
            "NOTIFICATIONS_EVENTCONFIG_INCLUDEREFERENCES",
            "true",
            lambda c: c.notifications.events.includereferences,
        ),
        ("NOTIFICATIONS_EVENTS_INCLUDEREFERENCES", "true", lambda c: c.notifications.events.includereferences),
        ("HEALTH_FILECHECKERS_0_FILE", "/x", lambda c: c.health.file[0].file),
        ("HEALTH_FILE_0_FILE", "/x", lambda c: c.health.file[0].file),
        ("HEALTH_HTTPCHECKERS_0_STATUSCODE", "204", lambda c: c.health.http[0].statuscode == 204),
        ("HEALTH_TCPCHECKERS_0_TIMEOUT", "3s", lambda c: c.health.tcp[0].timeout == 3),
        ("LOG_HOOKS_0_MAILOPTIONS_SMTP_ADDR", "a:25", lambda c: c.log.hooks[0].options.smtp.addr),
        ("LOG_HOOKS_0_OPTIONS_FROM", "me", lambda c: c.log.hooks[0].options.sender),
        ("REDIS_USERNAME", "u", lambda c: c.redis.username),
        ("REDIS_username", "u", lambda c: c.redis.username),
        ("REDIS_OPTIONS_USERNAME", "u", lambda c: c.redis.username),
        ("REDIS_OPTIONS", "{username: u}", lambda c: c.redis.username),
        ("REDIS_DISABLEINDENTITY", "true", lambda c: c.redis.disableidentity),
        ("REDIS_TLS_CLIENTCAS_0", "/ca", lambda c: c.redis.tls.rootcas == ["/ca"]),
        ("STORAGE_CACHE_LAYERINFO", "inmemory", lambda c: c.storage.cache.blobdescriptor == "inmemory"),
        ("PROXY_EXEC_LIFETIME", "0s", lambda c: c.proxy.exec.lifetime == 0),
        ("HTTP_DRAINTIMEOUT", "1m", lambda c: c.http.draintimeout == 60),
        ("POLICY_REPOSITORY_CLASSES", "[image]", lambda c: c.policy.repository.classes == ["image"]),
        ("MIDDLEWARE_STORAGE_0_OPTIONS_BASEURL", "http://a", lambda c: c.middleware["storage"][0].options),
    ],
)
def test_names_of_variables(name, value, reach):
    result = loaded(environ={f"REGISTRY_{name}": value})
    assert reach(result.configuration)
    assert result.warnings == []


def test_the_redis_options_as_a_whole_leave_tls_alone():
    redis = stored(
        "redis: {db: 3, tls: {certificate: /c, key: /k}}", {"REGISTRY_REDIS_OPTIONS": "{username: u}"}
    ).redis
    assert (redis.db, redis.username, redis.tls.key) == (0, "u", "/k")
    assert problems(environ={"REGISTRY_REDIS_OPTIONS": "x"}) == [
        "REGISTRY_REDIS_OPTIONS: redis: must be a mapping"
    ]


class TestLists:
    def test_scalars_by_index(self):
        environ = {"REGISTRY_HTTP_TLS_CLIENTCAS_0": "/a", "REGISTRY_HTTP_TLS_CLIENTCAS_1": "/b"}
        assert read(environ=environ).http.tls.clientcas == ["/a", "/b"]
        body = "http: {tls: {clientcas: [/x, /y, /z]}}"
        assert stored(body, environ).http.tls.clientcas == ["/a", "/b", "/z"]

    def test_as_a_whole_and_then_by_index(self):
        environ = {"REGISTRY_REDIS_ADDRS": '["a:6379","b:6379"]', "REGISTRY_REDIS_ADDRS_1": "c:6379"}
        assert read(environ=environ).redis.addrs == ["a:6379", "c:6379"]

    def test_structures_as_a_whole(self):
        environ = {"REGISTRY_NOTIFICATIONS_ENDPOINTS_0": "{name: x, timeout: 2s}"}
        [endpoint] = read(environ=environ).notifications.endpoints
        assert (endpoint.name, endpoint.timeout) == ("x", 2)

    def test_a_field_of_an_element_leaves_the_others_alone(self):
        body = "notifications: {endpoints: [{name: a, url: 'http://u'}, {name: b}]}"
        endpoints = stored(body, {"REGISTRY_NOTIFICATIONS_ENDPOINTS_0_NAME": "c"}).notifications.endpoints
        assert [(e.name, e.url) for e in endpoints] == [("c", "http://u"), ("b", "")]

    def test_indexes_are_numbers(self):
        environ = {f"REGISTRY_REDIS_ADDRS_{n}": f"host{n}" for n in range(12)}
        assert read(environ=environ).redis.addrs == [f"host{n}" for n in range(12)]

    def test_a_second_middleware(self):
        body = "middleware: {storage: [{name: redirect, options: {baseurl: http://a}}]}"
        environ = {"REGISTRY_MIDDLEWARE_STORAGE_1_NAME": "rewrite"}
        assert [m.name for m in stored(body, environ).middleware["storage"]] == ["redirect", "rewrite"]

    def test_a_gap(self):
        assert problems(environ={"REGISTRY_REDIS_ADDRS_1": "x"}) == [
            "REGISTRY_REDIS_ADDRS_1: redis.addrs: undefined index: 1 (the list has 0 elements)"
        ]

    @pytest.mark.parametrize("index", ["X", "-1", "9" * 5000, "²"])
    def test_not_an_index(self, index):
        [line] = problems(environ={f"REGISTRY_REDIS_ADDRS_{index}": "x"})
        assert line.endswith(f"redis.addrs: non-numeric index: {index}")

    def test_of_an_untyped_option(self):
        body = "auth: {token: {signingalgorithms: [RS256]}}"
        environ = {"REGISTRY_AUTH_TOKEN_SIGNINGALGORITHMS_1": "ES256"}
        assert stored(body, environ).auth.parameters == {"signingalgorithms": ["RS256", "ES256"]}

    def test_of_a_header(self):
        http = stored("http: {headers: {X-Foo: [a, b]}}", {"REGISTRY_HTTP_HEADERS_X-FOO_1": "c"}).http
        assert http.headers == {"X-Foo": ["a", "c"]}


class TestNestedMaps:
    @pytest.mark.parametrize(
        "environ",
        [
            {"REGISTRY_STORAGE_MAINTENANCE": "{uploadpurging: {enabled: false}, readonly: {enabled: true}}"},
            {
                "REGISTRY_STORAGE_MAINTENANCE_UPLOADPURGING": "{enabled: false}",
                "REGISTRY_STORAGE_MAINTENANCE_READONLY": '{"enabled":true}',
            },
            {
                "REGISTRY_STORAGE_MAINTENANCE_UPLOADPURGING_ENABLED": "false",
                "REGISTRY_STORAGE_MAINTENANCE_READONLY_ENABLED": "true",
            },
        ],
    )
    @pytest.mark.parametrize(
        "body", ["", "maintenance: ~", "maintenance: {uploadpurging: {enabled: true, age: 1h}, readonly: ~}"]
    )
    def test_every_form_reaches_maintenance(self, body, environ):
        maintenance = read(f"storage: {{inmemory: ~, {body}}}", environ).storage.maintenance
        assert not maintenance.uploadpurging.enabled
        assert maintenance.readonly.enabled

    def test_untyped_maps_of_the_file(self):
        body = "storage: {frostfs: {peers: {0: {address: a, weight: 1}}}}"
        environ = {
            "REGISTRY_STORAGE_FROSTFS_PEERS_0_ADDRESS": "b",
            "REGISTRY_STORAGE_FROSTFS_PEERS_1_ADDRESS": "c",
            "REGISTRY_STORAGE_FROSTFS_WALLET_PASSWORD": "",
        }
        assert read(body, environ).storage.parameters == {
            "peers": {"0": {"address": "b", "weight": 1}, "1": {"address": "c"}},
            "wallet": {"password": None},
        }

    def test_implicit_maps_of_log_fields(self):
        assert read(environ={"REGISTRY_LOG_FIELDS_A_B": "1"}).log.fields == {"a": {"b": 1}}

    def test_aliases_are_changed_one_by_one(self):
        body = "log: {fields: {a: &x {k: 1}, b: *x}}"
        assert stored(body, {"REGISTRY_LOG_FIELDS_A_K": "2"}).log.fields == {"a": {"k": 2}, "b": {"k": 1}}


class TestKeysWithUnderscores:
    @pytest.mark.parametrize(
        ("name", "parameters"),
        [
            ("AZURE_MAX_RETRIES", {"max_retries": 7}),
            ("AZURE_COPY_STATUS_POLL_MAX_RETRY", {"copy_status_poll_max_retry": 7}),
            ("AZURE_RETRY_DELAY", {"retry_delay": "7"}),
            ("FROSTFS_CONNECTION_TIMEOUT", {"connection_timeout": 7}),
            ("GCS_CREDENTIALS_PRIVATE_KEY_ID", {"credentials": {"private_key_id": "7"}}),
            ("OTHER_MAX_RETRIES", {"max": {"retries": 7}}),
        ],
    )
    def test_known_options(self, name, parameters):
        environ = {"REGISTRY_STORAGE": name.partition("_")[0].lower(), f"REGISTRY_STORAGE_{name}": "7"}
        assert read(environ=environ).storage.parameters == parameters

    def test_keys_of_the_file(self):
        body = "log: {fields: {my_field: a, My: b}}"
        assert stored(body, {"REGISTRY_LOG_FIELDS_MY_FIELD": "c"}).log.fields == {"my_field": "c", "My": "b"}


class TestTexts:
    @pytest.mark.parametrize(
        ("value", "text"),
        [
            ("plain", "plain"),
            ("0123", "0123"),
            ("yes", "yes"),
            ("'quoted'", "quoted"),
            ("@abc", "@abc"),
            ("*x", "*x"),
            ("a: b", "a: b"),
            ("[x", "[x"),
            ("[x]", "[x]"),
            ("{a: b}", "{a: b}"),
            ("#abc", "#abc"),
            ("%x", "%x"),
            ("`x`", "`x`"),
            ("!!int x", "!!int x"),
            ("null", ""),
            ("", ""),
        ],
    )
    def test_what_is_no_yaml_text_is_taken_as_it_stands(self, value, text):
        assert read(environ={"REGISTRY_HTTP_SECRET": value}).http.secret == text

    @pytest.mark.parametrize("value", ["123", "@x", "on", "1e3"])
    def test_known_options(self, value):
        environ = {"REGISTRY_AUTH": "htpasswd", "REGISTRY_AUTH_HTPASSWD_REALM": value}
        assert read(environ=environ).auth.parameters == {"realm": value}

    def test_elements_of_lists(self):
        assert read(environ={"REGISTRY_REDIS_ADDRS_0": "[::1]:6379"}).redis.addrs == ["[::1]:6379"]

    def test_other_targets_need_yaml(self):
        [line] = problems(environ={"REGISTRY_HTTP_DRAINTIMEOUT": "[x"})
        assert line.startswith("REGISTRY_HTTP_DRAINTIMEOUT: http.draintimeout: not valid YAML")


class TestFiles:
    def test_a_secret_from_a_file(self, tmp_path):
        (tmp_path / "secret").write_text("@s3cret: x\n")
        environ = {
            "REGISTRY_HTTP_SECRET_FILE": str(tmp_path / "secret"),
            "REGISTRY_STORAGE": "s3",
            "REGISTRY_STORAGE_S3_SECRETKEY_FILE": str(tmp_path / "secret"),
        }
        result = loaded(environ=environ)
        assert result.configuration.http.secret == "@s3cret: x"
        assert result.configuration.storage.parameters == {"secretkey": "@s3cret: x"}
        assert result.warnings == []

    def test_no_such_file(self, tmp_path):
        assert problems(environ={"REGISTRY_HTTP_SECRET_FILE": str(tmp_path / "none")}) == [
            "REGISTRY_HTTP_SECRET_FILE: http.secret: cannot read the file it names: No such file or directory"
        ]

    def test_not_text(self, tmp_path):
        (tmp_path / "secret").write_bytes(b"\xff\xfe")
        [line] = problems(environ={"REGISTRY_HTTP_SECRET_FILE": str(tmp_path / "secret")})
        assert line.endswith("the file it names is not UTF-8 text")

    @pytest.mark.parametrize(
        ("name", "path"),
        [
            ("REGISTRY_HTTP_DRAINTIMEOUT_FILE", "http.draintimeout"),
            ("REGISTRY_HTTP_SECRET_FILE_X", "http.secret"),
            ("REGISTRY_HTTP_SECRET_X", "http.secret"),
        ],
    )
    def test_what_lies_below_a_value_is_warned_about(self, name, path):
        result = loaded(environ={name: "x"})
        assert result.warnings == [
            f"Ignoring environment variable {name}: {path} holds a value, and nothing lies below it"
        ]
        assert result.configuration == read()


@pytest.mark.parametrize("name", ["X-CONTENT-TYPE-OPTIONS", "x-content-type-options"])
def test_headers_are_replaced_in_any_case(name):
    body = "http: {headers: {X-Content-Type-Options: [nosniff]}}"
    environ = {f"REGISTRY_HTTP_HEADERS_{name}": "[other]"}
    assert stored(body, environ).http.headers == {"X-Content-Type-Options": ["other"]}


@pytest.mark.parametrize(
    ("name", "body", "what"),
    [
        ("REGISTRY_HTTP_ADDR", "http: 5", "http is not a mapping"),
        ("REGISTRY_REDIS_ADDRS_0", "redis: {addrs: x}", "redis.addrs is not a list"),
    ],
)
def test_nothing_is_put_below_what_the_file_has_wrong(name, body, what):
    assert len(stored_problems(body, {name: "x"})) == 1
    root_problem = stored_problems(body)
    assert stored_problems(body, {name: "x"}) == root_problem
    assert what.split(" is ")[0] in root_problem[0]


_WORDS = """
    LEVEL HOOKS FILESYSTEM S3 AZURE MAX RETRIES DELETE ENABLED TLS CLIENTCAS HEADERS OPTIONS ADDRS HTPASSWD REALM
    ENDPOINTS NAME READONLY 0 1 2 x
"""
_SEGMENTS = st.sampled_from(["", *ROOT.segments, *_WORDS.split()])
_VALUES = st.sampled_from(["", "x", "true", "{a: b}", "[a, {b: c}]", "- name: x", "5", "~", "@", "5s"]) | st.text(
    max_size=20
)


@thorough(60)
@given(st.dictionaries(st.lists(_SEGMENTS, min_size=1, max_size=6).map("_".join), _VALUES, max_size=6))
def test_arbitrary_variables(variables):
    result = attempt(
        "version: 0.1\nstorage: {filesystem: {rootdirectory: /x}}\nhttp: {headers: {A: [b]}}",
        {f"REGISTRY_{name}": value for name, value in variables.items()},
    )
    assert isinstance(result, Loaded) or result.problems
