"""Metrics as text: the Prometheus exposition format 0.0.4.

Owns the names, types and help texts, and the arithmetic of the latency histogram. Counts nothing:
it is given snapshots, a mapping a worker, whose texts are labels and whose numbers are metrics.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from pyuring.metrics import EngineMetrics

__all__ = ["CONTENT_TYPE", "Snapshot", "quantile", "render"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Snapshot = Mapping[str, Any]

_HISTOGRAM = "request_us"
_HISTOGRAM_SUM = "request_ns"  # all requests' times together, where it is counted


class _Metric(NamedTuple):
    name: str
    kind: str
    help: str
    label: tuple[str, str] | None = None


def _counter(name: str, text: str, label: tuple[str, str] | None = None) -> _Metric:
    return _Metric(f"pyuring_{name}_total", "counter", text, label)


def _gauge(name: str, text: str) -> _Metric:
    return _Metric(f"pyuring_{name}", "gauge", text)


_ERRORS = "Errors, by where they happened."
_RESPONSES = "Responses sent, by class of status."
_METRICS: Mapping[str, _Metric] = {
    "tier": _gauge("tier", "What serves: 0 epoll, 1 BASE, 2 MID, 3 HIGH, 4 OPTIONAL of io_uring."),
    "accepted": _counter("connections_accepted", "Connections accepted, those refused included."),
    "connected": _counter("connections_made", "Outgoing connections that came about."),
    "active": _gauge("connections_active", "Connections open now."),
    "closed": _counter("connections_closed", "Connections that have ended."),
    "refused": _counter("connections_refused", "Connections closed at once, for want of room."),
    "timeouts": _counter("connections_timed_out", "Connections ended by a deadline."),
    "bytes_received": _counter("received_bytes", "Bytes received."),
    "bytes_sent": _counter("sent_bytes", "Bytes sent."),
    "messages_received": _counter("receives", "Receives that brought data."),
    "sends": _counter("sends", "Send operations completed."),
    "errors_accept": _counter("errors", _ERRORS, ("kind", "accept")),
    "errors_receive": _counter("errors", _ERRORS, ("kind", "receive")),
    "errors_send": _counter("errors", _ERRORS, ("kind", "send")),
    "errors_connect": _counter("errors", _ERRORS, ("kind", "connect")),
    "errors_handler": _counter("errors", _ERRORS, ("kind", "handler")),
    "enobufs": _counter("enobufs", "Receives that found no free buffer."),
    "cq_overflows": _counter("cq_overflows", "Times the completion queue was too small."),
    "rearms": _counter("rearms", "Multishot operations that were armed again."),
    "turns": _counter("turns", "Turns of the loop: system calls, nearly."),
    "completions": _counter("completions", "Completions handled."),
    "send_queue_high_water": _gauge(
        "send_queue_high_water_bytes", "The most unsent bytes one connection has had in memory."
    ),
    "stale_completions": _counter("stale_completions", "Completions for what was gone."),
    "unknown_completions": _counter("unknown_completions", "Completions nobody had asked for."),
    "buffers_held": _gauge("buffers_held", "Receive buffers that are not with the kernel now."),
    "ops_in_flight": _gauge("ops_in_flight", "Operations the kernel holds now."),
    "requests": _counter("http_requests", "Requests received whole enough to be answered."),
    "responses_2xx": _counter("http_responses", _RESPONSES, ("code", "2xx")),
    "responses_3xx": _counter("http_responses", _RESPONSES, ("code", "3xx")),
    "responses_4xx": _counter("http_responses", _RESPONSES, ("code", "4xx")),
    "responses_5xx": _counter("http_responses", _RESPONSES, ("code", "5xx")),
    "requests_malformed": _counter("http_requests_malformed", "Requests that break the rules."),
    "requests_active": _gauge("http_requests_active", "Requests being answered now."),
    "cpu_seconds": _counter("worker_cpu_seconds", "CPU time of the worker's thread."),
}
_SECONDS = _Metric(
    "pyuring_http_request_seconds", "histogram", "Time from a request's head to its reply's end."
)


def render(snapshots: Sequence[Snapshot]) -> str:
    """Return the page for a scrape: every number of every worker, with its labels.

    A number that has no name here is given as `pyuring_NAME`, untyped.
    """
    families: dict[str, tuple[_Metric, list[str]]] = {}
    for snapshot in snapshots:
        labels = {key: value for key, value in snapshot.items() if isinstance(value, str)}
        for field, value in snapshot.items():
            if field == _HISTOGRAM and isinstance(value, (tuple, list)):
                lines = _buckets(labels, value, snapshot.get(_HISTOGRAM_SUM))
                families.setdefault(_SECONDS.name, (_SECONDS, []))[1].extend(lines)
            elif isinstance(value, (int, float)) and field != _HISTOGRAM_SUM:
                metric = _METRICS.get(field)
                if metric is None:
                    metric = _Metric(f"pyuring_{field}", "untyped", "Not described.")
                extra = () if metric.label is None else (metric.label,)
                line = f"{metric.name}{_labels(labels, *extra)} {value}\n"
                families.setdefault(metric.name, (metric, []))[1].append(line)
    return "".join(
        f"# HELP {metric.name} {metric.help}\n# TYPE {metric.name} {metric.kind}\n{''.join(lines)}"
        for metric, lines in families.values()
    )


def quantile(part: float, counts: Sequence[int]) -> float | None:
    """Return the time in seconds that a part of the requests stayed below; None without any.

    `counts[i]` are those of 2**(i-1) up to 2**i microseconds, the first all below one, the last
    all that are longer. Within a bucket they are taken as spread evenly.
    """
    total = sum(counts)
    if total <= 0:
        return None
    rank, before = part * total, 0
    for index, count in enumerate(counts):
        if count and before + count >= rank:
            low = 2.0 ** (index - 1) if index else 0.0
            return (low + (2.0**index - low) * max(0.0, rank - before) / count) / 1e6
        before += count
    return 2.0 ** (len(counts) - 1) / 1e6


def _buckets(labels: Mapping[str, str], counts: Sequence[int], sum_ns: Any) -> Iterable[str]:
    """Yield the lines of one histogram; the last bucket has no upper bound."""
    total = 0
    name = _SECONDS.name
    for index, count in enumerate(counts[:-1]):
        total += count
        yield f"{name}_bucket{_labels(labels, ('le', repr(2**index / 1e6)))} {total}\n"
    total += sum(counts[-1:])
    yield f"{name}_bucket{_labels(labels, ('le', '+Inf'))} {total}\n"
    yield f"{name}_count{_labels(labels)} {total}\n"
    if sum_ns is not None:
        yield f"{name}_sum{_labels(labels)} {sum_ns / 1e9}\n"


def _labels(labels: Mapping[str, str], *more: tuple[str, str]) -> str:
    pairs = [f'{name}="{_escaped(value)}"' for name, value in [*labels.items(), *more]]
    return f"{{{','.join(pairs)}}}" if pairs else ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def undescribed() -> set[str]:
    """Return the engine's fields that have no name here: none, and a test holds that."""
    return {field for field in EngineMetrics.__dataclass_fields__ if field not in _METRICS} - {
        _HISTOGRAM, _HISTOGRAM_SUM
    }  # fmt: skip
