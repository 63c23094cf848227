"""The metrics page, read by Prometheus's own parser, and the endpoint that serves it."""

from __future__ import annotations

import dataclasses
import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from peers import Echo, connect, echoes, read_to_end
from prometheus_client.parser import text_string_to_metric_families

from pyuring import Engine, EngineMetrics
from pyuring.metrics_server import MetricsServer
from pyuring.prometheus import CONTENT_TYPE, quantile, render
from pyuring.serving import snapshots

HTTP = {
    "requests": 10,
    "responses_2xx": 7,
    "responses_5xx": 3,
    "requests_malformed": 1,
    "requests_active": 2,
    "request_us": (0, 4, 5, 1),
    "request_ns": 2500,
    "cpu_seconds": 1.5,
    "novelty": 4,
}


def samples(page: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    found = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            key = sample.name, tuple(sorted(sample.labels.items()))
            assert key not in found, f"{key} twice"
            found[key] = sample.value
    return found


def worker(number: int, **more: Any) -> dict[str, Any]:
    counters = dataclasses.asdict(EngineMetrics(accepted=number + 1, errors_send=5))
    return {"process": "77", "worker": str(number), **counters, **more}


LABELS = (("process", "77"), ("worker", "0"))


def test_every_number_of_every_worker_is_there_with_its_labels() -> None:
    found = samples(render([worker(0), worker(1)]))
    assert found["pyuring_connections_accepted_total", LABELS] == 1
    other = (("process", "77"), ("worker", "1"))
    assert found["pyuring_connections_accepted_total", other] == 2
    errors = (("kind", "send"), *LABELS)
    assert found["pyuring_errors_total", errors] == 5
    plain = [f for f in dataclasses.fields(EngineMetrics) if f.name != "request_us"]
    assert len(found) >= 2 * len(plain) - 2


def test_every_field_of_the_engine_is_described() -> None:
    families = list(text_string_to_metric_families(render([worker(0, **HTTP)])))
    undescribed = {each.name for each in families if each.type == "unknown"}
    assert undescribed == {"pyuring_novelty"}
    assert all(each.documentation for each in families)


def test_http_has_its_counters() -> None:
    found = samples(render([worker(0, **HTTP)]))
    assert found["pyuring_http_requests_total", LABELS] == 10
    assert found["pyuring_http_responses_total", (("code", "2xx"), *LABELS)] == 7
    assert found["pyuring_http_requests_active", LABELS] == 2
    assert found["pyuring_worker_cpu_seconds_total", LABELS] == 1.5


def test_times_are_a_histogram() -> None:
    found = samples(render([worker(0, **HTTP)]))
    name = "pyuring_http_request_seconds"

    def bucket(bound: str) -> float:
        return found[f"{name}_bucket", (("le", bound), *LABELS)]

    assert [bucket(b) for b in ("1e-06", "2e-06", "4e-06", "+Inf")] == [0, 4, 9, 10]
    assert found[f"{name}_count", LABELS] == 10
    assert found[f"{name}_sum", LABELS] == 2500 / 1e9


def test_labels_are_escaped() -> None:
    odd = 'a"b\\c\nd'
    ((_, labels),) = samples(render([{"worker": odd, "accepted": 1}]))
    assert labels == (("worker", odd),)


def test_nothing_gives_an_empty_page() -> None:
    assert render([]) == ""


# --- quantiles -------------------------------------------------------------------------------


def test_a_quantile_lies_within_its_bucket() -> None:
    counts = [0] * 20
    counts[10] = 98  # 512 to 1024 microseconds
    counts[15] = 2  # 16384 to 32768
    assert 512e-6 <= (quantile(0.5, counts) or 0) <= 1024e-6
    assert 16384e-6 <= (quantile(0.99, counts) or 0) <= 32768e-6
    assert quantile(0.5, [0, 0]) is None
    assert quantile(0.5, []) is None
    assert (quantile(0.0, [4]) or 0) == 0
    assert quantile(1.0, [0, 4]) == 2e-6


# --- the endpoint ------------------------------------------------------------------------------


@pytest.fixture
def endpoint(request: pytest.FixtureRequest) -> Iterator[MetricsServer]:
    server = MetricsServer("127.0.0.1:0", lambda: [worker(0)])
    yield server
    server.close()


def fetch(address: str, path: str, method: str = "GET") -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection(address, timeout=10)
    try:
        connection.request(method, path)
        reply = connection.getresponse()
        return reply, reply.read()
    finally:
        connection.close()


def test_prometheus_gets_its_page(endpoint: MetricsServer) -> None:
    reply, body = fetch(endpoint.address, "/metrics")
    assert reply.status == 200
    assert reply.headers["Content-Type"] == CONTENT_TYPE
    assert samples(body.decode())["pyuring_connections_accepted_total", LABELS] == 1
    reply, body = fetch(endpoint.address, "/metrics?x=1", "HEAD")
    assert (reply.status, body) == (200, b"")


def test_programs_get_json(endpoint: MetricsServer) -> None:
    reply, body = fetch(endpoint.address, "/metrics.json")
    page = json.loads(body)
    assert reply.headers["Content-Type"] == "application/json"
    assert page["time"] > 1e9
    assert page["workers"][0]["accepted"] == 1


def test_other_paths_and_methods_are_refused(endpoint: MetricsServer) -> None:
    assert fetch(endpoint.address, "/")[0].status == 404
    assert fetch(endpoint.address, "/metrics", "POST")[0].status == 501


def test_clients_that_say_nothing_hold_nobody_up(endpoint: MetricsServer) -> None:
    silent = [connect(endpoint.address) for _ in range(15)]
    assert fetch(endpoint.address, "/metrics")[0].status == 200
    for each in silent:
        each.close()


def test_more_clients_than_there_is_room_for_are_turned_away(endpoint: MetricsServer) -> None:
    silent = [connect(endpoint.address) for _ in range(17)]
    assert read_to_end(silent[-1]) == b""
    for each in silent:
        each.close()


def test_a_snapshot_that_fails_ends_that_answer_only() -> None:
    answers: list[list[Any]] = [[], [worker(0)]]
    server = MetricsServer("127.0.0.1:0", lambda: answers.pop() or 1 / 0)  # type: ignore[arg-type]
    try:
        assert fetch(server.address, "/metrics")[0].status == 200
        with pytest.raises(http.client.HTTPException):
            fetch(server.address, "/metrics")
    finally:
        server.close()


def test_a_port_alone_is_on_loopback() -> None:
    server = MetricsServer(":0", list)
    try:
        assert server.address.startswith("127.0.0.1:")
    finally:
        server.close()


def test_a_unix_socket_comes_and_goes(tmp_path: Path, descriptors_kept: None) -> None:
    path = tmp_path / "metrics"
    server = MetricsServer(f"unix:{path}", lambda: [worker(0)])
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(10)
        peer.connect(str(path))
        peer.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        text = read_to_end(peer)
    assert text.startswith(b"HTTP/1.0 200")
    server.close()
    assert not path.exists()


def test_a_busy_port_is_told() -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        with pytest.raises(OSError, match="Address already in use"):
            MetricsServer(f"127.0.0.1:{busy.getsockname()[1]}", list)


def test_an_engine_is_told_worker_by_worker() -> None:
    with Engine(Echo, "127.0.0.1:0", workers=2) as engine:
        assert echoes(engine.address)
        found = snapshots(engine)
        server = MetricsServer(":0", lambda: snapshots(engine))
        _, page = fetch(server.address, "/metrics")
        server.close()
    assert [each["worker"] for each in found] == ["0", "1"]
    assert sum(each["accepted"] for each in found) == 1
    assert all(each["cpu_seconds"] > 0 for each in found)
    assert [each["tier"] for each in found] == [engine.tier] * 2
    assert (
        f'worker="1"}} {int(engine.tier)}\n' in page.decode().split("# TYPE pyuring_tier gauge")[1]
    )
    totals = samples(page.decode())
    accepted = [v for (name, _), v in totals.items() if "accepted" in name and "conn" in name]
    assert sum(accepted) == 1
