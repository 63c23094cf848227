"""The house rules hold for this tree, and each rule is shown to notice when it is broken.

The rules themselves are in tests/tidy; a rule without a bad tree below is unfinished.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tidy import elf, layers, names, shape

ROOT = Path(__file__).resolve().parent.parent
Check = Callable[[Path], "list[str]"]


def python_direction(root: Path) -> list[str]:
    return layers.check_direction(layers.python_graph(root), layers.PYTHON_LAYERS)


def python_cycles(root: Path) -> list[str]:
    return layers.check_cycles(layers.python_graph(root))


def zig_direction(root: Path) -> list[str]:
    return layers.check_direction(layers.zig_graph(root), layers.ZIG_LAYERS)


def zig_cycles(root: Path) -> list[str]:
    return layers.check_cycles(layers.zig_graph(root), layers.UNITS)


def library_symbols(root: Path) -> list[str]:
    library = elf.read_library(root / "pyuring" / "libpyuring.so")
    return names.check_symbols(
        library.exported,
        names.symbols_in_zig((root / "zig" / "abi.zig").read_text("utf-8")),
        names.symbols_in_python((root / "pyuring" / "_native.py").read_text("utf-8")),
    )


CHECKS: list[Check] = [
    python_direction,
    python_cycles,
    zig_direction,
    zig_cycles,
    library_symbols,
    layers.check_ctypes,
    layers.check_exports,
    shape.check_opening,
    shape.check_lengths,
    names.check_public_names,
    names.check_faults,
    names.check_install_name,
    names.check_versions,
    names.check_test_command,
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_tree_keeps(check: Check) -> None:
    problems = check(ROOT)
    assert not problems, "\n" + "\n".join(problems)


GOOD_PYTHON = '"""Owns a thing.\n\nNever does another.\n"""\n\n__all__ = ["Thing"]\n'
FRONT = """'''Names.\n\nOnly.'''
if TYPE_CHECKING:
    from pyuring.ring import Thing
_PUBLIC = {"ring": ("Thing",)}
"""
LONG_FUNCTION = "def long():\n" + "    pass\n" * 70
LONG_ZIG_FUNCTION = "pub fn long() void {\n" + "    work();\n" * 70 + "}\n"
WRONG_NAME = "pip inst" + "all pyuring"
RIGHT_NAME = WRONG_NAME + "-engine"
ZON = '.{ .version = "1.2.3" }'

BAD_TREES: list[tuple[Check, dict[str, str], str]] = [
    (python_direction, {"pyuring/ring.py": "from pyuring.engine import Engine"}, "stands above"),
    (python_direction, {"pyuring/ring.py": "def f():\n    from . import engine",
                        "pyuring/engine.py": ""}, "imports engine"),
    (python_direction, {"pyuring/ring.py": "from pyuring import Engine"}, "stands above"),
    (python_direction, {"pyuring/ring.py": "import pyuring"}, "stands above"),
    (python_direction, {"pyuring/novelty.py": ""}, "novelty: has no row"),
    (python_cycles, {"pyuring/http.py": "from . import wsgi",
                     "pyuring/wsgi.py": "import pyuring.http"}, "http -> wsgi -> http"),
    (zig_direction, {"zig/kernel.zig": 'const r = @import("ring.zig");'}, "imports ring"),
    (zig_direction, {"zig/testing/fake_ring.zig": '_ = @import("../worker.zig");'},
     "imports worker"),
    (zig_direction, {"zig/novelty.zig": ""}, "novelty: has no row"),
    (zig_cycles, {"zig/sqe.zig": '_ = @import("token.zig");',
                  "zig/token.zig": '_ = @import("sqe.zig");'}, "sqe -> token -> sqe"),
    (layers.check_ctypes, {"pyuring/ring.py": "from ctypes import CDLL"}, "imports ctypes"),
    (layers.check_ctypes, {"pyuring/ring.py": "def f():\n    import _ctypes"}, "imports ctypes"),
    (layers.check_exports, {"zig/ring.zig": "export fn f() void {}"}, "exports a symbol"),
    (layers.check_exports, {"zig/ring.zig": "comptime { @export(&f, .{}); }"}, "exports a symbol"),
    (shape.check_opening, {"pyuring/ring.py": '"""One line."""'}, "without a docstring"),
    (shape.check_opening, {"pyuring/ring.py": "x = 1"}, "without a docstring"),
    (shape.check_opening, {"zig/ring.zig": "//! One line.\n\nconst x = 1;"}, "two lines of //!"),
    (shape.check_lengths, {"pyuring/ring.py": "x = 1\n" * 401}, "ring.py: 401 lines"),
    (shape.check_lengths, {"zig/ring.zig": "// x\n" * 401}, "ring.zig: 401 lines"),
    (shape.check_lengths, {"tests/test_x.py": LONG_FUNCTION}, "test_x.py:long: 71 lines"),
    (shape.check_lengths, {"zig/ring.zig": LONG_ZIG_FUNCTION}, "ring.zig:long: 72 lines"),
    (names.check_public_names, {"pyuring/__init__.py": FRONT, "pyuring/ring.py": ""},
     "ring.py: has no __all__"),
    (names.check_public_names, {"pyuring/__init__.py": FRONT}, "no such module"),
    (names.check_public_names, {"pyuring/__init__.py": FRONT,
                                "pyuring/ring.py": '__all__ = ["Thing", "Other"]'}, "Other"),
    (names.check_public_names, {"pyuring/__init__.py": '_PUBLIC = {"ring": ("Thing",)}',
                                "pyuring/ring.py": GOOD_PYTHON}, "type checkers"),
    (names.check_public_names, {"pyuring/__init__.py": '_PUBLIC = {"a": ["x"], "b": ["x"]}'},
     "x: offered by two"),
    (names.check_faults, {"tests/test_x.py": "def test_f1_a(): ...\ndef test_f13_b(): ..."}, "F3:"),
    (names.check_faults, {"docs/faults.md": "| F3 | as other reasons, elsewhere |"}, "F3:"),
    (names.check_faults, {"tests/test_x.py": "def test_f3_a(): ...",
                          "docs/faults.md": names.UNTESTED_HEADING
                          + "\n| F3 | for this or that reason |"}, "F3: tested, yet"),
    (names.check_install_name, {"README.md": f"Run `{WRONG_NAME}`."}, "wrong distribution"),
    (names.check_install_name, {"docs/a.md": WRONG_NAME.replace("all", "all -U")}, "docs/a.md"),
    (names.check_versions, {"build.zig.zon": ZON, "CHANGELOG.md": "## [1.2.3]",
                            "pyuring/_version.py": '__version__ = "1.2.4"'}, "1.2.4"),
    (names.check_versions, {"build.zig.zon": ZON, "CHANGELOG.md": "## [1.2.2]"}, "CHANGELOG"),
    (names.check_test_command, {".ci/run": "make test", "README.md": "make tests",
                                "CONTRIBUTING.md": "make test"}, "README.md"),
]  # fmt: skip


@pytest.mark.parametrize(("check", "files", "complaint"), BAD_TREES)
def test_rule_notices(check: Check, files: dict[str, str], complaint: str, tmp_path: Path) -> None:
    plant(tmp_path, files)
    assert complaint in "\n".join(check(tmp_path))


GOOD_TREE = {
    "pyuring/__init__.py": FRONT,
    "pyuring/ring.py": GOOD_PYTHON + "if TYPE_CHECKING:\n    from .engine import Engine\n",
    "pyuring/engine.py": GOOD_PYTHON.replace("Thing", "") + "from pyuring import ring\n",
    "pyuring/_native.py": '"""Binds.\n\nOnly.\n"""\nimport ctypes\nf = lib.pyuring_f\n',
    "zig/abi.zig": '//! a\n//! b\nconst r = @import("ring.zig");\nexport fn pyuring_f() void {}\n',
    "zig/ring.zig": '//! a\n//! b\ntest "F3 seen" {}\nfn T(U: type) type {\n' + "\n" * 99 + "}\n",
    "tests/test_ring.py": "def test_f1_and_f2_seen(): ...\n",
    "README.md": f"{RIGHT_NAME} and {WRONG_NAME}/x\nmake test\n",
    "CONTRIBUTING.md": "make test\n",
    "CHANGELOG.md": "## [1.2.3]\n",
    ".ci/run": "#!/bin/bash\nmake test\n",
    "build.zig.zon": ZON,
}  # fmt: skip


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_rule_is_content_with_a_good_tree(check: Check, tmp_path: Path) -> None:
    plant(tmp_path, GOOD_TREE)
    if check is names.check_faults:
        assert names.check_faults(tmp_path, last=3) == []
    elif check is not library_symbols:
        assert check(tmp_path) == []


def test_a_unit_may_call_within_itself_and_no_further() -> None:
    units = [("send", "close")]
    inside = {"send": ["close"], "close": ["send"]}
    assert layers.check_cycles(inside, units) == []
    outside = {"send": ["close"], "close": ["send", "worker"], "worker": ["send"]}
    assert layers.check_cycles(outside, units) == [
        "imports go round: send+close -> worker -> send+close"
    ]


def test_symbols_must_agree_in_all_three_places() -> None:
    assert names.check_symbols({"a"}, {"a"}, {"a"}) == []
    assert names.check_symbols({"a"}, {"a"}, set()) == ["a: not in _native.py"]
    assert names.check_symbols(set(), {"a"}, {"a"}) == ["a: not in the library"]
    assert names.check_symbols({"a", "b"}, {"a"}, {"a"}) == [
        "b: not in abi.zig",
        "b: not in _native.py",
    ]


def test_symbols_are_found_in_either_spelling() -> None:
    zig = "export fn pyuring_a() u32 {}\n// export fn pyuring_b\n"
    zig += '@export(&x, .{ .name = "pyuring_c" });'
    assert names.symbols_in_zig(zig) == {"pyuring_a", "pyuring_c"}
    python = '"""pyuring_x is not one."""\nlib.pyuring_a()\nNAMES = ["pyuring_c"]'
    assert names.symbols_in_python(python) == {"pyuring_a", "pyuring_c"}


def test_ratchet_lets_the_known_pass_and_must_shrink(tmp_path: Path) -> None:
    plant(tmp_path, {"zig/ring.zig": "// x\n" * 450})
    assert shape.check_lengths(tmp_path, {"zig/ring.zig": 450}) == []
    assert "450 lines" in shape.check_lengths(tmp_path, {"zig/ring.zig": 449})[0]
    assert "lower or drop" in shape.check_lengths(tmp_path, {"zig/ring.zig": 460})[0]
    assert (
        "lower or drop" in shape.check_lengths(tmp_path, {"zig/ring.zig": 450, "gone.py": 500})[0]
    )


def test_a_library_that_needs_something_is_refused() -> None:
    bad = elf.Library("x86_64", 400_000, ["libc.so.6"], set(), {"malloc"}, {"gmon"}, stripped=False)
    assert len(elf.check_library(bad)) == 5
    assert elf.check_library(elf.Library("x86_64", 1, optional={"PyList_New"})) == []


def plant(root: Path, files: dict[str, str]) -> None:
    """Write a tree of small files."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
