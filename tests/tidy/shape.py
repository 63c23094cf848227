"""The shape of a file: how it opens, how long it is, how long its functions are.

`RATCHET` lists what is over a cap today. An entry may only shrink, and must go once the file
or function is within its cap: the check complains about entries that have become untrue.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from tidy.files import name_of, sources

FILE_CAP = 400
FUNCTION_CAP = 70
TOPS = ("pyuring", "zig", "tests", "bench", "examples")

# "path" -> lines, or "path:function" -> lines. Best empty.
RATCHET: Mapping[str, int] = {}


def check_opening(root: Path) -> list[str]:
    """Every module opens with two lines or more: what it owns, what it never does does."""
    problems = []
    for path in sources(root, ".py", "pyuring"):
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        if len([line for line in docstring.splitlines() if line.strip()]) < 2:
            problems.append(f"{name_of(root, path)}: opens without a docstring of two lines")
    for path in sources(root, ".zig", "zig"):
        opening = path.read_text(encoding="utf-8").splitlines()[:2]
        if len(opening) < 2 or not all(re.match(r"//! ?\S", line) for line in opening):
            problems.append(f"{name_of(root, path)}: opens without two lines of //!")
    return problems


def check_lengths(root: Path, ratchet: Mapping[str, int] = RATCHET) -> list[str]:
    """Files and functions stay within their caps, exceptions within the ratchet."""
    measured = {name: (lines, cap) for name, lines, cap in measure(root)}
    problems = []
    for name, (lines, cap) in measured.items():
        allowed = ratchet.get(name, cap)
        if lines > allowed:
            problems.append(f"{name}: {lines} lines, allowed are {allowed}")
    for name, allowed in ratchet.items():
        lines, cap = measured.get(name, (0, 0))
        if lines < allowed:
            problems.append(
                f"{name}: the ratchet says {allowed}, now it has {lines}: lower or drop it"
            )
    return problems


def measure(root: Path) -> Iterator[tuple[str, int, int]]:
    """Yield (name, lines, cap) of every file and function."""
    for path in sources(root, ".py", *TOPS):
        text = path.read_text(encoding="utf-8")
        name = name_of(root, path)
        yield name, text.count("\n"), FILE_CAP
        for function, lines in _python_functions(text):
            yield f"{name}:{function}", lines, FUNCTION_CAP
    for path in sources(root, ".zig", *TOPS):
        text = path.read_text(encoding="utf-8")
        name = name_of(root, path)
        yield name, text.count("\n"), FILE_CAP
        for function, lines in _zig_functions(text):
            yield f"{name}:{function}", lines, FUNCTION_CAP


def _python_functions(text: str) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.end_lineno:
            yield node.name, node.end_lineno - node.lineno + 1


def _zig_functions(text: str) -> Iterator[tuple[str, int]]:
    """Find functions by the indentation of `zig fmt`; one that returns a type is a container."""
    lines = text.splitlines()
    for start, line in enumerate(lines):
        head = re.match(r"( *)(?:pub |export |inline |noinline )*fn (\w+)", line)
        if not head:
            continue
        ends = (head[1] + "}", head[1] + "};")
        end = next((i for i in range(start, len(lines)) if lines[i] in ends), start)
        signature = " ".join(lines[start : min(start + 12, end + 1)]).split("{")[0]
        if not signature.rstrip().endswith(" type"):
            yield head[2], end - start + 1
