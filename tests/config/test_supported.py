from __future__ import annotations

import pytest
from tests.config.reading import read

from lading.config.load import load
from lading.config.supported import unsupported

HONOURED = """
log:
  accesslog: {disabled: true}
  level: debug
  formatter: json
  fields: {a: b}
  hooks: [{disabled: true, type: mail}]
storage:
  filesystem: {rootdirectory: /data, maxthreads: 50}
  cache: {blobdescriptor: inmemory}
  delete: {enabled: true}
  redirect: {disable: true}
  tag: {concurrencylimit: 5}
  maintenance: {uploadpurging: {dryrun: true}, readonly: {enabled: true}}
auth: None
access: {rules: [], groups: {a: [b]}, readonly: [c], robots: f}
tokenservice: {issuer: i}
middleware: {storage: [{name: cloudfront, disabled: true}]}
http:
  addr: :5000
  host: https://registry.example/
  prefix: /p/
  secret: s
  relativeurls: true
  draintimeout: 5s
  headers: {A: [b]}
  tls: {certificate: c, key: k, clientcas: [a], minimumtls: tls1.3, ciphersuites: [X]}
  debug: {prometheus: {enabled: true}}
  http2: {disabled: true}
  h2c: {enabled: true}
notifications: {events: {includereferences: true}, endpoints: [{name: a, disabled: true}]}
redis: {password: p}
catalog: {maxentries: 5}
tags: {maxtags: 5}
proxy: {username: u}
validation: {manifests: {urls: {allow: [a]}, indexes: {platforms: none}}}
policy: {repository: {classes: [image]}}
"""


def test_what_is_honoured():
    assert unsupported(read(HONOURED)) == []
    assert unsupported(load(None, {}).configuration) == []


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ("log: {formatter: logstash}", 'log.formatter: unsupported logging formatter: "logstash"'),
        ("log: {reportcaller: true}", "log.reportcaller: "),
        ("log: {hooks: [{disabled: true}, {type: mail}]}", "log.hooks: "),
        (
            "auth: {ldap: {realm: r}}",
            "auth: unable to configure authorization (ldap): no access controller",
        ),
        ("access: {rules: []}", "access.rules: has no effect without auth or tokenservice"),
        ("access: {robots: f}", "access.robots: has no effect without auth or tokenservice"),
        ("middleware: {storage: [{name: cloudfront}]}", "middleware.storage: "),
        ("middleware: {registry: [{name: x}]}", "middleware.registry: "),
        ("middleware: {repository: [{name: x}]}", "middleware.repository: "),
        ("http: {addr: ':1', debug: {addr: ':2'}}", "http.debug.addr: "),
        ("http: {addr: ':1', tls: {clientcas: [a, b]}}", "http.tls.clientcas: more than one file: "),
        ("http: {addr: ':1', tls: {clientcas: [a], clientauth: request-client-cert}}", "http.tls.clientauth: "),
        ("http: {addr: ':1', tls: {ciphersuites: [TLS_AES_128_GCM_SHA256]}}", "http.tls.ciphersuites: "),
        ("http: {addr: ':1', tls: {letsencrypt: {cachefile: c}}}", "http.tls.letsencrypt.cachefile: "),
        ("http: {addr: ''}", "http.addr: is not set"),
        ("notifications: {endpoints: [{name: a}]}", "notifications.endpoints: "),
        ("redis: {addrs: [a:1]}", "redis.addrs: "),
        ("health: {storagedriver: {enabled: true}}", "health.storagedriver.enabled: "),
        ("health: {file: [{file: a}]}", "health.file: "),
        ("health: {http: [{uri: a}]}", "health.http: "),
        ("health: {tcp: [{addr: a}]}", "health.tcp: "),
        ("proxy: {remoteurl: https://a}", "proxy.remoteurl: "),
    ],
)
def test_what_is_not(body, line):
    address = "" if body.startswith("http") else "http: {addr: ':1'}\n"
    [found] = unsupported(read(f"storage: inmemory\n{address}{body}"))
    assert found.startswith(line)


@pytest.mark.parametrize(
    ("storage", "line"),
    [
        (
            "s3: {bucket: b}",
            "storage: StorageDriver not registered: s3 (this version of Lading has: filesystem, inmemory)",
        ),
        (
            "inmemory: ~, cache: {blobdescriptor: redis}",
            "storage.cache.blobdescriptor: redis: not supported by this version of Lading",
        ),
    ],
)
def test_storage_that_is_not(storage, line):
    assert unsupported(read(f"storage: {{{storage}}}\nhttp: {{addr: ':1'}}")) == [line]


def test_two_kinds_of_authorization():
    configuration = read(
        "storage: inmemory\nhttp: {addr: ':1'}\nauth: none",
        {"REGISTRY_AUTH_TOKEN_REALM": "r", "REGISTRY_AUTH_SILLY_REALM": "r"},
    )
    assert unsupported(configuration) == [
        "auth: more than one type in configuration or environment: none, silly, token"
    ]


def test_some_sections_only():
    configuration = read("storage: s3\nauth: ldap\nlog: {formatter: logstash}")
    assert len(unsupported(configuration)) == 4
    assert [line.partition(":")[0] for line in unsupported(configuration, "log", "storage")] == [
        "log.formatter",
        "storage",
    ]
