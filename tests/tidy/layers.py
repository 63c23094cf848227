"""Imports point one way only, downwards; the tables here are the picture in words.

A module may import what stands in its own row or in a lower one, never in a higher one, and
no ring of imports may close. A module without a row is a problem too: decide where it stands.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Container, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from tidy.files import module_of, name_of, sources

Layers = Sequence[Sequence[str]]

# From what people see down to what everything stands on. `*` matches; plain names go first.
PYTHON_LAYERS: Layers = (
    ("__init__",),
    ("__main__",),
    ("supervised",),
    ("serving",),
    ("testing", "supervisor"),
    ("group",),
    ("questions", "settings", "signals", "slots", "sockets"),
    ("processes",),
    ("child",),
    ("wsgi",),
    ("wsgi_call",),
    ("wsgi_errors", "wsgi_file", "wsgi_headers"),
    ("http",),
    ("engine",),
    ("gateway",),
    ("static", "pool", "sending"),
    ("request", "response", "files", "conditions"),
    ("body_stream", "headers", "http_config"),
    ("startup", "running", "gate"),
    ("worker",),
    ("accepting", "connector"),
    ("metrics_server", "top"),
    ("access_log", "config_file", "hints", "loading", "option_sources", "prometheus"),
    ("proxy", "proxy_protocol"),
    ("options", "option_kinds"),
    ("transport", "listeners", "config", "metrics", "timers"),
    ("ladder",),
    ("tiers",),
    ("capability", "buffers"),
    ("ring",),
    ("_native",),
    ("addresses", "constants", "errors", "latch", "messages", "reasons", "reports", "usage"),
    ("channel", "identity", "naming", "steering", "watching"),
)

# The kernel in memory that a ring of the tests stands on: a ring, not a test.
FAKES = [
    f"testing/fake_{name}"
    for name in (
        "ring", "kernel", "transfer", "operation", "network", "buffers", "completions", "faults",
        "files", "strays", "errnos", "receive",
    )
]  # fmt: skip

ZIG_LAYERS: Layers = (
    ("root_poison",),
    ("root", "panic", "simulate", "testing/*"),
    ("abi",),
    ("python_worker",),
    ("ring_types",),
    ("*_object", "*_handler", "*_block", "transport_body", "ring_fields", "request_*", "http_*"),
    ("ring_batch", "ring_closing"),
    ("ring_state",),
    ("sqe_object", "sqe_fields", "cqe_object", "batch_object", "bell_object"),
    ("flights", "provided", "arguments"),
    ("pins", "guard", "python_type"),
    ("peer_name", "python_errors"),
    ("python",),
    ("python_head",),
    ("http_config",),
    ("http1*",),
    ("engine",),
    ("worker",),
    ("accept", "bulk", "closing", "connect", "receive", "send", "timing"),
    ("worker_config",),
    ("connection", "deadlines", "mailbox", "buffer_group", "metrics", "pool", "probe*"),
    ("any_ring",),
    ("ring", "epoll_ring", "fork_marker", *FAKES),
    ("epoll_interest",),
    ("sqe", "sqe_*", "token"),
    ("kernel",),
    ("poison",),
)

# Units: one thing cut into files by subject, which may call each other both ways. The worker's
# concerns: closing a connection ends its receive, a receive that fails closes the connection.
# A transport is the handler's object for a connection; its methods act on the handler's worker.
# An SQE's attributes and its methods are one type.
UNITS: Layers = (
    ("sqe_object", "sqe_fields"),
    ("accept", "bulk", "closing", "connect", "receive", "send", "timing"),
    ("testing/model_application", "testing/model_time"),
    (
        "python_handler",
        "protocol_block",
        "protocol_handler",
        "transport_body",
        "transport_object",
        "http_handler",
        "http_connection",
        "http_exchange",
        "http_input",
        "http_output",
        "http_reply",
        "http_stream",
        "request_body",
        "request_environ",
        "request_object",
        "wsgi_object",
    ),
)

Graph = Mapping[str, Sequence[str]]


def row_of(module: str, layers: Layers) -> int | None:
    """Return the row a module stands in, 0 being the top, or None."""
    for row, names in enumerate(layers):
        if module in names:
            return row
    for row, names in enumerate(layers):
        if any(fnmatchcase(module, name) for name in names):
            return row
    return None


def check_direction(graph: Graph, layers: Layers) -> list[str]:
    """Every import goes to the own row or below."""
    problems = []
    for module, imported in graph.items():
        row = row_of(module, layers)
        if row is None:
            problems.append(f"{module}: has no row in the table of layers")
            continue
        for name in imported:
            other = row_of(name, layers)
            if other is not None and other < row:
                problems.append(f"{module}: imports {name}, which stands above it")
    return problems


def check_cycles(graph: Graph, units: Layers = ()) -> list[str]:
    """No chain of imports comes back to where it began, except within one unit."""
    graph = merge(graph, units)
    done: set[str] = set()
    problems: list[str] = []

    def visit(module: str, trail: list[str]) -> None:
        if module in trail:
            ring = [*trail[trail.index(module) :], module]
            problems.append("imports go round: " + " -> ".join(ring))
        elif module not in done:
            for name in graph.get(module, ()):
                visit(name, [*trail, module])
            done.add(module)

    for module in graph:
        visit(module, [])
    return problems


def merge(graph: Graph, units: Layers) -> Graph:
    """Make one module of each unit, which imports what its files import from outside."""
    unit_of = {module: "+".join(unit) for unit in units for module in unit}
    merged: dict[str, list[str]] = {}
    for module, imported in graph.items():
        whole = unit_of.get(module, module)
        outside = [unit_of.get(name, name) for name in imported]
        merged.setdefault(whole, []).extend(name for name in outside if name != whole)
    return merged


def python_graph(root: Path) -> dict[str, list[str]]:
    """Return who imports whom in pyuring/; imports for annotations only do not count."""
    top = root / "pyuring"
    modules = {module_of(top, path): path for path in sources(root, ".py", "pyuring")}
    graph = {}
    for module, path in modules.items():
        tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
        names = {n for node in _run_time_nodes(tree) for n in _imported(node, modules)}
        graph[module] = sorted(names - {module})
    return graph


def _run_time_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Walk the tree without the bodies of `if TYPE_CHECKING`."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for other in child.orelse:
                yield from _run_time_nodes(other)
            continue
        yield child
        yield from _run_time_nodes(child)


def _imported(node: ast.AST, modules: Container[str]) -> list[str]:
    """Return the modules of ours that one import statement names."""
    if isinstance(node, ast.Import):
        names = [alias.name.split(".") for alias in node.names]
        return ["/".join(parts[1:]) or "__init__" for parts in names if parts[0] == "pyuring"]
    if not isinstance(node, ast.ImportFrom):
        return []
    parts = (node.module or "").split(".")
    if not node.level and parts[0] != "pyuring":
        return []
    inner = "/".join(parts if node.level else parts[1:])
    if inner:
        return [inner]
    # From the package itself: a module, or a name that comes through the front door.
    return [alias.name if alias.name in modules else "__init__" for alias in node.names]


def zig_graph(root: Path) -> dict[str, list[str]]:
    """Return who imports whom in zig/, by `@import("….zig")`."""
    top = (root / "zig").resolve()
    graph = {}
    for path in sources(root, ".zig", "zig"):
        text = re.sub(r"//.*", "", path.read_text(encoding="utf-8"))
        found = set()
        for target in re.findall(r'@import\("([^"]+\.zig)"\)', text):
            other = (path.parent / target).resolve()
            if other.is_relative_to(top):
                found.add(module_of(top, other))
        graph[module_of(root / "zig", path)] = sorted(found)
    return graph


def check_ctypes(root: Path) -> list[str]:
    """Only _native.py imports ctypes."""
    problems = []
    for path in sources(root, ".py", "pyuring"):
        if path.name == "_native.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            if any(n.split(".")[0] in ("ctypes", "_ctypes", "cffi") for n in names):
                problems.append(f"{name_of(root, path)}: imports ctypes; only _native.py does")
    return problems


def check_exports(root: Path) -> list[str]:
    """Only zig/abi.zig exports."""
    problems = []
    for path in sources(root, ".zig", "zig"):
        text = re.sub(r"//.*|\\\\.*", "", path.read_text(encoding="utf-8"))
        if path != root / "zig" / "abi.zig" and re.search(
            r"^\s*(pub )?export |@export\(", text, re.M
        ):
            problems.append(f"{name_of(root, path)}: exports a symbol; only abi.zig does")
    return problems
