"""What a contributor runs: `nox` for everything that must pass, `nox -s NAME` for one part.

The sessions share one copy of zig, unpacked below .nox; the wheel is built once and the tests
run on what would be shipped. Interpreters that are not found are skipped, with a line that says so.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["lint", "types", "zig", "tests", "wheels"]
nox.options.reuse_venv = "yes"
# A machine need not have every Python; what is missing is skipped, in CI as well.
nox.options.download_python = "never"
nox.options.error_on_missing_interpreters = False

ROOT = Path(__file__).resolve().parent
PROJECT = nox.project.load_toml(ROOT / "pyproject.toml")
# Between the oldest and the newest that people have; there the slowest tests that have nothing to
# do with the interpreter are spared. What is about the machine runs on the newest alone.
IN_BETWEEN = ("3.11", "3.12")
SLOW_ALIKE = (
    "test_http_table.py",
    "test_processes.py",
    "test_static.py",
    "test_supervised.py",
    "test_supervisor.py",
)
NEWEST = "3.13"
OF_THE_MACHINE = ("faults", "test_bench_smoke.py", "test_instructions.py", "test_kernels.py")
# The benchmarks that are tried each time, on the newest: each of these takes a second or two.
BENCHMARKS = "suite or features or startup or broadcast or system_calls or notices_wrong"
PYTHONS = ["3.10", "3.11", "3.12", "3.13", "3.14", "3.13t", "3.14t"]
ARCHITECTURES = ["x86_64", "aarch64"]
DIST = ROOT / "dist"


def offer_pyenv_versions() -> None:
    """Let `python3.X` on the PATH find every CPython that pyenv has, not only the selected one."""
    if not shutil.which("pyenv"):
        return
    listing = subprocess.run(["pyenv", "versions", "--bare"], capture_output=True, text=True)
    wanted = tuple(f"{version.rstrip('t')}." for version in PYTHONS)
    found = [name for name in listing.stdout.split() if name.startswith(wanted) and "/" not in name]
    if found:
        os.environ["PYENV_VERSION"] = ":".join(found)


offer_pyenv_versions()


def install(session: nox.Session, *groups: str) -> None:
    """Install dependency groups of pyproject.toml into the session."""
    session.install("-q", *nox.project.dependency_groups(PROJECT, *groups))


def zig_environment(session: nox.Session) -> dict[str, str]:
    """Return an environment where `python -m ziglang` works; one copy of zig serves all."""
    (requirement,) = nox.project.dependency_groups(PROJECT, "zig")
    target = ROOT / ".nox" / requirement.replace("==", "-")
    if not (target / "ziglang" / "zig").exists():
        session.install("-q", "--target", str(target), requirement)
    return {"PYTHONPATH": str(target)}


def build(session: nox.Session, kind: str, arch: str = "") -> None:
    """Build into dist with hatchling, without a second download of zig."""
    env = zig_environment(session) | {"PYURING_TARGET": arch}
    command = ["python", "-m", "build", "--no-isolation", "--outdir", str(DIST), kind]
    session.run(*command, env=env, silent=True)


def host_wheel() -> Path:
    """Return the wheel that the session `build` made."""
    machine = os.uname().machine
    wheels = sorted(DIST.glob(f"*_{machine}.whl"), key=lambda path: path.stat().st_mtime_ns)
    if not wheels:
        raise SystemExit("no wheel in dist: run `nox -s build`")
    return wheels[-1]


@nox.session(name="build")
def build_session(session: nox.Session) -> None:
    """Build this machine's wheel, and the library beside the Python modules."""
    install(session, "build")
    build(session, "--wheel")
    session.log(f"built {host_wheel().name}")


@nox.session
def lint(session: nox.Session) -> None:
    """Check formatting and style: ruff for Python, zig fmt for Zig."""
    install(session, "lint")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("python", "-m", "ziglang", "build", "fmt", env=zig_environment(session))


@nox.session
def types(session: nox.Session) -> None:
    """Check types: mypy --strict."""
    install(session, "types")
    session.run("mypy", "--strict")


@nox.session
def zig(session: nox.Session) -> None:
    """Run the Zig tests; arguments go to `zig build`, such as -Dfilter=NAME."""
    env = zig_environment(session)
    session.run(
        "python", "-m", "ziglang", "build", "test", "--summary", "new", *session.posargs, env=env
    )
    if not session.posargs:
        # The HTTP parser without a server, the simulator on some seeds; without conftest.py, which
        # imports pyuring.
        install(session, "tests")
        alone = ("http1", "http1_differential", "canaries")
        files = [f"tests/test_{name}.py" for name in alone]
        session.run("pytest", "--noconftest", *files, env=env)


@nox.session(python=PYTHONS, requires=["build"])
def tests(session: nox.Session) -> None:
    """Run the Python tests on every CPython found; arguments go to pytest.

    The slowest of those that have nothing to do with the interpreter run on the oldest and on the
    newest of those that most people have, not in between; the machine's own on the newest.
    """
    install(session, "tests")
    session.install("-q", "--force-reinstall", "--no-deps", str(host_wheel()))
    spared: tuple[str, ...] = SLOW_ALIKE if session.python in IN_BETWEEN else ()
    spared += () if session.python == NEWEST else OF_THE_MACHINE
    if session.posargs:
        spared = ()
    session.run("pytest", *(f"--ignore=tests/{name}" for name in spared), *session.posargs)
    if session.python == NEWEST and not session.posargs:
        # With the compiler, for the load generator; the other tests that want it run in `zig`.
        short = ("tests/test_bench_smoke.py", "-k", BENCHMARKS)
        session.run("pytest", *short, env=zig_environment(session))


@nox.session(requires=["build"])
def tiers(session: nox.Session) -> None:
    """Run the Python tests on each tier, or on those that are named: `nox -s tiers -- none`."""
    install(session, "tests")
    session.install("-q", "--force-reinstall", "--no-deps", str(host_wheel()))
    for tier in session.posargs or ["none", "base", "mid", "high", "optional"]:
        session.run("pytest", env={"PYURING_TIER": tier})


@nox.session(requires=["build"])
def stress(session: nox.Session) -> None:
    """Run the long tests: 64 clients that are not ours, every tier, one and two workers."""
    install(session, "tests")
    session.install("-q", "--force-reinstall", "--no-deps", str(host_wheel()))
    session.run("pytest", "tests/stress", *session.posargs, env={"PYURING_STRESS": "1"})


@nox.session(requires=["build"])
def faults(session: nox.Session) -> None:
    """Inject faults on the real kernel, some twenty minutes; seconds of churn may be given."""
    install(session, "tests")
    session.install("-q", "--force-reinstall", "--no-deps", str(host_wheel()))
    seconds, *rest = session.posargs or ["300"]
    env = zig_environment(session)
    env |= {"PYURING_FAULTS": "1", "PYURING_FAULTS_SECONDS": seconds}
    session.run("pytest", "-s", "tests/faults", *rest, env=env)


@nox.session
def wheels(session: nox.Session) -> None:
    """Build both wheels and the sdist, look into them, and use them in clean environments."""
    install(session, "wheels", "tests")
    shutil.rmtree(DIST, ignore_errors=True)
    build(session, "--sdist")
    for arch in ARCHITECTURES:
        build(session, "--wheel", arch=arch)
    env = zig_environment(session) | {"PYURING_DIST": str(DIST)}
    # Without conftest.py: it imports pyuring, which is not installed here, so that only wheels are.
    session.run("pytest", "--noconftest", "tests/test_wheels.py", env=env)


@nox.session(python="3.13", requires=["build"])
def bench(session: nox.Session) -> None:
    """Measure against other loops and servers, under an hour: `nox -s bench -- [--quick]`."""
    # 4 is a missed bar: it is told, in the run's document as well.
    command = ["python", "bench/suite.py", *session.posargs]
    session.run(*command, env=zig_environment(session), success_codes=[0, 4])


@nox.session(python="3.13", requires=["build"])
def soak(session: nox.Session) -> None:
    """Soak on the kernel's ring and on epoll for ten minutes: `nox -s soak -- MINUTES`.

    Everything at once, and then nothing may be left of it. `--losses` counts what a million
    connections leave behind instead.
    """
    if session.posargs[:1] == ["--losses"]:
        command = ["python", "bench/losses.py", *session.posargs[1:]]
    else:
        command = ["python", "bench/soak.py", *(session.posargs or ["10"])]
    session.run(*command, env=zig_environment(session))


@nox.session(python="3.13", requires=["build"])
def kernels(session: nox.Session) -> None:
    """Boot Debian's kernels and run the smoke set in each: `nox -s kernels -- [SERIES …]`."""
    session.install("-q", "--force-reinstall", "--no-deps", str(host_wheel()))
    command = ["python", "-m", "kernels", "--wheel", str(host_wheel()), *session.posargs]
    session.run(*command, env={"PYTHONPATH": str(ROOT / "tests")})


@nox.session
def simulate(session: nox.Session) -> None:
    """Find planted bugs, then run many seeds: `nox -s simulate -- --seeds N --first SEED`."""
    parser = argparse.ArgumentParser("nox -s simulate --")
    parser.add_argument("--seeds", type=int, default=100_000)
    parser.add_argument("--first", type=int, default=0)
    asked = parser.parse_args(session.posargs)
    env = zig_environment(session)
    session.run("python", "tests/canaries.py", env=env)
    seeds = (str(asked.first), str(asked.seeds))
    session.run("python", "-m", "ziglang", "build", "simulate", "--", *seeds, env=env)


@nox.session(requires=["build"])
def fuzz(session: nox.Session) -> None:
    """Fuzz the HTTP parser, alone and beside h11 and llhttp: `nox -s fuzz -- SECONDS [SEED]`."""
    seconds, *seed = session.posargs or ["60"]
    install(session, "tests")
    session.install("-q", "--force-reinstall", "--no-deps", str(host_wheel()))
    env = zig_environment(session)
    session.run("python", "-m", "ziglang", "build", "fuzz-http1", "--", seconds, *seed, env=env)
    env |= {"PYURING_FUZZ_SECONDS": seconds, "PYURING_SEED": seed[0] if seed else ""}
    session.run("pytest", "tests/test_http1_differential.py", env=env)


@nox.session(requires=["build"])
def border(session: nox.Session) -> None:
    """Try the border with CPython for long: `nox -s border -- TIMES`; see CONTRIBUTING.md.

    Junk for every public call and Ctrl-C anywhere, TIMES (100) the tests' share; 10⁶ events of
    each kind on a debug CPython; valgrind. What is not found here is said and left out.
    """
    install(session, "tests")
    session.install("-q", "--force-reinstall", "--no-deps", str(host_wheel()))
    times = session.posargs[0] if session.posargs else "100"
    long = ("tests/test_border.py", "tests/test_lifecycle_signals.py", "-s", "-k", "f53 or f48")
    session.run("pytest", *long, env={"PYURING_BORDER_TIMES": times})
    env = {"PYTHONPATH": str(ROOT)}  # the library beside the modules is what `build` left
    versions = [f"python{version}-dbg" for version in PYTHONS] + ["python3-dbg"]
    debug = os.environ.get("PYURING_DEBUG_PYTHON") or next(filter(shutil.which, versions), None)
    if debug is None:
        session.warn("no debug CPython (python3-dbg, PYURING_DEBUG_PYTHON): nothing is counted")
    else:
        for kind in ("ring", "timers", "echo", "http", "wsgi"):
            command = [debug, "tests/border/events.py", kind, "1000000"]
            session.run(*command, env=env, external=True)
        for kind in ("errors", "http-threads", "http-errors", "wsgi-errors"):
            command = [debug, "tests/border/events.py", kind, "100000"]
            session.run(*command, env=env, external=True)
    if shutil.which("valgrind") is None:
        session.warn("no valgrind: memcheck is left out")
    else:
        session.run("python", "tests/border/memcheck.py")
