from __future__ import annotations

from collections.abc import Iterator

import pytest

from lading.config.kinds import Kind, ListOf, MapOf, Struct
from lading.config.schema import ROOT

KEYS = """
version loglevel
log.accesslog.disabled log.level log.formatter log.fields.* log.reportcaller
log.hooks[].disabled log.hooks[].type log.hooks[].levels[] log.hooks[].options.smtp.addr
log.hooks[].options.smtp.username log.hooks[].options.smtp.password log.hooks[].options.smtp.insecure
log.hooks[].options.from log.hooks[].options.to[]
storage.*.* storage.cache.blobdescriptor storage.cache.layerinfo storage.cache.blobdescriptorsize
storage.delete.enabled storage.delete.repositories storage.redirect.disable storage.tag.concurrencylimit
storage.maintenance.uploadpurging.enabled storage.maintenance.uploadpurging.age
storage.maintenance.uploadpurging.interval storage.maintenance.uploadpurging.dryrun
storage.maintenance.readonly.enabled
storage.maintenance.garbagecollection.deleteuntagged storage.maintenance.garbagecollection.enabled
storage.maintenance.garbagecollection.grace storage.maintenance.garbagecollection.interval
storage.maintenance.garbagecollection.quarantine storage.maintenance.garbagecollection.rate
access.rules[].repositories[] access.rules[].actions[] access.rules[].who[]
access.groups.*[] access.readonly[] access.robots
auth.*.*
tokenservice.issuer tokenservice.services[] tokenservice.path tokenservice.keys tokenservice.algorithm
tokenservice.rotation tokenservice.expiry tokenservice.refresh tokenservice.htpasswd
tokenservice.workloads[].name tokenservice.workloads[].issuer tokenservice.workloads[].audience
tokenservice.workloads[].jwks tokenservice.workloads[].rules[].claims.* tokenservice.workloads[].rules[].user
tokenservice.workloads[].rules[].groups[]
middleware.*[].name middleware.*[].disabled middleware.*[].options.*
http.addr http.net http.socketmode http.trustedproxies[] http.host http.prefix http.secret
http.relativeurls http.draintimeout
http.tls.certificate http.tls.key http.tls.clientcas[] http.tls.clientauth http.tls.minimumtls
http.tls.ciphersuites[] http.tls.letsencrypt.cachefile http.tls.letsencrypt.email
http.tls.letsencrypt.hosts[] http.tls.letsencrypt.directoryurl
http.headers.*[] http.debug.addr http.debug.prometheus.enabled http.debug.prometheus.path
http.http2.disabled http.h2c.enabled
notifications.events.includereferences
notifications.endpoints[].name notifications.endpoints[].url notifications.endpoints[].disabled
notifications.endpoints[].headers.*[] notifications.endpoints[].timeout notifications.endpoints[].threshold
notifications.endpoints[].backoff notifications.endpoints[].ignoredmediatypes[]
notifications.endpoints[].ignore.mediatypes[] notifications.endpoints[].ignore.actions[]
notifications.endpoints[].secret notifications.endpoints[].format
notifications.endpoints[].redis.stream notifications.endpoints[].redis.maxlen
notifications.endpoints[].batch.events notifications.endpoints[].batch.linger
notifications.endpoints[].maxattempts
notifications.journal.directory notifications.journal.maxevents notifications.journal.maxbytes
redis.addrs[] redis.mastername redis.clientname redis.db redis.protocol redis.username redis.password
redis.sentinelusername redis.sentinelpassword redis.maxretries redis.minretrybackoff redis.maxretrybackoff
redis.dialtimeout redis.readtimeout redis.writetimeout redis.contexttimeoutenabled redis.poolfifo
redis.poolsize redis.pooltimeout redis.minidleconns redis.maxidleconns redis.maxactiveconns
redis.connmaxidletime redis.connmaxlifetime redis.maxredirects redis.readonly redis.routebylatency
redis.routerandomly redis.disableidentity redis.disableindentity redis.identitysuffix redis.unstableresp3
redis.tls.enabled redis.tls.certificate redis.tls.key redis.tls.rootcas[] redis.tls.clientcas[]
health.storagedriver.enabled health.storagedriver.interval health.storagedriver.threshold
health.file[].file health.file[].interval health.file[].threshold
health.http[].uri health.http[].headers.*[] health.http[].statuscode health.http[].timeout
health.http[].interval health.http[].threshold
health.tcp[].addr health.tcp[].timeout health.tcp[].interval health.tcp[].threshold
catalog.maxentries tags.maxtags
proxy.remoteurl proxy.username proxy.password proxy.exec.command proxy.exec.lifetime proxy.ttl
proxy.cachewritetimeout
validation.enabled validation.disabled validation.manifests.urls.allow[] validation.manifests.urls.deny[]
validation.manifests.indexes.platforms validation.manifests.indexes.platformlist[].os
validation.manifests.indexes.platformlist[].architecture
policy.repository.classes[]
proxy.interval proxy.maxbytes proxy.misses
upstreams[].allow[] upstreams[].cachewritetimeout upstreams[].deny[] upstreams[].exec.command
upstreams[].exec.lifetime upstreams[].hosts[] upstreams[].interval upstreams[].maxbytes upstreams[].misses
upstreams[].name upstreams[].password upstreams[].private[] upstreams[].remoteurl upstreams[].ttl
upstreams[].username
immutable[].repositories[] immutable[].tags[]
retention.enabled retention.interval retention.rules[].repositories[] retention.rules[].tags[]
retention.rules[].last retention.rules[].pushedwithin retention.rules[].pulledwithin
"""

SECTIONS = ("cache", "delete", "redirect", "tag", "maintenance")


def _leaves(kind: Kind, path: str) -> Iterator[str]:
    match kind:
        case Struct():
            for key, below in kind.fields.items():
                yield from _leaves(below, f"{path}.{key}")
        case ListOf():
            yield from _leaves(kind.item, f"{path}[]")
        case MapOf():
            yield from _leaves(kind.item, f"{path}.*")
            for key in SECTIONS if path == ".storage" else ():
                yield from _leaves(kind.fixed[key], f"{path}.{key}")
        case _:
            yield path.removeprefix(".")


def _structs(kind: Kind) -> Iterator[Struct]:
    match kind:
        case Struct():
            yield kind
            for below in kind.fields.values():
                yield from _structs(below)
        case ListOf():
            yield from _structs(kind.item)
        case MapOf():
            for below in (kind.item, *kind.fixed.values()):
                yield from _structs(below)


def test_every_key_of_the_schema_is_known_and_no_other():
    assert sorted(_leaves(ROOT, "")) == sorted(KEYS.split())


@pytest.mark.parametrize("struct", list(_structs(ROOT)), ids=lambda struct: "-".join(struct.fields)[:40])
def test_variables_can_reach_every_field(struct):
    assert not [key for key in struct.fields if "_" in key or key != key.lower()]
    assert not [segment for segment in struct.segments if "_" in segment]
    assert set(struct.segments.values()) == set(struct.fields)
    assert struct.group not in struct.segments


def test_the_segments_that_differ_from_their_keys():
    different = {
        segment: key for s in _structs(ROOT) for segment, key in s.segments.items() if segment != key.upper()
    }
    assert different == {
        "EVENTCONFIG": "events",
        "FILECHECKERS": "file",
        "HTTPCHECKERS": "http",
        "TCPCHECKERS": "tcp",
        "MAILOPTIONS": "options",
    }
    assert [s.group for s in _structs(ROOT) if s.group] == ["OPTIONS"]
