"""Starting, pinning and accounting for every benchmark: programs, environments, processes.

Owns bench/.cache (compiled programs and the peers' environment). Never measures anything by
itself and never prints results: see echo.py, churn.py, idle.py, lowlevel.py and startup.py.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import http.client
import os
import platform
import random
import re
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

BENCH = Path(__file__).resolve().parent
ROOT = BENCH.parent
CACHE = BENCH / ".cache"
SERVER_CORE, LOAD_CORE = 0, 1
MAX_FILES = 20_000
# Exit statuses: 0 every bar met, 2 cannot be run here, 3 a server made mistakes, 4 a bar missed.
CANNOT, MISTAKES, MISSED = 2, 3, 4
_PORTS = range(10_240, 32_000)
# CPUCLOCK_SCHED of a whole process, as clock_getcpuclockid(3) makes it.
_CPUCLOCK_SCHED = 2


class BenchError(Exception):
    """A benchmark that cannot be run here, with the reason."""


# What may come of a peer that crashes, or says what nobody can read: it costs one cell.
CELL_FAILURES = (
    BenchError,
    OSError,
    ValueError,
    http.client.HTTPException,
    subprocess.SubprocessError,
)


def failure(error: BaseException) -> str:
    """What went wrong, in words that stand alone."""
    return str(error) if isinstance(error, BenchError) else f"{type(error).__name__}: {error}"


def last_line(error: BaseException) -> str:
    """The same in a line: the last one says it, as a traceback's does."""
    return failure(error).strip().rpartition("\n")[2]


@dataclass(frozen=True)
class Server:
    """A server under test: how it is started and what is known about it."""

    name: str
    command: tuple[str, ...]
    env: dict[str, str] = field(default_factory=dict)
    verify: bool = True
    churns: bool = True
    note: str = ""


@dataclass
class Running:
    """A started server and where it listens."""

    server: Server
    process: subprocess.Popen[bytes]
    port: int
    line: str

    @property
    def pid(self) -> int:
        """The process whose CPU and memory are counted."""
        return self.process.pid


@functools.cache
def native(name: str) -> str:
    """Compile bench/NAME.zig, if it is older than any source, and return the program's path.

    It is built for the architecture's baseline like the library, not for this very processor.
    """
    CACHE.mkdir(exist_ok=True)
    program = CACHE / name
    sources = [*BENCH.glob("*.zig"), *(ROOT / "zig").rglob("*.zig"), Path(__file__)]
    newest = max(source.stat().st_mtime_ns for source in sources)
    if program.exists() and program.stat().st_mtime_ns > newest:
        return str(program)
    modules = ["-O", "ReleaseFast", f"-Mroot={BENCH / name}.zig"]
    if name == "floor":  # the engine as the library has it, its assertions on
        engine = ["-O", "ReleaseSafe", f"-Mpyuring={ROOT / 'zig' / 'engine.zig'}"]
        modules = ["--dep", "pyuring", *modules, *engine]
    target = f"{platform.machine()}-linux"
    command = [sys.executable, "-m", "ziglang", "build-exe", "-fstrip"]
    command += ["-target", target, f"-femit-bin={program}", *modules]
    environment = {"ZIG_LOCAL_CACHE_DIR": str(CACHE / "zig"), **os.environ}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BenchError(f"cannot compile {name}.zig:\n{done.stderr.strip()}")
    program.touch()
    return str(program)


def peers_python(base: str = sys.executable, requirements: str = "requirements.txt") -> str:
    """Return the interpreter of an environment of `base` with those requirements installed."""
    wanted = (BENCH / requirements).read_text()
    python, ready = _environment(base, wanted)
    if not ready.exists():
        pip = [python, "-m", "pip", "install", "-q", "--only-binary", ":all:"]
        run([*pip, "-r", str(BENCH / requirements)])
        ready.touch()
    return python


def peers_one_by_one(base: str, requirements: str) -> str:
    """Like `peers_python`, but what cannot be installed is told and left out.

    Packages without a wheel are compiled: their compiler or headers may be missing here.
    """
    wanted = (BENCH / requirements).read_text()
    python, ready = _environment(base, wanted)
    if not ready.exists():
        for line in wanted.splitlines():
            if not line or line.startswith("#"):
                continue
            try:
                run([python, "-m", "pip", "install", "-q", line])
            except BenchError as error:
                print(f"cannot be installed: {error}", file=sys.stderr)
        ready.touch()
    return python


def _environment(base: str, wanted: str) -> tuple[str, Path]:
    """An environment of `base` for what is wanted: its interpreter, and the mark of a full one."""
    key = hashlib.sha256(f"{os.path.realpath(base)}\n{wanted}".encode()).hexdigest()[:12]
    home = CACHE / f"env-{key}"
    if not (home / "ready").exists():
        CACHE.mkdir(exist_ok=True)
        run([base, "-m", "venv", "--clear", str(home)])
    return str(home / "bin" / "python"), home / "ready"


def run(command: Sequence[str]) -> None:
    """Run a preparation step; raise BenchError with its output when it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BenchError(f"{' '.join(command)}:\n{(done.stdout + done.stderr).strip()}")


def pinned(core: int, nice: int = 0) -> Callable[[], None]:
    """What a child does before exec: take its core, its priority and all descriptors allowed."""

    def prepare() -> None:
        os.sched_setaffinity(0, {core})
        if nice:
            take_priority(nice)
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        files = MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_FILES)
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))

    return prepare


def take_priority(nice: int) -> None:
    """Run this process at that priority against everything else on the machine.

    With autogroups (sched(7)) a nice value only ranks a session's own processes: the session, a
    new one here, is ranked as well.
    """
    os.setsid()
    os.nice(nice)
    with contextlib.suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(nice))


@contextlib.contextmanager
def launched(
    server: Server, nice: int = 0, core: int = SERVER_CORE
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run the server on a core for the length of the block; its output is in that descriptor."""
    environment = {**os.environ, **server.env}
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            server.command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            preexec_fn=pinned(core, nice),
        )
        try:
            yield process, log.fileno()
        finally:
            _signal_all(process.pid, signal.SIGKILL)
            process.wait()


@contextlib.contextmanager
def serving(
    server: Server, nice: int = 0, timeout: float = 20.0, core: int = SERVER_CORE
) -> Iterator[Running]:
    """Run a server that says where it listens; kill it afterwards."""
    with launched(server, nice, core) as (process, log):
        line = _ready_line(server, process, log, timeout)
        match = re.search(r"listening on \S*:(\d+)", line)
        if match is None:
            raise BenchError(f"{server.name}: no port in {line!r}")
        yield Running(server, process, int(match[1]), line)


@contextlib.contextmanager
def listening(server: Server, port: int, nice: int = 0, timeout: float = 30.0) -> Iterator[Running]:
    """Run a server that was told its port; the block begins when it accepts connections there."""
    with launched(server, nice) as (process, log):
        deadline = time.monotonic() + timeout
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            if process.poll() is not None or time.monotonic() > deadline:
                said = os.pread(log, 65536, 0).decode(errors="replace").strip()[-2000:]
                raise BenchError(f"{server.name} did not start:\n{said}")
            time.sleep(0.05)
        yield Running(server, process, port, f"listening on 127.0.0.1:{port}")


def free_port() -> int:
    """A port that nobody listens on, below those that outgoing connections take of themselves."""
    for port in random.sample(_PORTS, 100):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise BenchError("no free port")


def _ready_line(server: Server, process: subprocess.Popen[bytes], log: int, timeout: float) -> str:
    """The line with `listening on`, read from the server's output without moving its offset."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        text = os.pread(log, 65536, 0).decode(errors="replace")
        for line in text.splitlines(keepends=True):
            if "listening on" in line and line.endswith("\n"):
                return line.strip()
        if process.poll() is not None:
            raise BenchError(f"{server.name} ended with {process.returncode}:\n{text.strip()}")
        time.sleep(0.02)
    raise BenchError(f"{server.name} did not listen within {timeout:g} s:\n{text.strip()}")


def cpu_ns(pid: int) -> int:
    """The CPU time of a process with all its threads, ended ones included, in ns."""
    return time.clock_gettime_ns((~pid << 3) | _CPUCLOCK_SCHED)


def processes(pid: int) -> list[int]:
    """The process and all that descend from it, parents first."""
    found = [pid]
    for one in found:
        with contextlib.suppress(OSError):  # one that ends meanwhile has no more
            for task in Path(f"/proc/{one}/task").glob("*/children"):
                found += map(int, task.read_text().split())
    return found


def tree_cpu_ns(pid: int) -> int:
    """The CPU time of a server with its worker processes, in ns."""
    return sum(cpu_ns(one) for one in processes(pid))


@contextlib.contextmanager
def awake(pid: int) -> Iterator[None]:
    """Let a server that `put_to_sleep` has stopped run for the length of the block."""
    _signal_all(pid, signal.SIGCONT)
    try:
        yield
    finally:
        put_to_sleep(pid)


def put_to_sleep(pid: int) -> None:
    """Stop a server with its worker processes, so that its timers and polling cost nobody."""
    _signal_all(pid, signal.SIGSTOP)


def _signal_all(pid: int, number: signal.Signals) -> None:
    # Parents first, so that none sees a child stop or end, and starts another.
    for one in processes(pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(one, number)


def tree_resident_bytes(pid: int) -> int:
    """The resident memory of a server with its worker processes; what is shared counts for each."""
    return sum(resident_bytes(one) for one in processes(pid))


def resident_bytes(pid: int) -> int:
    """The resident memory of a process, counted page by page (smaps_rollup: exact, not batched)."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Rss:"):
            return int(line.split()[1]) * 1024
    raise BenchError(f"no Rss for process {pid}")


def open_files(pid: int) -> int:
    """How many descriptors a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def version_of(python: str) -> str:
    """The version of an interpreter, which need not be the one that asks."""
    code = "import platform; print(platform.python_version())"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def default_nice() -> int:
    """The priority that keeps other programs out of the measurement, where we may take it."""
    return -15 if os.geteuid() == 0 else 0


def exit_with(main: Callable[[], int]) -> None:
    """End the program with what `main` returns; with one message when it cannot run here.

    Told to end (SIGTERM) it ends its servers first, as with Ctrl-C: some would be left stopped.
    """
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        sys.exit(main())
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        sys.exit(CANNOT)
