"""The debug listener: an ASGI application for those who run the registry. No authentication, no TLS.

`/debug/health` and `/debug/vars` are as the original's; `/debug/stacks`, `/debug/memory` and `/debug/profile` are
there in place of Go's `/debug/pprof/`.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lading.api.request import Receive, Request, Scope, Send, parse_integer
from lading.operations import catalogue, exposition, introspection
from lading.operations.catalogue import Series
from lading.operations.collector import ANSWER_SECONDS, Collector
from lading.operations.introspection import MAX_PROFILE_SECONDS

PROFILE_SECONDS = 10

_TEXT = "text/plain; charset=utf-8"
_JSON = "application/json; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Page:
    body: str | bytes
    content_type: str = _TEXT
    status: int = 200


_NOT_FOUND = Page("404 page not found\n", status=404)


@dataclass(frozen=True)
class DebugPages:
    """`health` tells what each check complains of, "" for nothing. `configuration` is shown: without its secrets.

    `metrics` is the path of the metrics, empty for none; `endpoints` are those of notifications, as the
    original shows them.
    """

    collector: Collector
    health: Callable[[], Mapping[str, str]]
    configuration: dict[str, Any]
    metrics: str
    endpoints: Sequence[dict[str, Any]] = ()
    _pages: dict[str, Callable[[Request], Awaitable[Page]]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        pages = self._pages
        pages["/debug/health"] = self._health
        pages["/debug/vars"] = self._variables
        pages["/debug/stacks"] = self._stacks
        pages["/debug/memory"] = self._memory
        pages["/debug/profile"] = self._profile
        pages["/debug/"] = pages["/debug/pprof/"] = self._index
        if self.metrics:
            pages[self.metrics] = self._metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        made = self._pages.get(request.path)
        page = _NOT_FOUND if made is None else await made(request)
        body = page.body.encode("utf-8", "replace") if isinstance(page.body, str) else page.body
        headers = [
            (b"content-type", page.content_type.encode("latin-1")),
            (b"content-length", b"%d" % len(body)),
            (b"x-content-type-options", b"nosniff"),
        ]
        await send({"type": "http.response.start", "status": page.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _failing(self) -> dict[str, str]:
        return {name: text for name, text in self.health().items() if text}

    async def _index(self, _: Request) -> Page:
        return Page("".join(f"{path}\n" for path in sorted(self._pages)))

    async def _health(self, request: Request) -> Page:
        if request.method != "GET":
            return _NOT_FOUND
        failing = self._failing()
        text = json.dumps(failing, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return Page(text, "application/json", 503 if failing else 200)

    async def _metrics(self, _: Request) -> Page:
        series = await self.collector.series()
        series |= {(catalogue.FAILING.name, (name,)): [float(bool(text))] for name, text in self.health().items()}
        return Page(exposition.text(series), exposition.CONTENT_TYPE)

    async def _variables(self, _: Request) -> Page:
        series = await self.collector.series()
        document = {
            "cmdline": sys.orig_argv,
            "memstats": {
                "Sys": _sum(series, catalogue.RESIDENT.name),
                "NumGC": _sum(series, catalogue.COLLECTIONS.name),
            },
            "registry": {"notifications": {"endpoints": self._endpoints(series)}, "proxy": _proxy(series)},
            "lading": {
                "configuration": self.configuration,
                "workers": _sum(series, catalogue.WORKERS.name),
                "restarts": _sum(series, catalogue.RESTARTS.name),
                "requests": _sum(series, catalogue.REQUESTS.name),
                "failing": self._failing(),
            },
        }
        lines = (f"{json.dumps(key)}: {json.dumps(value, default=str)}" for key, value in document.items())
        return Page("{\n" + ",\n".join(lines) + "\n}\n", _JSON)

    def _endpoints(self, series: Series) -> list[dict[str, Any]] | None:
        """As the original's, with what was counted; None where there are none."""
        return [
            endpoint
            | {
                "Metrics": {
                    "Pending": series.get((catalogue.EVENTS_PENDING.name, (endpoint["name"],)), [0])[0],
                    **{
                        kind: series.get((catalogue.EVENTS.name, (endpoint["name"], kind)), [0])[0]
                        for kind in ("Events", "Successes", "Failures", "Errors")
                    },
                    "Statuses": {
                        labels[0]: values[0]
                        for (name, labels), values in series.items()
                        if name == catalogue.EVENT_STATUSES.name and labels[1] == endpoint["name"]
                    },
                }
            }
            for endpoint in self.endpoints
        ] or None

    async def _stacks(self, _: Request) -> Page:
        answers = await self.collector.ask({"ask": "stacks"})
        return Page("\n".join(f"process {pid}\n{text}" for pid, text in answers))

    async def _memory(self, _: Request) -> Page:
        answers = dict(await self.collector.ask({"ask": "memory"}))
        processes = [
            {"pid": pid, "name": usage.name, "rss": usage.resident, "pss": usage.pss, "python": answers.get(pid)}
            for pid, usage in introspection.processes(os.getppid()).items()
        ]
        return Page(json.dumps(processes, indent=1) + "\n", _JSON)

    async def _profile(self, request: Request) -> Page:
        seconds = parse_integer(request.parameter("seconds") or str(PROFILE_SECONDS))
        if seconds is None or not 1 <= seconds <= MAX_PROFILE_SECONDS:
            return Page(f"seconds: a whole number from 1 to {MAX_PROFILE_SECONDS:.0f}\n", status=400)
        question = {"ask": "profile", "seconds": seconds}
        answers = await self.collector.ask(question, seconds + ANSWER_SECONDS)
        lines = [f"process {pid};{stack} {count}\n" for pid, counts in answers for stack, count in counts.items()]
        return Page("".join(sorted(lines)))


def _sum(series: Series, name: str) -> float:
    return sum(values[0] for (found, _), values in series.items() if found == name)


def _proxy(series: Series) -> dict[str, dict[str, float]]:
    return {
        section: {key: series[metric.name, (kind,)][0] for key, metric in catalogue.PROXY.items()}
        for section, kind in [("blobs", "blob"), ("manifests", "manifest")]
    }
