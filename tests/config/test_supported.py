from __future__ import annotations

import pytest
from tests.config.reading import loaded, refusals

from lading.config.load import load

HONOURED = """
log:
  accesslog: {disabled: true}
  level: debug
  formatter: json
  fields: {a: b}
  hooks: [{type: mail, levels: [warn], options: {smtp: {addr: m:25}, from: f, to: [t]}}]
  reportcaller: true
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
  trustedproxies: [10.0.0.0/8, unix]
  tls:
    certificate: c
    key: k
    clientcas: [a, b]
    clientauth: request-client-cert
    ciphersuites: [TLS_RSA_WITH_AES_128_CBC_SHA]
  debug: {addr: ":5001", prometheus: {enabled: true}}
  http2: {disabled: true}
  h2c: {enabled: true}
health:
  storagedriver: {enabled: true}
  file: [{file: a}]
  http: [{uri: "http://a"}]
  tcp: [{addr: "a:1"}]
notifications: {events: {includereferences: true}, endpoints: [{name: a, url: "http://a"}]}
redis: {password: p}
catalog: {maxentries: 5}
tags: {maxtags: 5}
proxy: {username: u}
validation: {manifests: {urls: {allow: [a]}, indexes: {platforms: none}}}
policy: {repository: {classes: [image]}}
"""


HOOK = "log: {hooks: [{type: mail, levels: [error], options: {smtp: {addr: m:25}, from: f, to: [t]}}]}"


def test_what_is_honoured():
    assert refusals(loaded(HONOURED)) == []
    assert refusals(load(None, {})) == []


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ("log: {formatter: xml}", 'log.formatter: unsupported logging formatter: "xml"'),
        ("log: {hooks: [{disabled: true}, {type: pager}]}", 'log.hooks: unknown type "pager"'),
        (HOOK.replace("[error]", "[loud]"), 'log.hooks: levels: unknown level "loud"'),
        (HOOK.replace("[error]", "[]"), "log.hooks: levels is not set"),
        (HOOK.replace("from: f", "x: y"), "log.hooks: options.from is not set"),
        (HOOK.replace("[t]", "[]"), "log.hooks: options.to is not set"),
        (HOOK.replace("m:25", "m"), "log.hooks: options.smtp.addr: invalid Mail Address: must be host:port"),
        (HOOK.replace("from: f", r'from: "f\n"'), "log.hooks: options: an address has control characters"),
        (
            "auth: {ldap: {realm: r}}",
            "auth: unable to configure authorization (ldap): no access controller",
        ),
        ("access: {rules: []}", "access.rules: has no effect without auth or tokenservice"),
        ("access: {robots: f}", "access.robots: has no effect without auth or tokenservice"),
        (
            "middleware: {registry: [{name: y, disabled: true}, {name: x}]}",
            "middleware.registry[1].name: unable to configure registry middleware (x): no registry middleware",
        ),
        (
            "middleware: {repository: [{name: x}]}",
            "middleware.repository[0].name: unable to configure repository middleware (x): no repository",
        ),
        ("http: {addr: ''}", "http.addr: is not set (host:port"),
        ("http: {net: unix}", "http.addr: is not set (the path of the unix socket)"),
        ("notifications: {endpoints: [{name: a}]}", "notifications.endpoints[0].url: is not set"),
        (
            "notifications: {endpoints: [{name: a, url: 'http://a'}, {name: a, url: 'http://b'}]}",
            'notifications.endpoints[1].name: "a" is another endpoint',
        ),
        (
            "notifications: {endpoints: [{name: a, redis: {stream: s}}]}",
            "notifications.endpoints[0].redis.stream: redis is not configured: redis.addrs is not set",
        ),
        (
            "redis: {addrs: ['r:1']}\nnotifications: {endpoints: [{redis: {stream: s}}]}",
            "notifications.endpoints[0].name: is not set",
        ),
        (
            "notifications: {endpoints: [{name: a, url: 'http://a', redis: {maxlen: 5}}]}",
            "notifications.endpoints[0].redis.stream: is not set",
        ),
        ("health: {file: [{interval: 5s}]}", "health.file: file is not set"),
        ("health: {http: [{interval: 5s}]}", "health.http: uri is not set"),
        ("health: {tcp: [{interval: 5s}]}", "health.tcp: addr is not set"),
    ],
)
def test_what_is_not(body, line):
    address = "" if body.startswith("http") else "http: {addr: ':1'}\n"
    [found] = refusals(loaded(f"storage: inmemory\n{address}{body}"))
    assert line in found


@pytest.mark.parametrize(
    ("body", "environ", "start"),
    [
        ("log: {formatter: xml}", {}, "config.yml:4:18: log.formatter: unsupported logging"),
        ("", {"REGISTRY_AUTH": "ldap"}, "REGISTRY_AUTH: auth: unable to configure"),
        ("", {"REGISTRY_HTTP_ADDR": ""}, "REGISTRY_HTTP_ADDR: http.addr: is not set"),
    ],
)
def test_lines_begin_with_the_place(body, environ, start):
    result = loaded(f"storage: inmemory\nhttp: {{addr: ':1'}}\n{body}", environ)
    [line] = refusals(result)
    assert line.startswith(start)


def test_parameters_of_a_driver_have_their_places():
    body = "storage:\n  s3:\n    region: a/b\n    chunksize: 1\n    bucket: b\nhttp: {addr: ':1'}"
    assert [line.partition(" ")[2] for line in refusals(loaded(body))] == [
        "storage.s3.region: invalid region provided: a/b",
        "storage.s3.chunksize: the chunksize 1 parameter should be a number between 5242880 and 5368709120"
        " (inclusive)",
    ]
    assert refusals(loaded(body))[1].startswith("config.yml:5:16: ")


def test_two_kinds_of_authorization():
    result = loaded(
        "storage: inmemory\nhttp: {addr: ':1'}\nauth: none",
        {"REGISTRY_AUTH_TOKEN_REALM": "r", "REGISTRY_AUTH_SILLY_REALM": "r"},
    )
    [line] = refusals(result)
    assert line.endswith("auth: more than one type in configuration or environment: none, silly, token")
