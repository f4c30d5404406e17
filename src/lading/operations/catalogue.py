"""Every metric there is: its name, labels and buckets. Names that begin with `registry_` are the original's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

Labels = tuple[str, ...]
Series = dict[tuple[str, Labels], list[float]]
"""Figures by metric and label values. A histogram has what fell into each bucket, the rest, and the sum."""

_ACTION_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_REQUEST_SECONDS = (*_ACTION_SECONDS, 25.0, 60.0)
_SIZES = tuple(1024.0 * 2**power for power in range(22))


@dataclass(frozen=True, slots=True)
class Metric:
    """`name` is without the `_total` of counters. What is in `initial` is shown before it is first counted."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    about: str
    labels: Labels = ()
    bounds: tuple[float, ...] = ()
    initial: tuple[Labels, ...] = ()


_PROXIED: tuple[Labels, ...] = (("blob",), ("manifest",))

IN_FLIGHT = Metric("registry_http_in_flight_requests", "gauge", "The in-flight HTTP requests", ("handler",))
REQUESTS = Metric(
    "registry_http_requests", "counter", "Total number of HTTP requests made.", ("code", "handler", "method")
)
DURATIONS = Metric(
    "registry_http_request_duration_seconds",
    "histogram",
    "The HTTP request latencies in seconds.",
    ("handler", "method"),
    _REQUEST_SECONDS,
)
REQUEST_SIZES = Metric(
    "registry_http_request_size_bytes", "histogram", "The HTTP request sizes in bytes.", ("handler",), _SIZES
)
RESPONSE_SIZES = Metric(
    "registry_http_response_size_bytes", "histogram", "The HTTP response sizes in bytes.", ("handler",), _SIZES
)
ACTIONS = Metric(
    "registry_storage_action_seconds",
    "histogram",
    "The number of seconds that the storage action takes",
    ("action", "driver"),
    _ACTION_SECONDS,
)
ACTION_ERRORS = Metric(
    "lading_storage_errors",
    "counter",
    "Storage actions that failed, other than by a path that was not found.",
    ("action", "driver"),
)
RECEIVED = Metric("lading_http_received_bytes", "counter", "Bytes of request bodies.", ("handler",))
SENT = Metric("lading_http_sent_bytes", "counter", "Bytes of the bodies of answers.", ("handler",))
UPLOADS = Metric(
    "lading_upload_sessions",
    "counter",
    "Upload sessions, by what became of them.",
    ("event",),
    initial=(("started",), ("finished",), ("cancelled",)),
)
CACHE_REQUESTS = Metric(
    "registry_storage_cache_requests", "counter", "The number of cache request received", initial=((),)
)
CACHE_HITS = Metric(
    "registry_storage_cache_hits", "counter", "The number of cache request received", initial=((),)
)
CACHE_ERRORS = Metric(
    "registry_storage_cache_errors", "counter", "The number of cache request errors", initial=((),)
)
CACHE_REDIS = Metric(
    "registry_storage_cache_redis_seconds",
    "histogram",
    "latency of redis cache operations",
    ("operation",),
    _ACTION_SECONDS,
)
PROXY = {
    "Requests": Metric(
        "registry_proxy_requests",
        "counter",
        "The number of total incoming proxy request received",
        ("type",),
        initial=_PROXIED,
    ),
    "Hits": Metric(
        "registry_proxy_hits", "counter", "The number of total proxy request hits", ("type",), initial=_PROXIED
    ),
    "Misses": Metric(
        "registry_proxy_misses", "counter", "The number of total proxy request misses", ("type",), initial=_PROXIED
    ),
    "BytesPulled": Metric(
        "registry_proxy_pulled_bytes",
        "counter",
        "The size of total bytes pulled from the upstream",
        ("type",),
        initial=_PROXIED,
    ),
    "BytesPushed": Metric(
        "registry_proxy_pushed_bytes",
        "counter",
        "The size of total bytes pushed to the client",
        ("type",),
        initial=_PROXIED,
    ),
}
"""By their names in `/debug/vars`."""
UPSTREAM_ANSWERS = Metric(
    "lading_upstream_answers",
    "counter",
    "Answers of registries that are pulled through from, by status; none where there was no answer.",
    ("code", "upstream"),
)
UPSTREAM_LIMIT = Metric(
    "lading_upstream_ratelimit_limit", "gauge", "What an upstream said lately may be pulled in all.", ("upstream",)
)
UPSTREAM_REMAINING = Metric(
    "lading_upstream_ratelimit_remaining",
    "gauge",
    "What an upstream said lately may still be pulled; the least that any process heard.",
    ("upstream",),
)
_LEAST = frozenset({UPSTREAM_LIMIT.name, UPSTREAM_REMAINING.name})
"""Not summed over processes: each was told the same, at another time."""

DISK_CACHE = {
    "hits": Metric("lading_disk_cache_hits", "counter", "Blobs served from the local disk."),
    "misses": Metric("lading_disk_cache_misses", "counter", "Blobs served by the storage behind the disk cache."),
    "hit_bytes": Metric(
        "lading_disk_cache_hit_bytes",
        "counter",
        "Sizes of the blobs that were served, whole or in part, from disk.",
    ),
    "kept_bytes": Metric("lading_disk_cache_kept_bytes", "counter", "Bytes of blobs put on the local disk."),
    "evictions": Metric("lading_disk_cache_evictions", "counter", "Blobs removed to make room for others."),
    "dropped": Metric("lading_disk_cache_dropped", "counter", "Blobs removed because their file was damaged."),
    "failures": Metric(
        "lading_disk_cache_failures", "counter", "Blobs not kept: errors of the disk, wrong content."
    ),
}
"""By the names in the counts of the storage."""

EVENTS = Metric(
    "registry_notifications_events",
    "counter",
    "Events read for an endpoint, and outcomes of attempts to send them.",
    ("endpoint", "type"),
)
EVENT_STATUSES = Metric(
    "registry_notifications_status", "counter", "Answers of endpoints, by status.", ("code", "endpoint")
)
EVENTS_PENDING = Metric(
    "registry_notifications_pending_total", "gauge", "Events that wait for an endpoint.", ("endpoint",)
)
EVENTS_PARKED = Metric(
    "lading_notifications_parked", "gauge", "Events that an endpoint has refused for good.", ("endpoint",)
)
EVENTS_DROPPED = Metric(
    "lading_notifications_dropped", "counter", "Events given up: the journal is full or fails."
)

WORKERS = Metric("lading_workers", "gauge", "Worker processes that are there to answer.")
RESTARTS = Metric("lading_worker_restarts", "counter", "Worker processes started in place of dead ones.")
SILENT = Metric("lading_workers_silent", "gauge", "Worker processes that did not hand over their figures in time.")
FAILING = Metric("lading_health_check_failing", "gauge", "1 while the health check fails.", ("check",))
INFO = Metric("lading_info", "gauge", "1, with the version of Lading and of Python.", ("python", "version"))

COLLECTIONS = Metric("python_gc_collections", "counter", "Runs of the garbage collector.", ("generation",))
CPU = Metric("process_cpu_seconds", "counter", "Total user and system CPU time spent in seconds.")
RESIDENT = Metric("process_resident_memory_bytes", "gauge", "Resident memory size in bytes.")
VIRTUAL = Metric("process_virtual_memory_bytes", "gauge", "Virtual memory size in bytes.")
OPEN_FDS = Metric("process_open_fds", "gauge", "Number of open file descriptors.")
MAX_FDS = Metric("process_max_fds", "gauge", "Maximum number of open file descriptors of one process.")
STARTED = Metric(
    "process_start_time_seconds", "gauge", "Start time of the first process since unix epoch in seconds."
)

GARBAGE = {
    "put_away": Metric(
        "lading_garbage_put_away", "counter", "Things put into quarantine as garbage", initial=((),)
    ),
    "bytes": Metric("lading_garbage_put_away_bytes", "counter", "Bytes of the blobs among them", initial=((),)),
    "restored": Metric(
        "lading_garbage_restored", "counter", "Things that a collection brought back", initial=((),)
    ),
}
COLLECTED = Metric("lading_garbage_collected_timestamp_seconds", "gauge", "When a collection last ended well")

RETENTION = {
    "deleted": Metric("lading_retention_deleted_tags", "counter", "Tags that retention deleted", initial=((),)),
    "kept": Metric("lading_retention_kept_tags", "gauge", "Tags that the last run of retention kept"),
}
RETAINED = Metric("lading_retention_timestamp_seconds", "gauge", "When retention last ended well")

METRICS: tuple[Metric, ...] = (
    *(IN_FLIGHT, REQUESTS, DURATIONS, REQUEST_SIZES, RESPONSE_SIZES, ACTIONS),
    *(CACHE_REQUESTS, CACHE_HITS, CACHE_ERRORS, CACHE_REDIS, *PROXY.values(), *DISK_CACHE.values()),
    *(UPSTREAM_ANSWERS, UPSTREAM_LIMIT, UPSTREAM_REMAINING, *GARBAGE.values(), COLLECTED),
    *(*RETENTION.values(), RETAINED),
    *(RECEIVED, SENT, UPLOADS, ACTION_ERRORS, WORKERS, RESTARTS, SILENT, FAILING, INFO),
    *(EVENTS, EVENT_STATUSES, EVENTS_PENDING, EVENTS_PARKED, EVENTS_DROPPED),
    *(COLLECTIONS, CPU, RESIDENT, VIRTUAL, OPEN_FDS, MAX_FDS, STARTED),
)
BY_NAME: Mapping[str, Metric] = {metric.name: metric for metric in METRICS}


def add(into: Series, more: Series) -> None:
    for key, values in more.items():
        held = into.get(key)
        if held is not None and key[0] in _LEAST:
            into[key] = min(held, values)
        else:
            into[key] = values if held is None else [a + b for a, b in zip(held, values, strict=True)]


def lasting(series: Series) -> Series:
    """What still counts when the process that counted it is gone."""
    return {key: values for key, values in series.items() if BY_NAME[key[0]].kind != "gauge"}


def to_wire(series: Series) -> list[object]:
    return [[name, labels, values] for (name, labels), values in series.items()]


def from_wire(rows: Iterable[tuple[str, list[str], list[float]]]) -> Series:
    return {(name, tuple(labels)): values for name, labels, values in rows}
