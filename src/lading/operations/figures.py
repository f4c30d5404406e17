"""What one process counts while it works: plain additions, in memory of its own.

Counted by one thread, read by another. A reader may see a request in one figure and not yet in the next.
"""

from __future__ import annotations

import gc
import time
from bisect import bisect_left
from collections.abc import Callable, Mapping

from lading.api.request import Request
from lading.operations import catalogue
from lading.operations.catalogue import Labels, Metric, Series
from lading.registry.ports import PathNotFoundError

_METHODS = frozenset({"GET", "PUT", "HEAD", "POST", "DELETE", "CONNECT", "OPTIONS", "NOTIFY", "TRACE", "PATCH"})
"""Others count as `unknown`: clients do not decide how many series there are."""

_SESSIONS = {
    ("blob_upload", "post", "202"): "started",
    ("blob_upload_chunk", "put", "201"): "finished",
    ("blob_upload_chunk", "delete", "204"): "cancelled",
}
"""What a request that was answered so has done to an upload session."""


class Histogram:
    __slots__ = ("bounds", "counts", "total")

    def __init__(self, metric: Metric) -> None:
        self.bounds = metric.bounds
        self.counts = [0] * (len(metric.bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def values(self) -> list[float]:
        return [*self.counts, self.total]


class _Handler:
    """Figures of an endpoint, whatever the method."""

    __slots__ = ("begun", "ended", "received", "request_sizes", "response_sizes", "sent")

    def __init__(self) -> None:
        self.begun = self.ended = self.received = self.sent = 0
        self.request_sizes = Histogram(catalogue.REQUEST_SIZES)
        self.response_sizes = Histogram(catalogue.RESPONSE_SIZES)


class _Answers:
    """Figures of one method of an endpoint and one status. The durations are shared by all statuses."""

    __slots__ = ("count", "durations", "handler")

    def __init__(self, handler: _Handler, durations: Histogram) -> None:
        self.count = 0
        self.handler = handler
        self.durations = durations


class Figures:
    """`handlers` are the endpoints that can be asked for, as metrics name them."""

    def __init__(self, handlers: tuple[str, ...] = ()) -> None:
        self._handlers = {handler: _Handler() for handler in handlers}
        self._answers: dict[tuple[str, str, int], _Answers] = {}
        self._durations: dict[Labels, Histogram] = {}
        self._observed: dict[tuple[str, Labels], Histogram] = {}
        self._counts: dict[tuple[str, Labels], int] = {}
        self._followed: list[tuple[Metric, Callable[[], int]]] = []

    def begun(self, request: Request, handler: str) -> None:
        """The request is for an endpoint. `answered` is called for it, whatever happens."""
        request.handler = handler
        request.begun = time.perf_counter()
        self._handlers[handler].begun += 1

    def answered(self, request: Request, status: int, sent: int) -> None:
        """`sent` is the size in bytes of the answer's body."""
        name = request.handler
        if not name:
            return  # no endpoint: such requests are not counted
        elapsed = time.perf_counter() - request.begun
        answers = self._answers.get((name, request.method, status)) or self._first(name, request.method, status)
        answers.count += 1
        answers.durations.observe(elapsed)
        handler = answers.handler
        handler.ended += 1
        handler.received += request.received
        handler.sent += sent
        handler.request_sizes.observe(_request_size(request))
        handler.response_sizes.observe(sent)

    def count(self, metric: Metric, labels: Labels = (), amount: int = 1) -> None:
        key = (metric.name, labels)
        self._counts[key] = self._counts.get(key, 0) + amount

    def set(self, metric: Metric, labels: Labels, value: int) -> None:
        """A gauge."""
        self._counts[metric.name, labels] = value

    def follow(self, metric: Metric, count: Callable[[], int]) -> None:
        """A counter without labels that is kept elsewhere."""
        self._followed.append((metric, count))

    def observe(self, metric: Metric, labels: Labels, value: float) -> None:
        """Of a histogram."""
        histogram = self._observed.get((metric.name, labels))
        if histogram is None:
            histogram = self._observed[metric.name, labels] = Histogram(metric)
        histogram.observe(value)

    def acted(self, action: str, driver: str, seconds: float, failure: BaseException | None) -> None:
        """A storage action took so long."""
        labels = (action, driver)
        self.observe(catalogue.ACTIONS, labels, seconds)
        if isinstance(failure, Exception) and not isinstance(failure, PathNotFoundError):
            self.count(catalogue.ACTION_ERRORS, labels)

    def series(self) -> Series:
        series: Series = {key: [number] for key, number in list(self._counts.items())}
        series |= {(metric.name, ()): [count()] for metric, count in self._followed}
        for handler, figures in self._handlers.items():
            series[catalogue.IN_FLIGHT.name, (handler,)] = [figures.begun - figures.ended]
            if figures.ended:
                series[catalogue.RECEIVED.name, (handler,)] = [figures.received]
                series[catalogue.SENT.name, (handler,)] = [figures.sent]
                series[catalogue.REQUEST_SIZES.name, (handler,)] = figures.request_sizes.values()
                series[catalogue.RESPONSE_SIZES.name, (handler,)] = figures.response_sizes.values()
        for (handler, method, status), answers in list(self._answers.items()):
            labels = (str(status), handler, method.lower())
            series[catalogue.REQUESTS.name, labels] = [answers.count]
            event = _SESSIONS.get((handler, method.lower(), str(status)))
            if event:
                series[catalogue.UPLOADS.name, (event,)] = [answers.count]
        _put(series, catalogue.DURATIONS, self._durations)
        series |= {key: histogram.values() for key, histogram in list(self._observed.items())}
        for generation, statistics in enumerate(gc.get_stats()):
            series[catalogue.COLLECTIONS.name, (str(generation),)] = [statistics["collections"]]
        return series

    def _first(self, handler: str, method: str, status: int) -> _Answers:
        if method not in _METHODS:
            method = "unknown"
        answers = self._answers.get((handler, method, status))
        if answers is None:
            labels = (handler, method.lower())
            durations = self._durations.setdefault(labels, Histogram(catalogue.DURATIONS))
            answers = _Answers(self._handlers[handler], durations)
            self._answers[handler, method, status] = answers
        return answers


def _put(series: Series, metric: Metric, histograms: Mapping[Labels, Histogram]) -> None:
    for labels, histogram in list(histograms.items()):
        series[metric.name, labels] = histogram.values()


def _request_size(request: Request) -> int:
    """Roughly what came in: the head without its punctuation, and the body."""
    size = len(request.path) + len(request.method) + len(request.scope["query_string"]) + request.received
    for name, value in request.headers:
        size += len(name) + len(value)
    return size
