from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from lading.api.request import Message, Request
from lading.operations import catalogue, exposition
from lading.operations.figures import Figures
from lading.operations.watched import Stopwatch, WatchedStorage
from lading.registry.ports import InvalidPathError, PathNotFoundError
from lading.storage.memory import MemoryStorage


async def _nothing() -> Message:
    return {"type": "http.disconnect"}


def request(method: str = "GET", received: int = 0) -> Request:
    scope = {"method": method, "path": "/v2/", "headers": [(b"host", b"a:1")], "query_string": b"n=1"}
    made = Request(scope, _nothing)
    made.received = received
    return made


def ask(figures: Figures, handler: str, method: str = "GET", status: int = 200, sent: int = 0, received: int = 0):
    asked = request(method, received)
    figures.begun(asked, handler)
    figures.answered(asked, status, sent)


def samples(series: catalogue.Series) -> dict[str, float]:
    return {
        f"{sample.name}{sorted(sample.labels.items())}": sample.value
        for family in text_string_to_metric_families(exposition.text(series).decode())
        for sample in family.samples
    }


def one(series: catalogue.Series, metric: catalogue.Metric, *labels: str) -> list[float]:
    return series[metric.name, labels]


def test_requests_are_counted_by_status_and_method():
    figures = Figures(("base", "blob"))
    for status in [200, 200, 404]:
        ask(figures, "blob", status=status, sent=2000)
    series = figures.series()
    assert one(series, catalogue.REQUESTS, "200", "blob", "get") == [2]
    assert one(series, catalogue.REQUESTS, "404", "blob", "get") == [1]
    *counts, total = one(series, catalogue.DURATIONS, "blob", "get")
    assert sum(counts) == 3
    assert 0 < total < 1
    assert one(series, catalogue.SENT, "blob") == [6000]
    *counts, total = one(series, catalogue.RESPONSE_SIZES, "blob")
    assert (counts[:3], total) == ([0, 3, 0], 6000)


def test_a_value_on_the_bound_of_a_bucket_is_in_it():
    figures = Figures(("blob",))
    ask(figures, "blob", sent=1024)
    assert one(figures.series(), catalogue.RESPONSE_SIZES, "blob")[:2] == [1, 0]


def test_clients_do_not_make_series():
    figures = Figures(("base",))
    for number in range(50):
        ask(figures, "base", method=f"M{number}")
    found = [labels for name, labels in figures.series() if name == catalogue.REQUESTS.name]
    assert found == [("200", "base", "unknown")]
    assert one(figures.series(), catalogue.REQUESTS, *found[0]) == [50]


def test_what_is_no_endpoint_is_not_counted():
    figures = Figures(("base",))
    figures.answered(request(), 404, 19)
    assert not [name for name, _ in figures.series() if name == catalogue.REQUESTS.name]


def test_requests_in_flight():
    figures = Figures(("base", "blob"))
    asked = request()
    figures.begun(asked, "blob")
    assert one(figures.series(), catalogue.IN_FLIGHT, "blob") == [1]
    figures.answered(asked, 200, 0)
    assert one(figures.series(), catalogue.IN_FLIGHT, "blob") == [0]
    assert one(figures.series(), catalogue.IN_FLIGHT, "base") == [0]


def test_sizes_of_requests_have_head_and_body():
    figures = Figures(("blob",))
    ask(figures, "blob", method="PUT", received=5000)
    *_, total = one(figures.series(), catalogue.REQUEST_SIZES, "blob")
    assert total == 5000 + len("PUT/v2/n=1hosta:1")
    assert one(figures.series(), catalogue.RECEIVED, "blob") == [5000]


def test_upload_sessions():
    figures = Figures(("blob_upload", "blob_upload_chunk"))
    ask(figures, "blob_upload", "POST", 202)
    ask(figures, "blob_upload", "POST", 202)
    ask(figures, "blob_upload", "POST", 201)  # mounted: no session
    ask(figures, "blob_upload_chunk", "PATCH", 202)
    ask(figures, "blob_upload_chunk", "PUT", 201)
    ask(figures, "blob_upload_chunk", "DELETE", 204)
    series = figures.series()
    events = {event: one(series, catalogue.UPLOADS, event) for event in ["started", "finished", "cancelled"]}
    assert events == {"started": [2], "finished": [1], "cancelled": [1]}


async def test_storage_actions():
    figures = Figures()
    storage = WatchedStorage(MemoryStorage(), Stopwatch(figures))
    await storage.put("/a/b", b"x")
    await storage.get("/a/b")
    await (await storage.open("/a/b")).close()
    assert await storage.list("/a") == ["b"]
    await storage.move("/a/b", "/a/c")
    await (await storage.writer("/a/d", append=False)).close()
    await storage.stat("/a/c")
    await storage.redirect("/a/c", "GET")
    with pytest.raises(PathNotFoundError):
        await storage.get("/none")
    with pytest.raises(InvalidPathError):
        await storage.delete("no key")
    await storage.delete("/a")
    series = figures.series()
    counts = {labels[0]: sum(v[:-1]) for (name, labels), v in series.items() if name == catalogue.ACTIONS.name}
    assert counts == {
        "PutContent": 1,
        "GetContent": 2,
        "Reader": 1,
        "List": 1,
        "Move": 1,
        "Writer": 1,
        "Stat": 1,
        "RedirectURL": 1,
        "Delete": 2,
    }
    assert one(series, catalogue.ACTION_ERRORS, "Delete", "inmemory") == [1]
    assert (catalogue.ACTION_ERRORS.name, ("GetContent", "inmemory")) not in series


def test_exposition():
    figures = Figures(("base",))
    ask(figures, "base", sent=2)
    lines = exposition.text(figures.series()).decode().splitlines()
    assert "# HELP registry_http_requests_total Total number of HTTP requests made." in lines
    assert "# TYPE registry_http_requests_total counter" in lines
    assert 'registry_http_requests_total{code="200",handler="base",method="get"} 1.0' in lines
    assert 'registry_http_in_flight_requests{handler="base"} 0.0' in lines
    assert 'registry_http_response_size_bytes_bucket{handler="base",le="1024.0"} 1.0' in lines
    assert 'registry_http_response_size_bytes_bucket{handler="base",le="+Inf"} 1.0' in lines
    assert 'registry_http_response_size_bytes_sum{handler="base"} 2.0' in lines
    assert 'registry_http_response_size_bytes_count{handler="base"} 1.0' in lines


def test_sums_over_processes():
    total: catalogue.Series = {}
    for number in [1, 2]:
        figures = Figures(("base",))
        for _ in range(number):
            ask(figures, "base", sent=2)
        catalogue.add(total, catalogue.from_wire(catalogue.to_wire(figures.series())))  # type: ignore[arg-type]
    values = samples(total)
    assert values["registry_http_requests_total[('code', '200'), ('handler', 'base'), ('method', 'get')]"] == 3
    assert values["registry_http_response_size_bytes_sum[('handler', 'base')]"] == 6
    assert (catalogue.IN_FLIGHT.name, ("base",)) not in catalogue.lasting(total)
