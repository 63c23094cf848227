"""Names that must agree: public names, symbols of the library, versions, fault numbers, wording.

Each check compares two or three places where the same fact is written, and names the
difference. It owns no fact itself, but for the number of the last fault.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from pathlib import Path

from tidy.files import sources, texts

LAST_FAULT = 63
UNTESTED_HEADING = "## Without a test of its own"


def declared_names(path: Path) -> list[str] | None:
    """Return a module's `__all__`, or None where it has none."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if isinstance(node, ast.AnnAssign):
            targets = [node.target]
        if any(isinstance(t, ast.Name) and t.id == "__all__" for t in targets):
            value = getattr(node, "value", None)
            elements = value.elts if isinstance(value, (ast.List, ast.Tuple)) else []
            return [str(e.value) for e in elements if isinstance(e, ast.Constant)]
    return None


def front_table(path: Path) -> dict[str, list[str]]:
    """Return the package's table of lazily loaded names, `_PUBLIC`: module -> names."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_PUBLIC":
            table = ast.literal_eval(node.value)
            return {module: sorted(names) for module, names in table.items()}
    return {}


def front_imports(path: Path) -> dict[str, list[str]]:
    """Return what the package imports for type checkers: module -> names."""
    found: dict[str, list[str]] = {}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pyuring."):
            module = (node.module or "").partition(".")[2]
            found[module] = sorted([*found.get(module, []), *(a.name for a in node.names)])
    return found


def check_public_names(root: Path) -> list[str]:
    """Every public module has `__all__`, and the package offers it whole or not at all."""
    front = root / "pyuring" / "__init__.py"
    table, imports = front_table(front), front_imports(front)
    problems = [
        f"{module}: _PUBLIC and the imports for type checkers name different things"
        for module in sorted(table.keys() | imports.keys())
        if table.get(module) != imports.get(module)
    ]
    for path in sources(root, ".py", "pyuring"):
        if path.stem.startswith("_"):
            continue
        names = declared_names(path)
        if names is None:
            problems.append(f"pyuring/{path.name}: has no __all__")
        elif path.stem in table and sorted(names) != table[path.stem]:
            difference = ", ".join(sorted(set(names) ^ set(table[path.stem])))
            problems.append(f"pyuring/{path.name}: __all__ and _PUBLIC differ in {difference}")
    offered = [name for names in table.values() for name in names]
    problems += [
        f"{n}: offered by two modules" for n in sorted(set(offered)) if offered.count(n) > 1
    ]
    missing = [module for module in table if not (front.parent / f"{module}.py").exists()]
    return problems + [f"{module}: in _PUBLIC, but there is no such module" for module in missing]


def symbols_in_zig(text: str) -> set[str]:
    """Return what abi.zig exports."""
    text = re.sub(r"//.*", "", text)
    plain = re.findall(r"\bexport (?:fn|const|var) (\w+)", text)
    return set(plain) | set(re.findall(r'@export\([^;]*?\.name = "(\w+)"', text))


def symbols_in_python(text: str) -> set[str]:
    """Return the symbols that _native.py names, as strings or as attributes."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        name = node.value if isinstance(node, ast.Constant) else getattr(node, "attr", None)
        if isinstance(name, str) and re.fullmatch(r"pyuring_\w+", name):
            found.add(name)
    return found


def check_symbols(library: Iterable[str], zig: Iterable[str], python: Iterable[str]) -> list[str]:
    """The library's table, abi.zig and _native.py list the same symbols."""
    places = {"the library": set(library), "abi.zig": set(zig), "_native.py": set(python)}
    everything = set().union(*places.values())
    return [
        f"{symbol}: not in {place}"
        for symbol in sorted(everything)
        for place, symbols in places.items()
        if symbol not in symbols
    ]


def check_faults(root: Path, last: int = LAST_FAULT) -> list[str]:
    """Every fault has a test named after it, or a reason in docs/faults.md; never both."""
    tested = tested_faults(root)
    excused = excused_faults(root)
    problems = []
    for number in range(1, last + 1):
        if number not in tested and number not in excused:
            problems.append(f"F{number}: neither a test nor a reason in docs/faults.md")
        if number in tested and number in excused:
            problems.append(f"F{number}: tested, yet listed in docs/faults.md as without a test")
    return problems


def tested_faults(root: Path) -> set[int]:
    """Return the numbers in the names of tests, Python's `test_f12_…` and Zig's `test "F12 …"`."""
    found: set[int] = set()
    for path in sources(root, ".py", "tests"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                found.update(_numbers(node.name) if node.name.startswith("test_") else ())
    for path in sources(root, ".zig", "zig"):
        for name in re.findall(r'^\s*test "([^"]*)"', path.read_text(encoding="utf-8"), re.M):
            found.update(_numbers(name))
    return found


def _numbers(name: str) -> set[int]:
    return {int(n) for n in re.findall(r"(?:^|[^a-zA-Z0-9])[fF](\d+)(?![a-zA-Z0-9])", name)}


def excused_faults(root: Path) -> set[int]:
    """Return the rows `| F12 | reason |` below the heading that says so; a reason has words."""
    path = root / "docs" / "faults.md"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    _, _, section = text.partition(UNTESTED_HEADING)
    section = section.split("\n## ")[0]
    rows = re.findall(r"^\| *F(\d+) *\|(.*)\|", section, re.M)
    return {int(number) for number, reason in rows if len(reason.split()) >= 4}


def check_install_name(root: Path) -> list[str]:
    """The distribution is pyuring-engine; the other name installs somebody else's package."""
    wrong = re.compile(r"\binstall (?:-\S+ )*[\"'`]?pyuring(?![-\w/.])")
    return [
        f"{name}: names the wrong distribution: {match[0]!r}"
        for name, text in texts(root)
        for match in wrong.finditer(text)
    ]


def check_versions(root: Path) -> list[str]:
    """build.zig.zon, the package and the change log name the same version."""
    zon = (root / "build.zig.zon").read_text(encoding="utf-8")
    version = re.findall(r'\.version = "([^"]+)"', zon)[0]
    problems = []
    for path in sources(root, ".py", "pyuring"):
        for other in re.findall(r'^__version__.* = "([^"]+)"', path.read_text("utf-8"), re.M):
            if other != version:
                problems.append(
                    f"pyuring/{path.name}: version {other}, build.zig.zon has {version}"
                )
    log = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    if f"## [{version}]" not in log and "## [Unreleased]" not in log:
        problems.append(f"CHANGELOG.md: no section for {version}")
    return problems


def check_test_command(root: Path) -> list[str]:
    """The command that .ci/run runs is, to the letter, the one in README.md and CONTRIBUTING.md."""
    script = (root / ".ci" / "run").read_text(encoding="utf-8").strip()
    command = script.splitlines()[-1]
    return [
        f"{name}: does not have the test command {command!r}"
        for name in ("README.md", "CONTRIBUTING.md")
        if command not in (root / name).read_text(encoding="utf-8").splitlines()
    ]
