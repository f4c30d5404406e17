"""Figures in Prometheus's text format."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.metrics_core import (
    Metric as Family,
)
from prometheus_client.utils import floatToGoString

from lading.operations.catalogue import METRICS, Labels, Metric, Series

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4


class _Figures:
    """What `prometheus_client` asks of a registry."""

    def __init__(self, series: Series) -> None:
        self._series = series

    def collect(self) -> Iterator[Family]:
        for metric in METRICS:
            rows = sorted(
                (labels, values) for (name, labels), values in self._series.items() if name == metric.name
            )
            if rows:
                yield _family(metric, rows)


def text(series: Series) -> bytes:
    return generate_latest(_Figures(series))


def _family(metric: Metric, rows: list[tuple[Labels, list[float]]]) -> Family:
    if metric.kind == "histogram":
        histogram = HistogramMetricFamily(metric.name, metric.about, labels=metric.labels)
        bounds = [*map(floatToGoString, metric.bounds), "+Inf"]
        for labels, (*counts, total) in rows:
            buckets = list(zip(bounds, itertools.accumulate(counts), strict=True))
            histogram.add_metric(labels, buckets, total)
        return histogram
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family = kind(metric.name, metric.about, labels=metric.labels)
    for labels, [value] in rows:
        family.add_metric(labels, value)
    return family
