"""`redis`: the connection options, written straight under the section, and TLS."""

from __future__ import annotations

from typing import Annotated

from lading.config.models.section import Section, Then, option
from lading.config.models.values import Duration, Flag, Integer, Secret, Text, nonzero_or


class RedisTls(Section):
    """Without `enabled`, TLS is on as soon as any other field is set."""

    enabled: Flag | None = None
    certificate: Text = ""
    key: Text = ""
    rootcas: list[Text] = option(factory=list, keys=("rootcas", "clientcas"))

    @property
    def active(self) -> bool:
        given = bool(self.certificate or self.key or self.rootcas)
        return given if self.enabled is None else self.enabled


class Redis(Section):
    """No `addrs`: redis is not configured. Where -1 disables a duration it reads -1 ns, thus below zero."""

    GROUP = "OPTIONS"

    addrs: list[Text] = option(factory=list)
    mastername: Text = ""
    clientname: Text = ""
    db: Integer = 0
    protocol: Annotated[Integer, Then(nonzero_or(3))] = 3
    username: Text = ""
    password: Secret = ""
    sentinelusername: Text = ""
    sentinelpassword: Secret = ""
    maxretries: Integer = 0
    """0 is 3 tries, or in a cluster none; -1 is none."""
    minretrybackoff: Annotated[Duration, Then(nonzero_or(0.008))] = 0.008
    maxretrybackoff: Annotated[Duration, Then(nonzero_or(0.512))] = 0.512
    dialtimeout: Annotated[Duration, Then(nonzero_or(5.0))] = 5.0
    readtimeout: Annotated[Duration, Then(nonzero_or(3.0))] = 3.0
    """-1 ns is no limit, -2 ns is never to set one."""
    writetimeout: Duration = 0.0
    """0 is that of `readtimeout`."""
    contexttimeoutenabled: Flag = False
    poolfifo: Flag = False
    poolsize: Integer = 0
    """0 is 10 for each CPU, in a cluster 5 for each CPU and node."""
    pooltimeout: Duration = 0.0
    """0 is a second more than `readtimeout`, or 30 s without one."""
    minidleconns: Integer = 0
    maxidleconns: Integer = 0
    maxactiveconns: Integer = 0
    connmaxidletime: Annotated[Duration, Then(nonzero_or(1800.0))] = 1800.0
    connmaxlifetime: Duration = 0.0
    maxredirects: Annotated[Integer, Then(nonzero_or(3))] = 3
    readonly: Flag = False
    routebylatency: Flag = False
    routerandomly: Flag = False
    disableidentity: Flag = option(default=False, keys=("disableidentity", "disableindentity"))
    identitysuffix: Text = ""
    unstableresp3: Flag = False
    tls: RedisTls = option(factory=RedisTls)
