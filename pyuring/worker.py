"""One worker: one thread, one native worker with its ring, and the calls that wait for them.

Owns the thread, the loop around `pyuring_worker_turn`, timers and messages from other threads,
and the order in which a worker stops accepting and ends. Never touches a byte of a connection:
native code calls the protocols from within the turn.

Some facts about ending: a thread that ends with operations in flight never sees their
completions (F58), and memory lent to them may be freed too early. So whatever ends the loop, an
exception included, `_finish` runs: the native worker cancels what is left and waits for it.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from pyuring import _native
from pyuring.accepting import Accepting
from pyuring.connector import Connector
from pyuring.errors import EngineClosedError, WrongThreadError, no_thread
from pyuring.reports import end_forked_child, report
from pyuring.timers import Handle, TimerHandle, TimerQueue
from pyuring.transport import Transport

if TYPE_CHECKING:
    from pyuring.addresses import AddressLike
    from pyuring.config import ExceptionHook
    from pyuring.listeners import Listener

__all__ = ["Worker", "current_worker"]

_WOKEN, _DRAINED, _ACCEPT_STOPPED = 1, 2, 4  # what pyuring_worker_turn answers

_LONGEST_TURN = 3600.0

_here = threading.local()


def current_worker() -> Worker | None:
    """Return the worker whose thread this is, or None; in a handler it is the connection's."""
    return getattr(_here, "worker", None)


def _nothing(*_: object) -> None:
    """Stand in for what nobody gave, or a worker has let go of."""


class Worker:
    """One thread with its own ring. Made by Engine; handlers find it as `transport.worker`.

    `call_soon_threadsafe`, `connect` and `metrics` are for any thread, the rest for the worker's.
    """

    def __init__(
        self,
        index: int,
        settings: dict[str, int],
        protocol_factory: Callable[[], Any],
        *,
        listeners: Sequence[Listener] = (),
        hook: ExceptionHook | None = None,
        grace: float = 0.1,
        connect_timeout: float | None = None,
        started: Callable[[Worker], None] = _nothing,
        ended: Callable[[Worker], None] = _nothing,
    ) -> None:
        self.index = index
        self.failure: BaseException | None = None
        if any(listener.sharers > 1 for listener in listeners):
            # A multishot accept is woken first for ever: who shares takes turns (decision 0008).
            settings = {**settings, "multishot_accept": 0}
        self.settings = settings
        self.ring_refused = False
        self.aborted = False
        self.achieved_flags = 0
        self.connect_timeout = connect_timeout
        self._factory = protocol_factory
        self._listeners = listeners
        self._hook = hook or report
        self._gateway: Any = None  # what an HTTP application has for this worker
        self._on_start = started
        self._on_end = ended
        self._handle = 0
        # Held while another thread uses the handle. Reentrant: a signal handler or a __del__ may
        # run in between, and write to a connection or ask for metrics.
        self._lock = threading.RLock()
        self._alive = False
        self._ready: deque[Handle] = deque()
        self._timers = TimerQueue()
        self.lookups: set[Connector] = set()  # connects whose name is being looked up
        self._ending = False
        self._in_turn = False
        self._accepting = Accepting(self, listeners, grace)
        self._last_metrics: dict[str, Any] = {}
        self._started = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name=f"pyuring-worker-{index}", daemon=True
        )

    def __repr__(self) -> str:
        """Return the number and whether the thread runs."""
        return f"<Worker {self.index} {'running' if self._alive else 'ended'}>"

    # --- for handlers ---------------------------------------------------------------------

    def time(self) -> float:
        """Return the worker's clock: monotonic seconds."""
        return time.monotonic()

    def call_soon(self, callback: Callable[..., object], *args: Any) -> Handle:
        """Call `callback(*args)` after this turn's handlers, in the order of the calls."""
        self._check_thread("call_soon")
        handle = Handle(callback, args)
        self._ready.append(handle)
        if self._in_turn:
            _native.pylib.pyuring_worker_stay_awake(self._handle)
        return handle

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> TimerHandle:
        """Call `callback(*args)` after `delay` seconds."""
        return self.call_at(time.monotonic() + delay, callback, *args)

    def call_at(self, when: float, callback: Callable[..., object], *args: Any) -> TimerHandle:
        """Call `callback(*args)` at `when` on the worker's clock."""
        self._check_thread("call_later and call_at")
        if self._in_turn:  # its timeout was reckoned without this timer
            _native.pylib.pyuring_worker_stay_awake(self._handle)
        return self._timers.add(when, callback, args)

    def call_soon_threadsafe(self, callback: Callable[..., object], *args: Any) -> Handle:
        """Call `callback(*args)` on the worker's thread soon; from any thread, in order.

        Raises EngineClosedError once the worker has ended.
        """
        handle = Handle(callback, args)
        with self._lock:
            self._post(handle)
            _native.pylib.pyuring_worker_wake(self._handle)
        return handle

    def _post(self, handle: Handle) -> None:
        """Queue a call, for who wakes the worker by another way."""
        with self._lock:
            if not self._alive:
                raise EngineClosedError(f"worker {self.index} has ended")
            self._ready.append(handle)

    def connect(
        self,
        protocol_factory: Callable[[], Any],
        address: AddressLike,
        *,
        failed: Callable[[OSError], object] | None = None,
        timeout: float | None = None,
    ) -> None:
        """Open a connection; on success `protocol_factory()` gets `connection_made`.

        Addresses are written as for Engine; names are looked up without blocking the loop, and
        their addresses tried one after the other. On failure `failed(error)` is called, once;
        without it the exception hook is. `timeout` is in seconds, for everything together;
        None is the configuration's connect_timeout.
        """
        if failed is None:
            failed = partial(self.exception, where="connect")
        Connector(self, protocol_factory, address, failed, timeout).start()

    def metrics(self) -> dict[str, Any]:
        """Return this worker's counters by name; any thread, also after the end."""
        with self._lock:
            if self._alive:
                self._last_metrics = _native.read_metrics(self._handle)
            return self._last_metrics

    def exception(self, exc: BaseException, where: str, whose: Any = None) -> None:
        """Tell the exception hook that application code raised; never raises itself."""
        try:
            self._hook(exc, where, whose)
        except BaseException as second:
            report(exc, where, whose)
            report(second, "exception_hook", whose)

    @property
    def handle(self) -> int:
        """The native worker, for `_native`'s functions; 0 before its thread has made it."""
        return self._handle

    # --- for the engine -------------------------------------------------------------------

    def start(self) -> None:
        """Start the thread and wait until it accepts; raises what kept it from doing so."""
        try:
            self._thread.start()
        except RuntimeError as error:
            if "shutdown" in str(error):  # 3.12: the interpreter ends, no limit was met
                raise
            raise no_thread() from error
        self._started.wait()
        if self.failure is not None:
            self._thread.join()
            raise self.failure

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the thread's end, unless it is the caller's; return whether it has come."""
        if self._thread is threading.current_thread():
            return False
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def is_current(self) -> bool:
        """Return whether this is the worker's thread."""
        return current_worker() is self

    def stop_accepting(self, stopped: Callable[[Worker], None]) -> None:
        """Begin to stop accepting; `stopped(self)` is called when nobody waits in a queue.

        The caller closes the listeners then. On the worker's thread, as all that follow.
        """
        self._check_thread("stop_accepting")
        self._accepting.stop()
        self._accepting.when_off(lambda: stopped(self))

    def resume_accepting(self) -> None:
        """Accept again from the same listeners."""
        self._check_thread("resume_accepting")
        if not self._ending:
            self._accepting.resume()

    def drain(self, quiet: float, deadline: float | None) -> None:
        """Close each connection once it is quiet for `quiet` seconds, then end the thread.

        Connections are still accepted until `stop_accepting` is through, if that is under way.
        At `deadline`, on the worker's clock, the rest is aborted.
        """
        self._check_thread("drain")
        self._ending = True
        if deadline is not None:
            self.call_at(deadline, self.abort)
        for lookup in list(self.lookups):
            lookup.give_up()
        begin = partial(_native.pylib.pyuring_worker_drain, self._handle, round(quiet * 1e9))
        if self._accepting.is_settled:
            begin()
        else:
            self._accepting.when_off(begin)

    def connect_socket(
        self,
        factory: Callable[[], Any],
        failed: Callable[[OSError], object],
        fd: int,
        sockaddr: bytes,
        timeout_ns: int,
    ) -> int:
        """Let the ring connect a fresh socket, and own it unless the answer is a -errno."""
        self._check_thread("connect_socket")
        connect = _native.pylib.pyuring_worker_connect
        return int(connect(self._handle, factory, failed, fd, sockaddr, timeout_ns))

    def abort(self) -> None:
        """Abort every connection, and end the thread."""
        self._check_thread("abort")
        self._ending = self.aborted = True
        _native.pylib.pyuring_worker_drain(self._handle, 0)
        _native.pylib.pyuring_worker_abort_all(self._handle)

    def _after_fork_in_child(self) -> None:
        """Forget the native worker: its pages and its thread are the parent's (F20)."""
        self._lock = threading.RLock()
        self._alive = False
        self._handle = 0
        _here.worker = None  # a handler may have forked: what it calls now must not use the handle

    # --- the thread -----------------------------------------------------------------------

    def _check_thread(self, what: str) -> None:
        """Refuse what only the worker's thread may do: elsewhere nothing would wake it (F9)."""
        if getattr(_here, "worker", None) is not self:
            if not self._alive:
                raise EngineClosedError(f"worker {self.index} has ended")
            raise WrongThreadError(
                f"{what}: only on the worker's own thread; elsewhere, by call_soon_threadsafe"
            )

    def _run(self) -> None:
        _here.worker = self
        try:
            self._create()
        except BaseException as error:
            self.failure = error
            self._finish()
            self._started.set()
            return
        self._on_start(self)
        self._started.set()
        try:
            self._loop()
        except BaseException as error:
            self.failure = error
        finally:
            self._finish()
            ended = self._on_end
            self._let_go()
            ended(self)

    def _create(self) -> None:
        config = _native.WorkerConfig(**self.settings)
        self.ring_refused = True
        self._handle = _native.pylib.pyuring_worker_create(config, Transport, self)
        self.ring_refused = False
        self._alive = True
        flags = _native._u32()
        _native.pylib.pyuring_worker_achieved(self._handle, flags)
        self.achieved_flags = flags.value
        # An application that is more than a factory has something of its own for each worker.
        for_worker = getattr(self._factory, "for_worker", None)
        if for_worker is not None:
            self._factory = self._gateway = for_worker(self)
            self._gateway.attach()
        for listener in self._listeners:
            result = _native.pylib.pyuring_worker_listen(self._handle, listener.fd, self._factory)
            _native.check(result, f"accept from {listener}")

    def _loop(self) -> None:
        turn, handle = _native.pylib.pyuring_worker_turn, self._handle
        while True:
            if self._ready:
                self._run_ready()
            timeout_ns = self._timeout_ns()
            self._in_turn = True
            flags = turn(handle, timeout_ns)
            self._in_turn = False
            if len(self._timers):
                # Behind the calls that wait: those were asked for before these were due.
                self._ready.extend(self._timers.pop_due(time.monotonic()))
            if flags & _ACCEPT_STOPPED and self._accepting.state == "cancelling":
                self._accepting.cancelled()
            if flags & _DRAINED and self._may_end():
                return

    def _may_end(self) -> bool:
        """Return whether the end was asked for and nobody in a queue is to be served (F59)."""
        wanted = self._ending and not self._ready
        return wanted and (self.aborted or self._accepting.is_settled)

    def _timeout_ns(self) -> int:
        """Return how long the next turn may sleep (F7): 0 when calls wait, -1 when nothing does."""
        if self._ready:
            return 0
        if self._accepting.state == "cancelling":
            return 1_000_000  # the answer takes several turns, the last without a completion
        due = self._timers.next_due()
        if due is None:
            return -1
        left = min(due - time.monotonic(), _LONGEST_TURN)  # an infinite time has no nanoseconds
        return max(0, round(left * 1e9))

    def _run_ready(self) -> None:
        """Run the calls that wait now; what they add waits for the next turn."""
        for _ in range(len(self._ready)):
            self._call(self._ready.popleft())

    def _call(self, handle: Handle) -> None:
        try:
            handle.run()
        except Exception as error:  # KeyboardInterrupt and SystemExit end the worker
            self.exception(error, "call_later" if isinstance(handle, TimerHandle) else "call_soon")
        if not self._alive:
            end_forked_child()

    def _finish(self) -> None:
        """Give the native worker back; it drains by force when the loop has not (F58)."""
        for lookup in list(self.lookups):
            lookup.give_up()
        self._in_turn = False
        with self._lock:
            if self._alive:
                self._last_metrics = _native.read_metrics(self._handle)
            self._alive = False
        if self._handle:
            _native.pylib.pyuring_worker_destroy(self._handle)
            self._handle = 0
        self._ready.clear()
        _here.worker = None

    def _let_go(self) -> None:
        """Drop what is the application's: the garbage collector cannot see it from a transport."""
        if self._gateway is not None:
            self._gateway.close()
            self._gateway = None
        self._factory = self._on_end = self._on_start = _nothing
        self._hook = report
        self._accepting.let_go()
        self._listeners, self._timers = (), TimerQueue()
