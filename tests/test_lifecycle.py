"""The interpreter around the engine: forks and spawns, threads, subinterpreters, and its end.

What a running engine's end looks like from inside is test_engine_process.py's and
test_attack_engine.py's; signals at any moment are test_lifecycle_signals.py's.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

Run = Callable[..., Any]

BEGIN = """
import gc, os, signal, sys, threading, time, warnings
sys.path.insert(0, "tests")
from peers import Echo, connect, echoes, read_exactly, refused, until
from pyuring import Engine, Http, Ring, RingError, EngineClosedError, ForkedError
options = {"linger_timeout": 0.1, "drain_quiet": 0.0}
def engine_on(factory=Echo, **more):
    return Engine(factory, "127.0.0.1:0", **options, **more)
"""


def well(done: Any, words: str, code: int = 0) -> None:
    """Assert what a child said and how it ended, and that nothing died on the way."""
    assert done.stdout.split("\n")[:-1] == words.split("\n"), done.stdout + done.stderr
    assert done.returncode == code, done.stderr
    for bad in ("Fatal", "panic", "Segmentation", "Exception ignored"):
        assert bad not in done.stderr, done.stderr


# --- processes --------------------------------------------------------------------------------

PROCESSES = """
import multiprocessing, sys
def serve_one(queue):
    from pyuring import Engine, Ring
    from peers import Echo, echoes
    with Engine(Echo, "127.0.0.1:0", workers=2, linger_timeout=0.1) as own:
        queue.put(echoes(own.address))
    with Ring(8) as ring:
        ring.get_sqe().prep_nop()
        queue.put(ring.submit_and_wait(1) == 1)
def main():
    import warnings
    warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: fork beside threads
    from pyuring import Engine
    from peers import Echo, echoes
    context = multiprocessing.get_context(sys.argv[1])
    with Engine(Echo, "127.0.0.1:0", workers=2, linger_timeout=0.1) as engine:
        queue = context.Queue()
        children = [context.Process(target=serve_one, args=(queue,)) for _ in range(2)]
        for child in children:
            child.start()
        answers = [queue.get(timeout=30) for _ in range(4)]
        for child in children:
            child.join(30)
        print(answers, [child.exitcode for child in children], echoes(engine.address))
if __name__ == "__main__":
    main()
"""


@pytest.mark.parametrize("how", ["fork", "spawn", "forkserver"])
def test_f20_multiprocessing_beside_a_running_engine(
    run_python: Run, tmp_path: Any, how: str
) -> None:
    program = tmp_path / "program.py"  # a spawned child imports the main module by its path
    program.write_text(f"import sys\nsys.path.insert(0, 'tests')\n{PROCESSES}")
    command = [sys.executable, str(program), how]
    code = f"import subprocess, sys; sys.exit(subprocess.call({command!r}))"
    well(run_python(code), "[True, True, True, True] [0, 0] True")


def test_f20_a_fork_in_the_midst_of_traffic(run_python: Run) -> None:
    well(run_python(BEGIN + """
warnings.simplefilter("ignore", DeprecationWarning)
with engine_on(workers=2) as engine:
    stop = threading.Event()
    def talk():
        while not stop.is_set():
            assert echoes(engine.address)
    talkers = [threading.Thread(target=talk) for _ in range(2)]
    for talker in talkers:
        talker.start()
    codes = set()
    for number in range(20):
        child = os.fork()
        if child == 0:
            try:
                engine.metrics()
            except ForkedError:
                os._exit(0 if number % 2 else 3)
            os._exit(1)
        codes.add(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    stop.set()
    for talker in talkers:
        talker.join()
print(sorted(codes), engine.metrics().errors_handler)
"""), "[0, 3] 0")  # fmt: skip


def test_f20_a_child_of_a_fork_that_ends_as_programs_do(run_python: Run) -> None:
    well(run_python(BEGIN + """
warnings.simplefilter("ignore", DeprecationWarning)
engine, ring = engine_on().start(), Ring(8)
child = os.fork()
if child == 0:
    sys.exit(7)  # by way of atexit and every finaliser
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), echoes(engine.address))
engine.shutdown()
ring.close()
"""), "7 True")  # fmt: skip


FORKING = (
    BEGIN
    + """
where = sys.argv[1]
children = []
def fork(here):
    if here == where and not children:
        children.append(os.fork())
class Forked(bytes):
    def __del__(self):
        fork("a sent object's end")
class Forker(Echo):
    def __init__(self):
        fork("the factory")
    def connection_made(self, transport):
        super().connection_made(transport)
        worker = transport.worker
        worker.call_soon(fork, "call_soon")
        worker.call_later(0, fork, "call_later")
        if where == "connect's failure":
            worker.connect(Echo, "unix:/nobody/there", failed=lambda _: fork(where))
    def data_received(self, data):
        if where == "the hook" and not children:
            raise ValueError("once")
        self.transport.write(Forked(data))
warnings.simplefilter("ignore", DeprecationWarning)
with engine_on(Forker, exception_hook=lambda *_: fork("the hook")) as engine:
    if where == "call_soon_threadsafe":
        engine.workers[0].call_soon_threadsafe(fork, where)
    echoes(engine.address)
    until(lambda: children)
    print(all([echoes(engine.address) for _ in range(20)]), os.waitpid(children[0], 0)[1] >> 8)
"""
)


@pytest.mark.parametrize(
    "where",
    ["the factory", "call_soon", "call_later", "call_soon_threadsafe", "connect's failure",
     "the hook", "a sent object's end"],
)  # fmt: skip
def test_f20_a_child_never_goes_on_with_its_parents_loop(run_python: Run, where: str) -> None:
    done = run_python(FORKING, where)
    well(done, "True 70")
    assert "end it by os._exit() (F20)" in done.stderr


def test_f20_a_child_that_a_handler_forked_cannot_use_its_worker(run_python: Run) -> None:
    well(run_python(BEGIN + """
class Forker(Echo):
    def data_received(self, data):
        child = os.fork()
        if child == 0:
            os._exit(in_child(self.transport.worker))
        super().data_received(b"%d" % (os.waitpid(child, 0)[1]))
def in_child(worker):
    uses = [(worker.call_soon, print), (worker.call_later, 1.0, print), (worker.drain, 0.0, None),
            (worker.connect, Echo, "127.0.0.1:1"), (worker.abort,), (worker.resume_accepting,),
            (worker.stop_accepting, print), (worker.call_soon_threadsafe, print)]
    for number, (use, *arguments) in enumerate(uses, 1):
        try:
            use(*arguments)
            return number
        except EngineClosedError:
            pass
    return 0
warnings.simplefilter("ignore", DeprecationWarning)
with engine_on(Forker) as engine, connect(engine.address) as peer:
    peer.sendall(b"x")
    print(peer.recv(10))
"""), "b'0'")  # fmt: skip


# --- threads ----------------------------------------------------------------------------------


def test_engines_come_and_go_in_threads(run_python: Run) -> None:
    well(run_python(BEGIN + """
ended = []
def life(number):
    for _ in range(3):
        with engine_on() as engine:
            assert echoes(engine.address)
    ended.append(number)
threads = [threading.Thread(target=life, args=(n,), daemon=n % 2 == 0) for n in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(sorted(ended))
"""), "[0, 1, 2, 3]")  # fmt: skip


@pytest.mark.parametrize("daemon", [True, False])
@pytest.mark.parametrize("how", ["end", "exit", "error", "_exit"])
def test_f50_the_interpreter_ends_while_a_thread_listens(
    run_python: Run, how: str, daemon: bool
) -> None:
    done = run_python(
        BEGIN + """
import atexit
engine = engine_on(workers=2)
thread = threading.Thread(target=engine.listen, daemon=sys.argv[2] == "True")
thread.start()
until(lambda: engine.running)
if not thread.daemon:  # the interpreter waits for it before anything else
    threading.Timer(0.2, engine.shutdown).start()
peer = connect(engine.address)
peer.sendall(bytes(100_000))
print("up", flush=True)
if sys.argv[1] == "exit":
    sys.exit(3)
if sys.argv[1] == "error":
    raise RuntimeError("as asked")
if sys.argv[1] == "_exit":
    os._exit(4)
""",
        how, str(daemon), timeout=30,
    )  # fmt: skip
    well(done, "up", {"end": 0, "exit": 3, "error": 1, "_exit": 4}[how])


def test_f50_atexit_functions_may_use_the_engine(run_python: Run) -> None:
    well(run_python(BEGIN + """
import atexit
def late(what):
    try:
        print(what, engine.running, echoes(engine.address) if engine.running else engine.shutdown())
        with engine_on() as other:
            print(echoes(other.address))
    except RuntimeError as error:  # 3.12: no new thread at the end of the interpreter
        print("thread" in str(error))
atexit.register(late, "after")
engine = engine_on().start()
atexit.register(late, "before")
"""), "before True True\nTrue\nafter False True\nTrue")  # fmt: skip


def test_f50_daemon_threads_in_a_ring_at_the_interpreters_end(run_python: Run) -> None:
    well(run_python(BEGIN + """
waiting = []
def wait():
    ring = Ring(8)
    reader, writer = os.pipe()
    for _ in range(3):
        ring.get_sqe().prep_read(reader, bytearray(8))
    waiting.append(ring)
    ring.submit_and_wait(3)
for _ in range(4):
    threading.Thread(target=wait, daemon=True).start()
until(lambda: len(waiting) == 4)
print("end")
"""), "end")  # fmt: skip


# --- garbage ----------------------------------------------------------------------------------


def test_f50_garbage_of_every_age_is_collected(run_python: Run) -> None:
    well(run_python(BEGIN + """
warnings.simplefilter("ignore", ResourceWarning)
class Cycle:
    pass
for number in range(50):
    cycle = Cycle()
    cycle.own = cycle
    cycle.engine = engine_on()              # never started
    cycle.ring = Ring(8)                    # never closed
    cycle.memory = bytearray(64)
    reader, writer = os.pipe()
    cycle.ring.get_sqe().prep_read(reader, cycle.memory)
    if number % 2:
        cycle.ring.submit()
    cycle.sqe = cycle.ring.get_sqe()
    del cycle
    os.close(reader)
    os.close(writer)
gc.collect()
fds = len(os.listdir("/proc/self/fd"))
engine = engine_on().start()
address = engine.address
del engine  # its threads keep it
gc.collect()
print(fds < 12, echoes(address))
gc.get_referrers(Ring)
from pyuring import running
running._engines[0].shutdown()
print(refused(address))
"""), "True True\nTrue")  # fmt: skip


@pytest.mark.parametrize("options", [["-X", "dev"], ["-W", "error"], ["-O"], ["-I"]])
def test_an_engine_lives_in_every_mode_of_the_interpreter(
    run_python: Run, options: list[str]
) -> None:
    code = (
        "import sys, os; sys.path.insert(0, os.getcwd())\n"
        + BEGIN
        + """
import faulthandler
faulthandler.enable()
application = Http(lambda request: request.path)
with engine_on(application, workers=2) as engine, connect(engine.address) as peer:
    peer.sendall(b"GET /a HTTP/1.1\\r\\nHost: h\\r\\nConnection: close\\r\\n\\r\\n")
    print(read_exactly(peer, 9999)[-2:].decode())
with engine_on() as engine:
    print(echoes(engine.address))
"""
    )
    command = [sys.executable, *options, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    well(done, "/a\nTrue")
    assert done.stderr == ""


# --- subinterpreters --------------------------------------------------------------------------

SUBINTERPRETER = """
import sys
sys.path.insert(0, "tests")
sys.path.insert(0, ".")
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
def make():
    if sys.version_info >= (3, 13):
        return interpreters.create(sys.argv[1])
    return interpreters.create(isolated=sys.argv[1] == "isolated")
code = '''
import sys
sys.path[:] = %r
for _ in range(2):
    try:
        from pyuring import Ring
        print("imported")
    except ImportError as error:
        print("interpreter" in str(error))
''' % (sys.path,)
from pyuring import Ring
ring = Ring(8)
for _ in range(2):
    interpreter = make()
    interpreters.run_string(interpreter, code)
    sys.stdout.flush()
    interpreters.destroy(interpreter)
with ring:
    ring.get_sqe().prep_nop()
    print(ring.submit_and_wait(1))
"""


@pytest.mark.parametrize("kind", ["legacy", "isolated"])
def test_a_subinterpreter_is_refused_and_the_main_one_lives_on(run_python: Run, kind: str) -> None:
    well(run_python(SUBINTERPRETER, kind), "True\nTrue\nTrue\nTrue\n1")
