"""What the wheels and the sdist contain, and that they work in clean environments.

Runs in `nox -s wheels`, which builds them and names their directory in PYURING_DIST; elsewhere
the module is skipped. The wheel for another machine is looked at, not used.
"""

from __future__ import annotations

import email
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
from tidy import elf

if "PYURING_DIST" not in os.environ:
    pytest.skip("no built wheels here: run `nox -s wheels`", allow_module_level=True)

ROOT = Path(__file__).resolve().parent.parent
DIST = Path(os.environ["PYURING_DIST"])
ARCHITECTURES = ("x86_64", "aarch64")
PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14", "3.13t", "3.14t")
TAG = "py3-none-manylinux_2_17_{0}.manylinux2014_{0}.musllinux_1_1_{0}"


def wheel_for(arch: str) -> Path:
    """Return the one wheel built for `arch`."""
    (path,) = DIST.glob(f"*_{arch}.whl")
    return path


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_wheel_fits_every_cpython_and_libc(arch: str, tmp_path: Path) -> None:
    path = wheel_for(arch)
    assert path.name.startswith("pyuring_engine-")
    assert path.name.endswith(f"-{TAG.format(arch)}.whl")
    with zipfile.ZipFile(path) as wheel:
        library = elf.read_library(Path(wheel.extract("pyuring/libpyuring.so", tmp_path)))
    assert library.machine == arch
    assert elf.check_library(library) == []


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_wheel_has_the_package_and_nothing_else(arch: str) -> None:
    with zipfile.ZipFile(wheel_for(arch)) as wheel:
        names = wheel.namelist()
        (metadata_name,) = [name for name in names if name.endswith(".dist-info/METADATA")]
        metadata = email.message_from_bytes(wheel.read(metadata_name))
    tree = {path.relative_to(ROOT).as_posix() for path in (ROOT / "pyuring").rglob("*.py")}
    assert {name for name in names if name.endswith(".py")} == tree
    assert [n for n in names if ".dist-info/" not in n and not n.startswith("pyuring/")] == []
    assert names.count("pyuring/libpyuring.so") == 1
    assert "pyuring/py.typed" in names
    # Nothing is needed to run; what is named belongs to an extra that somebody asks for.
    assert [
        each for each in metadata.get_all("Requires-Dist") or [] if "; extra ==" not in each
    ] == []
    assert metadata["Requires-Python"] == ">=3.10"


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_auditwheel_is_content(arch: str) -> None:
    command = [sys.executable, "-m", "auditwheel", "show", str(wheel_for(arch))]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    glibc = re.search(rf'platform tag:\s+"manylinux_2_(\d+)_{arch}"', result.stdout)
    assert glibc, result.stdout
    assert int(glibc[1]) <= 17, result.stdout  # an older one is more than we ask for


MUSL_PROGRAM = """
#include <dlfcn.h>
int main(int argc, char **argv) {
    void *library = dlopen(argv[1], RTLD_NOW);
    unsigned (*version)(void) = library ? dlsym(library, "pyuring_abi_version") : 0;
    return version && version() > 0 ? 0 : 1;
}
"""


def test_library_loads_under_musl(tmp_path: Path) -> None:
    machine = platform.machine()
    if not Path(f"/lib/ld-musl-{machine}.so.1").exists():
        pytest.skip("no musl loader here (Debian: the package musl)")
    (tmp_path / "load.c").write_text(MUSL_PROGRAM, encoding="utf-8")
    compiler = [sys.executable, "-m", "ziglang", "cc", "-O2", "-target", f"{machine}-linux-musl"]
    arguments = ["-dynamic", "-o", "load", "load.c"]
    subprocess.run([*compiler, *arguments], cwd=tmp_path, check=True)
    with zipfile.ZipFile(wheel_for(machine)) as wheel:
        library = wheel.extract("pyuring/libpyuring.so", tmp_path)
    assert subprocess.run([tmp_path / "load", library], check=False).returncode == 0


def test_sdist_has_what_a_build_needs_and_no_built_file() -> None:
    (path,) = DIST.glob("*.tar.gz")
    with tarfile.open(path) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    for needed in ("build.zig", "build.zig.zon", "hatch_build.py", "zig/abi.zig", "LICENSE"):
        assert needed in names
    assert [n for n in names if n.endswith((".so", ".pyc")) or "zig-cache" in n] == []


def interpreter(version: str) -> str | None:
    """Return the CPython of that version on the PATH, if it starts."""
    path = shutil.which(f"python{version}")
    code = "import sys, venv, ensurepip; sys.exit(sys.implementation.name != 'cpython')"
    works = path and subprocess.run([path, "-c", code], capture_output=True, check=False)
    return path if works and works.returncode == 0 else None


@pytest.mark.parametrize("version", PYTHONS)
def test_wheel_works_in_a_clean_environment(version: str, tmp_path: Path) -> None:
    python = interpreter(version)
    if python is None:
        pytest.skip(f"CPython {version} not found")
    bin_dir = clean_environment(tmp_path, python)
    run(tmp_path, bin_dir / "pip", "install", "-q", "--no-index", wheel_for(platform.machine()))
    code = "import pyuring._native; print(pyuring.__file__)"
    where = run(tmp_path, bin_dir / "python", "-c", code)
    assert where.startswith(str(tmp_path))
    assert "tier" in run(tmp_path, bin_dir / "pyuring", "probe").lower()


def test_sdist_builds_a_wheel_on_its_own(tmp_path: Path) -> None:
    (sdist,) = DIST.glob("*.tar.gz")
    bin_dir = clean_environment(tmp_path, sys.executable)
    run(
        tmp_path,
        bin_dir / "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--wheel-dir",
        tmp_path / "out",
        sdist,
    )
    (wheel,) = (tmp_path / "out").iterdir()
    assert wheel.name == wheel_for(platform.machine()).name


def clean_environment(directory: Path, python: str) -> Path:
    """Make an environment with pip and nothing else; return its bin directory."""
    if python == sys.executable:
        venv.create(directory / "venv", with_pip=True)
    else:
        run(directory, Path(python), "-m", "venv", directory / "venv")
    return directory / "venv" / "bin"


def run(directory: Path, program: Path, *arguments: str | Path) -> str:
    """Run a program in `directory`, and return what it printed."""
    command = [str(program), *map(str, arguments)]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    result = subprocess.run(
        command, cwd=directory, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
    return result.stdout
