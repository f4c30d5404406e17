"""Keys of the original's that do more, or less, than there."""

from __future__ import annotations

BETTER = {
    "storage.filesystem.rootdirectory": "no value is the default, not a directory `<nil>`",
    "storage.delete.enabled": "what is not a boolean warns",
    "storage.maintenance.uploadpurging.enabled": "variables reach it, whether or not the file has the section",
    "storage.maintenance.uploadpurging.age": "may be left out",
    "storage.maintenance.uploadpurging.interval": "may be left out",
    "storage.maintenance.uploadpurging.dryrun": "may be left out",
    "storage.maintenance.readonly.enabled": "variables reach it, whether or not the file has the section",
    "http.addr": "empty is an error, not a port at random",
    "http.host": "without a scheme it warns",
    "http.secret": "may come from a file, by `REGISTRY_HTTP_SECRET_FILE`",
    "http.draintimeout": "requests may finish at 0, too",
    "http.tls.key": "without `certificate` it warns",
    "http.headers": "a variable replaces a header whatever the case of its name",
    "proxy.remoteurl": "a registry that is down at the start may come later",
    "proxy.ttl": "content that another image needs stays; deletion need not be enabled",
    "proxy.cachewritetimeout": "no limit while clients wait",
    "auth": "two types are an error, not one of them at random",
}
"""What differs from the original, to the good."""

NO_EFFECT = frozenset(
    {
        "storage.cache.blobdescriptorsize",
        *(f"redis.{key}" for key in ("contexttimeoutenabled", "poolfifo", "poolsize", "pooltimeout")),
        *(f"redis.{key}" for key in ("minidleconns", "maxidleconns", "maxactiveconns", "unstableresp3")),
        *(f"redis.{key}" for key in ("readonly", "routebylatency", "routerandomly")),
    }
)
"""Accepted, and there is nothing to honour."""
