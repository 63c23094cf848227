"""The build hook's decisions, and the shape of the library it made.

What the wheels and the sdist contain is in test_wheels.py.
"""

from __future__ import annotations

import importlib.util
import platform
from pathlib import Path
from types import ModuleType

import pytest
from tidy import elf

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def hook() -> ModuleType:
    """Load the build hook, which is no part of the package."""
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_hook_knows_the_architecture_by_either_name(hook: ModuleType) -> None:
    assert hook.host_architecture("Linux", "x86_64") == "x86_64"
    assert hook.host_architecture("Linux", "AMD64") == "x86_64"
    assert hook.host_architecture("Linux", "arm64") == "aarch64"


@pytest.mark.parametrize(
    ("system", "machine", "says"),
    [("Darwin", "arm64", "Linux only"), ("Linux", "riscv64", "this machine is riscv64")],
)
def test_hook_refuses_other_machines(
    hook: ModuleType, system: str, machine: str, says: str
) -> None:
    with pytest.raises(hook.BuildError, match=says):
        hook.host_architecture(system, machine)


def test_hook_builds_for_the_wanted_target_or_says_what_it_knows(hook: ModuleType) -> None:
    assert hook.target_architecture("x86_64", None) == "x86_64"
    assert hook.target_architecture("x86_64", "") == "x86_64"
    assert hook.target_architecture("x86_64", "aarch64") == "aarch64"
    with pytest.raises(hook.BuildError, match="x86_64 or aarch64, not 'sparc'"):
        hook.target_architecture("x86_64", "sparc")


def test_hook_ends_with_one_line(
    hook: ModuleType, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    builder = hook.LibraryBuildHook(str(ROOT), {}, None, None, "", "wheel")
    with pytest.raises(SystemExit) as exit_info:
        builder.initialize("standard", {"force_include": {}})
    assert exit_info.value.code == 1
    output = "".join(capfd.readouterr()).strip()
    assert output.count("\n") == 0
    assert "Linux only" in output


def test_library_is_small_stripped_and_needs_nothing() -> None:
    library = elf.read_library(ROOT / "pyuring" / "libpyuring.so")
    assert elf.check_library(library) == []
