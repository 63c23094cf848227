"""`pyuring top ADDR`: a server's workers at work, after its /metrics.json.

Owns the client, the arithmetic between two looks, and what is shown: plain text once, or a table
that moves, for which the package rich is needed. Never touches the server otherwise.
"""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from pyuring import addresses
from pyuring.capability import Tier
from pyuring.prometheus import quantile
from pyuring.usage import UsageError

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["Look", "Row", "look", "once", "rows", "watch"]

_PATIENCE_SECONDS = 5.0
_ERRORS = ("errors_accept", "errors_receive", "errors_send", "errors_connect", "errors_handler")
_LEVELS = ("active", "tier")
_COLUMNS = ("worker", "req/s", "conns", "new/s", "in/s", "out/s", "p50", "p99", "5xx/s",
            "errors/s", "cpu", "tier")  # fmt: skip


class Look(NamedTuple):
    """What the server said, and when."""

    time: float
    workers: Sequence[Mapping[str, Any]]


class Row(NamedTuple):
    """One line: a worker, or all of them; rates are per second, times in seconds."""

    name: str
    requests: float
    connections: int
    accepted: float
    bytes_in: float
    bytes_out: float
    p50: float | None
    p99: float | None
    failed: float
    errors: float
    cpu: float | None
    tier: int | None


def look(address: str) -> Look:
    """Ask the server once; UsageError says why not."""
    connection = _Connection(address)
    try:
        connection.request("GET", "/metrics.json")
        reply = connection.getresponse()
        body = reply.read(16 << 20)
    except (OSError, http.client.HTTPException) as error:
        why = getattr(error, "strerror", None) or error or type(error).__name__
        raise UsageError(f"{address}: {why}; is it the server's --metrics address?") from None
    finally:
        connection.close()
    try:
        page = json.loads(body)
        if reply.status != 200:
            raise ValueError
        return Look(float(page["time"]), [dict(each) for each in page["workers"]])
    except (ValueError, KeyError, TypeError):
        raise UsageError(f"{address}: not a metrics endpoint of pyuring") from None


def rows(before: Look, after: Look) -> list[Row]:
    """Return what happened between two looks: a row a worker, and their sum at the end.

    A worker that was not there before counts from its start.
    """
    seconds = max(after.time - before.time, 1e-9)
    old = {_name(worker): worker for worker in before.workers}
    several = len({worker.get("process") for worker in after.workers}) > 1
    found, changes = [], []
    for worker in after.workers:
        change = _change(old.get(_name(worker), {}), worker)
        changes.append(change)
        process, number = _name(worker)
        found.append(_row(f"{process}/{number}" if several else number, change, seconds))
    total: dict[str, Any] = {}
    for change in changes:
        for name, value in change.items():
            total[name] = _added(total.get(name), value)
    total.pop("tier", None)  # each has its own
    return [*found, _row("all", total, seconds)]


def plain(found: Sequence[Row]) -> str:
    """Return the rows as aligned text."""
    lines = [_COLUMNS, *(_cells(row) for row in found)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_COLUMNS))]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        for line in lines
    )


def once(address: str, interval: float = 1.0) -> str:
    """Look twice and return one frame."""
    before = look(address)
    time.sleep(interval)
    return plain(rows(before, look(address)))


def watch(address: str, interval: float = 1.0) -> int:
    """Show frame after frame until Ctrl-C; needs rich. Returns the exit status."""
    try:
        from rich.live import Live
    except ModuleNotFoundError:
        raise UsageError(
            "top needs the package rich: pip install 'pyuring-engine[top]'; --once does without"
        ) from None
    before = look(address)
    found: list[Row] = []
    try:
        with Live(_table(address, [], "…"), auto_refresh=False, screen=True) as live:
            while True:
                time.sleep(interval)
                try:
                    after = look(address)
                except UsageError as error:  # it restarts, perhaps: the last frame stays
                    live.update(_table(address, found, str(error)), refresh=True)
                    continue
                found = rows(before, after)
                live.update(_table(address, found, ""), refresh=True)
                before = after
    except KeyboardInterrupt:
        return 0


def _table(address: str, found: Sequence[Row], note: str) -> Table:
    from rich.markup import escape
    from rich.table import Table

    clock = time.strftime("%H:%M:%S")
    table = Table(title=f"pyuring at {escape(address)}, {clock}", caption=escape(note) or None)
    for name in _COLUMNS:
        table.add_column(name, justify="right", no_wrap=True)
    for row in found:
        cells = [escape(cell) for cell in _cells(row)]
        bad = row.failed > 0 or row.errors > 0
        style = "bold" if row is found[-1] else "red" if bad else None
        table.add_row(*cells, style=style, end_section=row is found[-2:][0])
    return table


class _Connection(http.client.HTTPConnection):
    """A connection to an address as --metrics takes it, Unix sockets included."""

    def __init__(self, address: str) -> None:
        if address.removeprefix(":").isdecimal():
            address = f"127.0.0.1:{address.removeprefix(':')}"
        try:
            self._address = addresses.parse(address)
        except ValueError as error:
            raise UsageError(error) from None
        if self._address.kind not in ("inet", "unix"):
            raise UsageError(f"{address}: top connects to host:port or unix:/path")
        super().__init__("localhost", timeout=_PATIENCE_SECONDS)

    def connect(self) -> None:
        wanted = self._address
        if wanted.kind == "unix":
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(_PATIENCE_SECONDS)
            self.sock.connect(wanted.path)
        else:
            host = wanted.host or "127.0.0.1"
            self.sock = socket.create_connection((host, wanted.port), _PATIENCE_SECONDS)


def _name(worker: Mapping[str, Any]) -> tuple[str, str]:
    return str(worker.get("process", "")), str(worker.get("worker", ""))


def _change(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was counted since, and the levels as they are."""
    change: dict[str, Any] = {}
    for name, value in after.items():
        if isinstance(value, list):
            old = before.get(name) or [0] * len(value)
            change[name] = [max(0, new - was) for new, was in zip(value, old, strict=False)]
        elif isinstance(value, (int, float)):
            change[name] = value if name in _LEVELS else max(0, value - before.get(name, 0))
    return change


def _added(total: Any, value: Any) -> Any:
    if isinstance(value, list):
        return [a + b for a, b in zip(total or [0] * len(value), value, strict=False)]
    return (total or 0) + value


def _row(name: str, change: Mapping[str, Any], seconds: float) -> Row:
    counts = change.get("request_us") or []
    return Row(
        name,
        change.get("requests", 0) / seconds,
        int(change.get("active", 0)),
        change.get("accepted", 0) / seconds,
        change.get("bytes_received", 0) / seconds,
        change.get("bytes_sent", 0) / seconds,
        quantile(0.5, counts),
        quantile(0.99, counts),
        change.get("responses_5xx", 0) / seconds,
        sum(change.get(each, 0) for each in _ERRORS) / seconds,
        change["cpu_seconds"] / seconds if "cpu_seconds" in change else None,
        change.get("tier"),
    )


def _cells(row: Row) -> tuple[str, ...]:
    return (
        "".join(char for char in row.name if char.isprintable()),
        _number(row.requests),
        str(row.connections),
        _number(row.accepted),
        _number(row.bytes_in) + "B",
        _number(row.bytes_out) + "B",
        _time(row.p50),
        _time(row.p99),
        _number(row.failed),
        _number(row.errors),
        "-" if row.cpu is None else f"{100 * row.cpu:.0f}%",
        Tier(row.tier).name if row.tier in list(Tier) else "-",
    )


def _number(value: float) -> str:
    for unit in ("", "k", "M", "G"):
        if value < 999.5:
            return f"{value:.0f}{unit}" if value >= 99.5 or not value else f"{value:.3g}{unit}"
        value /= 1000
    return f"{value:.0f}T"


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    if seconds < 1e-3:
        return f"{seconds * 1e6:.0f}µs"
    return f"{seconds * 1e3:.3g}ms" if seconds < 1 else f"{seconds:.3g}s"
