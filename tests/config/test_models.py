from __future__ import annotations

import pytest
from tests.config.reading import loaded, problems, read, stored, stored_problems

from lading.config.models.configuration import Configuration
from lading.config.models.http import CIPHER_SUITES, split_address
from lading.config.models.storage import FilesystemParameters, Storage


def test_defaults():
    c = read("storage: inmemory")
    assert (c.version, c.loglevel, c.log.level, c.log.formatter) == ("0.1", None, "info", "text")
    assert (c.auth.type, c.auth.parameters, c.auth.surplus) == ("none", {}, [])
    assert (c.storage.delete.enabled, c.storage.redirect.disable) == (False, False)
    assert (c.storage.cache.blobdescriptor, c.storage.cache.blobdescriptorsize) == ("", 10000)
    purging = c.storage.maintenance.uploadpurging
    assert (purging.enabled, purging.age, purging.interval, purging.dryrun) == (True, 604800, 86400, False)
    assert (c.storage.maintenance.readonly.enabled, c.storage.tag.concurrencylimit) == (False, 0)
    assert (c.http.net, c.http.addr, c.http.tls.minimumtls) == ("tcp", "", "tls1.2")
    assert (c.http.tls.clientauth, c.http.tls.enabled) == ("require-and-verify-client-cert", False)
    assert (c.http.debug.prometheus.enabled, c.http.debug.prometheus.path) == (False, "/metrics")
    assert (c.catalog.maxentries, c.tags.maxtags) == (1000, 1000)
    assert (c.proxy.ttl, c.proxy.cachewritetimeout, c.proxy.exec.lifetime) == (604800, 300, None)
    assert (c.validation.active, c.validation.manifests.indexes.platforms) == (True, "all")
    assert c.redis.readtimeout == 3
    assert not c.redis.tls.active


def test_models_can_be_made_from_code():
    assert Configuration(storage=Storage(driver="inmemory")) == read("storage: inmemory")


@pytest.mark.parametrize(
    "section",
    ["log", "http", "redis", "health", "notifications", "proxy", "validation", "policy", "middleware", "auth"],
)
def test_null_is_the_default(section):
    assert stored(f"{section}: ~") == read("storage: inmemory")


def test_null_deeper_down():
    body = "http: {tls: ~, headers: {A: ~}, addr: ~}\nmiddleware: {storage: ~}\nhealth: {file: [~]}"
    configuration = stored(body)
    assert (configuration.http.headers, configuration.middleware, configuration.http.addr) == ({}, {}, "")
    assert configuration.health.file[0].interval == 10


class TestTypes:
    def test_text_takes_what_is_written(self):
        proxy = stored("proxy: {username: yes, password: 0123, remoteurl: 0x1}").proxy
        assert (proxy.username, proxy.password, proxy.remoteurl) == ("yes", "0123", "0x1")

    def test_untyped_values_are_resolved(self):
        body = "log: {fields: {a: 0123, b: yes, c: 'yes', d: 2024-01-02, e: [0x1, {f: ~}]}}"
        assert stored(body).log.fields == {
            "a": 83,
            "b": True,
            "c": "yes",
            "d": "2024-01-02",
            "e": [1, {"f": None}],
        }

    @pytest.mark.parametrize("value", ["y", "on", "True"])
    def test_flags(self, value):
        assert stored(f"http: {{relativeurls: {value}}}").http.relativeurls

    @pytest.mark.parametrize(
        ("value", "what"),
        [
            ("'true'", 'must be true or false (without quotes), not "true"'),
            ("1", 'must be true or false, not "1"'),
            ("[true]", "must be true or false, not a list"),
            ("a text of some length", 'must be true or false, not "a text ..."'),
        ],
    )
    def test_not_flags(self, value, what):
        assert stored_problems(f"http: {{relativeurls: {value}}}") == [f"config.yml:2: http.relativeurls: {what}"]

    @pytest.mark.parametrize(
        ("value", "number"), [("7", 7), ("-7", -7), ("1e3", 1000), ("0x10", 16), ("017", 15), ("1_0", 10)]
    )
    def test_integers(self, value, number):
        assert stored(f"redis: {{db: {value}}}").redis.db == number

    @pytest.mark.parametrize("value", ["'7'", "abc", "true", ".inf", ".nan", "9223372036854775808", "{}"])
    def test_not_integers(self, value):
        [line] = stored_problems(f"redis: {{db: {value}}}")
        assert line.startswith("config.yml:2: redis.db: must be a whole number, not ")

    @pytest.mark.parametrize(
        ("value", "seconds"),
        [("30s", 30), ("1h30m", 5400), ("5000000000", 5), ("0", 0), ("'0'", 0), ("-1", -1e-9)],
    )
    def test_durations(self, value, seconds):
        assert stored(f"proxy: {{ttl: {value}}}").proxy.ttl == seconds

    @pytest.mark.parametrize("value", ["5d", "'5'", "true", ".nan", "1e300"])
    def test_not_durations(self, value):
        [line] = stored_problems(f"http: {{draintimeout: {value}}}")
        assert line.startswith("config.yml:2: http.draintimeout: ")
        assert line.endswith(" is not a duration such as 30s, 1h30m or 300ms; a bare number counts nanoseconds")

    def test_a_list_is_not_a_duration(self):
        assert stored_problems("http: {draintimeout: []}") == [
            "config.yml:2: http.draintimeout: must be a duration, not a list"
        ]

    def test_headers_are_lists(self):
        assert stored("http: {headers: {A: [b, 1]}}").http.headers == {"A": ["b", "1"]}
        assert stored_problems("http: {headers: {A: b}}") == ["config.yml:2: http.headers.A: must be a list"]

    @pytest.mark.parametrize(
        ("body", "line"),
        [
            ("http: [1]", "http: must be a mapping"),
            ("http: text", "http: must be a mapping"),
            ("http: {tls: 5}", "http.tls: must be a mapping"),
            ("log: {fields: [1]}", "log.fields: must be a mapping"),
            ("log: {hooks: {a: b}}", "log.hooks: must be a list"),
            ("log: {hooks: [x]}", "log.hooks[0]: must be a mapping"),
            ("http: {addr: {a: b}}", "http.addr: must be text, not a mapping"),
            ("redis: {addrs: [[x]]}", "redis.addrs[0]: must be text, not a list"),
            ("middleware: {storage: {name: x}}", "middleware.storage: must be a list"),
            ("auth: [x]", "auth: must be a type's name, or a mapping of one type"),
        ],
    )
    def test_shapes(self, body, line):
        assert stored_problems(body) == [f"config.yml:2: {line}"]


class TestLog:
    @pytest.mark.parametrize(
        ("body", "level"),
        [
            ("loglevel: debug", "debug"),
            ("loglevel: debug\nlog: {level: warn}", "warn"),
            ("loglevel: debug\nlog: {level: ~}", "debug"),
            ("log: {level: ERROR}", "error"),
            ("log: {level: ~}", "info"),
        ],
    )
    def test_level(self, body, level):
        log = stored(body)
        assert (log.log.level, log.loglevel) == (level, None)

    @pytest.mark.parametrize(("text", "shown"), [("Loud", "Loud"), ("''", "")])
    def test_a_bad_level(self, text, shown):
        assert stored_problems(f"log:\n  level: {text}\nloglevel: nothing") == [
            f"config.yml:3: log.level: invalid loglevel {shown} Must be one of [error, warn, info, debug]",
            "config.yml:4: loglevel: invalid loglevel nothing Must be one of [error, warn, info, debug]",
        ]

    def test_hooks(self):
        body = """
log:
  hooks:
    - type: mail
      levels: [panic]
      options: {smtp: {addr: a:25, username: u, password: p, insecure: true}, from: me, to: [you]}
"""
        [hook] = stored(body).log.hooks
        assert (hook.type, hook.levels, hook.options.sender, hook.options.to) == ("mail", ["panic"], "me", ["you"])
        assert hook.options.smtp.insecure


class TestStorage:
    @pytest.mark.parametrize("body", ["inmemory", "{inmemory: {}}", "{inmemory: ~}"])
    def test_a_driver_without_parameters(self, body):
        storage = read(f"storage: {body}").storage
        assert (storage.driver, storage.parameters) == ("inmemory", {})

    @pytest.mark.parametrize("body", ["", "storage: ~", "storage: {delete: {enabled: true}}", "storage: {}"])
    def test_none(self, body):
        [line] = problems(body)
        assert line.endswith(": storage: no storage configuration provided")

    def test_two_drivers(self):
        assert problems("storage: {inmemory: ~, s3: ~}") == [
            "config.yml:2: storage: must provide exactly one storage type. Provided: [inmemory s3]"
        ]

    def test_not_a_map(self):
        assert problems("storage: [inmemory]") == [
            "config.yml:2: storage: must be a driver's name, or a mapping of one driver"
        ]
        assert problems("storage: {s3: bucket}") == ["config.yml:2: storage.s3: must be a mapping of parameters"]

    def test_cache(self):
        cache = read("storage: {inmemory: ~, cache: {layerinfo: redis, blobdescriptorsize: '50'}}").storage.cache
        assert (cache.blobdescriptor, cache.blobdescriptorsize) == ("redis", 50)
        cache = read("storage: {inmemory: ~, cache: {layerinfo: redis, blobdescriptor: inmemory}}").storage.cache
        assert cache.blobdescriptor == "inmemory"

    @pytest.mark.parametrize("value", ["true", "'true'", "1", "~", "{}"])
    def test_only_true_enables_deletion(self, value):
        delete = read(f"storage: {{inmemory: ~, delete: {{enabled: {value}}}}}").storage.delete
        assert delete.enabled is (value == "true")

    @pytest.mark.parametrize(
        ("section", "line"),
        [
            ("redirect: {}", "redirect.disable: invalid type for redirect config: disable must be true or false"),
            (
                "redirect: {disable: 'true'}",
                "redirect.disable: invalid type for redirect config: disable must be true or false",
            ),
            (
                "tag: {concurrencylimit: -1}",
                "tag.concurrencylimit: tag lookup concurrency limit should be a non-negative integer value",
            ),
            (
                "tag: {concurrencylimit: x}",
                'tag.concurrencylimit: must be a whole number, not "x"',
            ),
            (
                "cache: {blobdescriptorsize: x}",
                'cache.blobdescriptorsize: must be a whole number, not "x"',
            ),
            ("delete: 5", "delete: must be a mapping"),
            (
                "maintenance: {readonly: true}",
                "maintenance.readonly: readonly config key must contain additional keys",
            ),
            (
                "maintenance: {readonly: {enabled: 'true'}}",
                "maintenance.readonly.enabled: readonly's enabled config key must have a boolean value",
            ),
            (
                "maintenance: {uploadpurging: false}",
                "maintenance.uploadpurging: uploadpurging config key must contain additional keys",
            ),
            (
                "maintenance: {uploadpurging: {age: 5}}",
                "maintenance.uploadpurging.age: Unable to parse upload purge configuration: age is not a string",
            ),
            (
                "maintenance: {uploadpurging: {interval: [x]}}",
                "maintenance.uploadpurging.interval: "
                "Unable to parse upload purge configuration: interval is not a string",
            ),
            (
                "maintenance: {uploadpurging: {age: 5d}}",
                "maintenance.uploadpurging.age: Unable to parse upload purge configuration: "
                'Cannot parse duration: "5d" is not a duration such as 30s, 1h30m or 300ms',
            ),
            (
                "maintenance: {uploadpurging: {interval: 5d}}",
                "maintenance.uploadpurging.interval: Unable to parse upload purge configuration: "
                'Cannot parse interval: "5d" is not a duration such as 30s, 1h30m or 300ms',
            ),
            (
                "maintenance: {uploadpurging: {dryrun: 1}}",
                "maintenance.uploadpurging.dryrun: "
                "Unable to parse upload purge configuration: cannot parse dryrun",
            ),
        ],
    )
    def test_sections(self, section, line):
        assert problems(f"storage: {{inmemory: ~, {section}}}") == [f"config.yml:2: storage.{line}"]

    def test_members_of_uploadpurging_have_their_own_defaults(self):
        purging = read("storage: {inmemory: ~, maintenance: {uploadpurging: {age: 1h}}}")
        assert purging.storage.maintenance.uploadpurging.age == 3600
        assert purging.storage.maintenance.uploadpurging.interval == 86400

    def test_uploadpurging_that_is_off_is_not_looked_at(self):
        body = "storage: {inmemory: ~, maintenance: {uploadpurging: {enabled: false, age: 5, dryrun: x}}}"
        assert not read(body).storage.maintenance.uploadpurging.enabled

    def test_only_false_switches_uploadpurging_off(self):
        body = "storage: {inmemory: ~, maintenance: {uploadpurging: {enabled: 'false'}}}"
        assert read(body).storage.maintenance.uploadpurging.enabled


class TestFilesystem:
    @pytest.mark.parametrize(
        ("given", "limit"),
        [
            (None, 100),
            (812, 812),
            ("50", 50),
            ("5", 25),
            (-1, 25),
            (0, 25),
            ("0x20", 32),
            ("062", 50),
            ("1_00", 100),
        ],
    )
    def test_maxthreads(self, given, limit):
        assert FilesystemParameters.of({"maxthreads": given}).maxthreads == limit

    @pytest.mark.parametrize(
        ("given", "what"),
        [
            ("foo", "parameter must be an integer, 'foo' invalid"),
            ("''", "parameter must be an integer, '' invalid"),
            ("'-5'", "parameter must be an integer, '-5' invalid"),
            ("1.5", "invalid value 1.5"),
            ("true", "invalid value True"),
            ("[5]", "invalid value a list"),
        ],
    )
    def test_bad_maxthreads(self, given, what):
        body = f"storage:\n  filesystem:\n    maxthreads: {given}\nredis: 5"
        assert problems(body) == [
            "config.yml:5: redis: must be a mapping",
            f"config.yml:4: storage.filesystem.maxthreads: maxthreads config error: {what}",
        ]

    @pytest.mark.parametrize(
        ("given", "path"), [(None, "/var/lib/registry"), ("data", "data"), (83, "83"), (True, "true")]
    )
    def test_rootdirectory(self, given, path):
        assert FilesystemParameters.of({"rootdirectory": given}).rootdirectory == path

    def test_not_a_path(self):
        with pytest.raises(ValueError, match="must be a path, not a mapping"):
            FilesystemParameters.of({"rootdirectory": {"a": "b"}})

    def test_defaults(self):
        assert FilesystemParameters() == FilesystemParameters.of({"unknown": 1})


class TestAuth:
    @pytest.mark.parametrize("body", ["auth: silly", "auth: {silly: ~}", "auth: {silly: {}}"])
    def test_a_type_without_options(self, body):
        auth = stored(body).auth
        assert (auth.type, auth.parameters) == ("silly", {})

    def test_two_types(self):
        assert stored_problems("auth: {silly: ~, token: ~}") == [
            "config.yml:2: auth: must provide exactly one type. Provided: [silly token]"
        ]

    def test_an_empty_map(self):
        assert stored("auth: {}").auth.type == "none"


class TestHttp:
    @pytest.mark.parametrize(
        ("body", "line"),
        [
            ("net: udp", "net: unknown address type udp (allowed: tcp, unix)"),
            ("addr: '5000'", "addr: must be host:port, such as :5000 or [::1]:5000"),
            ("addr: '::1:5000'", "addr: must be host:port, such as :5000 or [::1]:5000"),
            ("addr: ':http'", "addr: the port must be a number from 0 to 65535"),
            ("addr: ':65536'", "addr: the port must be a number from 0 to 65535"),
            ("draintimeout: -1s", "draintimeout: must not be negative"),
            ("host: https://é.example", "host: must be ASCII; an international name goes in its xn-- form"),
            ("headers: {'a b': [c]}", "headers.a b: is not the name of a header"),
            ('headers: {a: [b, "c\\r\\nd: e"]}', "headers.a[1]: has control characters"),
            ("prefix: registry/", 'prefix: must start with "/"'),
            (
                "tls: {minimumtls: tls1.0}",
                "tls.minimumtls: unknown minimum TLS level 'tls1.0' specified for http.tls.minimumtls"
                " (allowed: tls1.2, tls1.3)",
            ),
            (
                "tls: {ciphersuites: [TLS_RSA_WITH_RC4_128_SHA]}",
                "tls.ciphersuites[0]: unknown TLS cipher suite 'TLS_RSA_WITH_RC4_128_SHA'"
                f" specified for http.tls.cipherSuites (allowed: {', '.join(sorted(CIPHER_SUITES))})",
            ),
            (
                "tls: {clientauth: ''}",
                "tls.clientauth: invalid ClientAuth  Must be one of: request-client-cert, require-any-client-cert,"
                " verify-client-cert-if-given, require-and-verify-client-cert",
            ),
            (
                "tls: {certificate: c, key: k, letsencrypt: {cachefile: d}}",
                "tls: cannot specify both certificate and Let's Encrypt",
            ),
            ("tls: {certificate: c}", "tls: certificate is set, but not its key"),
        ],
    )
    def test_problems(self, body, line):
        assert stored_problems(f"http: {{{body}}}") == [f"config.yml:2: http.{line}"]

    @pytest.mark.parametrize("host", ["http://[::1", "http://a:port/"])
    def test_a_host_that_cannot_be_parsed(self, host):
        [line] = stored_problems(f"http: {{host: '{host}'}}")
        assert line.startswith('config.yml:2: http.host: could not parse http "host" parameter: ')

    @pytest.mark.parametrize(
        ("text", "address"),
        [
            (":5000", ("", 5000)),
            ("[::]:0", ("::", 0)),
            ("localhost:80", ("localhost", 80)),
            ("0.0.0.0:1", ("0.0.0.0", 1)),
        ],
    )
    def test_addresses(self, text, address):
        assert split_address(text) == address
        assert stored(f"http: {{addr: '{text}'}}").http.addr == text

    def test_a_socket_path(self):
        assert stored("http: {net: unix, addr: /run/registry.sock}").http.addr == "/run/registry.sock"

    def test_empty_words(self):
        http = stored("http: {net: '', tls: {minimumtls: ''}}").http
        assert (http.net, http.tls.minimumtls) == ("tcp", "tls1.2")

    def test_cipher_suites(self):
        suites = ["TLS_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA", "TLS_RSA_WITH_AES_128_CBC_SHA"]
        assert stored(f"http: {{tls: {{ciphersuites: {suites}}}}}").http.tls.ciphersuites == suites
        assert len(CIPHER_SUITES) == 3 + 5 + 5 + 6

    def test_with_tls_1_3_cipher_suites_are_not_checked(self):
        result = loaded("http: {tls: {minimumtls: tls1.3, ciphersuites: [X]}}\nstorage: inmemory")
        assert result.warnings == [
            "config.yml:2:34: http.tls.ciphersuites: restricting TLS cipher suites to empty. Because configuring"
            " cipher suites is no longer supported in tls1.3"
        ]

    @pytest.mark.parametrize(("tls", "enabled"), [("{certificate: c, key: k}", True), ("{key: k}", False)])
    def test_when_tls_is_on(self, tls, enabled):
        assert stored(f"http: {{tls: {tls}}}").http.tls.enabled is enabled


class TestOthers:
    @pytest.mark.parametrize(("given", "limit"), [("-5", 1000), ("0", 1000), ("7", 7)])
    def test_catalog(self, given, limit):
        assert stored(f"catalog: {{maxentries: {given}}}").catalog.maxentries == limit

    @pytest.mark.parametrize(("given", "limit"), [("0", 1000), ("7", 7)])
    def test_tags(self, given, limit):
        assert stored(f"tags: {{maxtags: {given}}}").tags.maxtags == limit

    def test_negative_maxtags(self):
        assert stored_problems("tags: {maxtags: -1}") == [
            "config.yml:2: tags.maxtags: maxtags limit must be a non-negative integer value"
        ]

    @pytest.mark.parametrize(
        ("body", "active"),
        [
            ("{}", True),
            ("{disabled: true}", False),
            ("{enabled: true, disabled: true}", True),
            ("{enabled: false}", False),
        ],
    )
    def test_validation_is_active(self, body, active):
        assert stored(f"validation: {body}").validation.active is active

    @pytest.mark.parametrize("pattern", ["[", "a{2,1}", r"\pL", "[[:alpha:]]", "(?P<a", "(" * 5000])
    def test_patterns_python_cannot_use(self, pattern):
        [line] = stored_problems(f"validation: {{manifests: {{urls: {{allow: [ok, '{pattern}']}}}}}}")
        assert line.startswith("config.yml:2: validation.manifests.urls.allow[1]: not a regular expression")

    def test_platforms(self):
        body = (
            "validation: {manifests: {indexes: {platforms: LIST, platformlist: [{os: linux, architecture: arm}]}}}"
        )
        indexes = stored(body).validation.manifests.indexes
        assert (indexes.platforms, indexes.platformlist[0].architecture) == ("list", "arm")
        assert stored_problems("validation: {manifests: {indexes: {platforms: some}}}") == [
            "config.yml:2: validation.manifests.indexes.platforms: "
            "invalid platforms option some Must be one of [all, none, list]"
        ]

    def test_endpoints(self):
        body = "notifications: {endpoints: [{timeout: 0, threshold: -1, backoff: -5s, ignore: {actions: [pull]}}]}"
        [endpoint] = stored(body).notifications.endpoints
        assert (endpoint.timeout, endpoint.threshold, endpoint.backoff) == (1, 10, 1)
        assert endpoint.ignore.actions == ["pull"]

    def test_health(self):
        health = stored("health: {storagedriver: {enabled: true, interval: 0}, http: [{statuscode: 0}]}").health
        assert (health.storagedriver.interval, health.http[0].statuscode) == (10, 200)

    def test_proxy(self):
        proxy = stored("proxy: {ttl: 0, cachewritetimeout: 0, exec: {lifetime: 0}}").proxy
        assert (proxy.ttl, proxy.cachewritetimeout, proxy.exec.lifetime) == (0, 300, 0)

    def test_redis(self):
        redis = stored("redis: {dialtimeout: 0, readtimeout: -1, maxredirects: -1, disableindentity: true}").redis
        assert (redis.dialtimeout, redis.readtimeout, redis.maxredirects) == (5, -1e-9, -1)
        assert redis.disableidentity

    @pytest.mark.parametrize(
        ("tls", "active"),
        [("{}", False), ("{rootcas: [a]}", True), ("{clientcas: [a]}", True), ("{enabled: true}", True)],
    )
    def test_redis_tls(self, tls, active):
        assert stored(f"redis: {{tls: {tls}}}").redis.tls.active is active
