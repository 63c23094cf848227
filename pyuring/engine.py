"""The engine: listeners and workers under one roof, from the first bind to the last close.

Owns the order of things: bind, choose a tier, start the workers, stop accepting, drain, give the
listeners back. Never runs application code itself: workers do, each on its own thread.

Some facts about ending. Workers end by themselves once they have drained; the last one gives the
listeners back and wakes whoever waits. So `shutdown` may be called from anywhere, a handler
included: it only begins the end, and waits for it where waiting cannot deadlock.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pyuring import addresses, listeners, running
from pyuring.config import EngineConfig, check_seconds
from pyuring.errors import EngineClosedError, ForkedError
from pyuring.gate import Gate
from pyuring.latch import Latch
from pyuring.metrics import EngineMetrics
from pyuring.reports import report
from pyuring.startup import start_first, start_next
from pyuring.worker import Worker, current_worker

if TYPE_CHECKING:
    from types import TracebackType

    from pyuring.addresses import Address, AddressLike
    from pyuring.capability import Tier
    from pyuring.ladder import Ladder
    from pyuring.listeners import Listener

__all__ = ["Engine"]

_SHUTDOWN_SECONDS = 30.0
_BACKSTOP_SECONDS = 6.0  # after an abort: the native backstop is 5 s (F38)


class Engine:
    """Serves a protocol on an address, with one thread and one ring for each worker.

    `protocol_factory` is called without arguments for every connection. `address` is
    "host:port", "[v6]:port", "unix:/path", ("host", port), "fd:3" or a bound socket, or a list
    of these. Configuration: an EngineConfig, or its fields as keyword arguments, or both.
    """

    def __init__(
        self,
        protocol_factory: Callable[[], Any],
        address: AddressLike | list[AddressLike],
        config: EngineConfig | None = None,
        **overrides: Any,
    ) -> None:
        if not callable(protocol_factory):
            raise TypeError(f"not a protocol factory: {protocol_factory!r} cannot be called")
        if config is not None and not isinstance(config, EngineConfig):
            raise TypeError(f"config: must be an EngineConfig, not {type(config).__name__}")
        config = config or EngineConfig()
        self.config = dataclasses.replace(config, **overrides) if overrides else config
        self._factory = protocol_factory
        several: list[AddressLike] = address if isinstance(address, list) else [address]
        self._wanted: list[Address] = [addresses.parse(each) for each in several]
        if not 1 <= len(self._wanted) <= 8:
            raise ValueError("an engine listens on one to eight addresses")
        self._state = "new"  # new -> starting -> running -> stopping -> closed
        self._lock = threading.RLock()
        self._forked = False
        self._workers: list[Worker] = []
        self._groups: list[list[Listener]] = []
        self._end_calls: list[Callable[[], object]] = []
        self._starter: int | None = None  # the thread in start()
        self._asked: list[float | None] = []  # timeouts of shutdowns during the start
        self._alive = 0
        self._unwaited = False  # started, and nobody has called listen() since
        self._done = Latch()
        self._gate = Gate(self._lock, self._each_listener, self._tell_all)
        self._ladder: Ladder | None = None
        self._failure: BaseException | None = None

    def __repr__(self) -> str:
        """Return the state and the address."""
        where = ", ".join(self.addresses or [str(each) for each in self._wanted])
        return f"<Engine {self._state} {where}>"

    # --- life -----------------------------------------------------------------------------

    def start(self) -> Engine:
        """Bind and start the workers; returns once they accept. Starting again is nothing.

        Where io_uring is refused it runs on epoll (Tier.NONE) and logs one warning with the
        reason. Raises OSError naming a busy address, EngineClosedError after shutdown.
        """
        self._check_process()
        with self._lock:
            if self._state == "running":
                return self
            self._check_state("new")
            self._state = "starting"
            self._starter = threading.get_ident()
        try:
            self._open()
            self._started()
        except BaseException:
            self._abandon()
            raise
        return self

    def listen(self) -> None:
        """Start if need be, then block until the engine is shut down.

        KeyboardInterrupt, or what else a signal handler raises, shuts the engine down in order
        and is raised again (F48). An engine that a worker's failure ended raises that failure.
        After `start` it may be called once even though the engine has ended meanwhile.
        """
        self._check_process()
        try:
            if not self._unwaited:
                self.start()
            self._unwaited = False
            self._done.wait()
        except BaseException:
            self.shutdown()
            raise
        if self._failure is not None:
            raise self._failure

    def shutdown(self, timeout: float | None = _SHUTDOWN_SECONDS) -> bool:
        """Stop accepting, let connections finish, end the workers; again is nothing.

        A connection is closed once it is quiet for `drain_quiet`; after `timeout` seconds the
        rest is aborted (None waits for ever, 0 aborts at once). Returns whether all closed in
        time. From a worker's own thread it begins the end and returns False at once.
        """
        self._check_process()
        if timeout is not None:
            check_seconds("timeout", timeout)
        with self._lock:
            if self._state == "new":
                self._state = "closed"
                self._done.set()
            if self._state == "running":
                self._begin_end(timeout)
            if self._state == "starting":
                self._asked.append(timeout)
                if self._starter == threading.get_ident():  # a signal's handler
                    return False
        if current_worker() in self._workers:
            return False
        try:
            limit = None if timeout is None else timeout + _BACKSTOP_SECONDS
            ended = self._done.wait(limit)
        except BaseException:  # Ctrl-C a second time: no more patience
            self._tell_all(Worker.abort)
            self._done.wait(_BACKSTOP_SECONDS)
            raise
        for worker in self._workers:
            ended = worker.join(1.0) and ended
        return ended and not any(worker.aborted for worker in self._workers)

    def close(self) -> None:
        """Shut down; `with` does it at its end."""
        self.shutdown()

    def __enter__(self) -> Engine:
        """Start, and shut down at the end of the block."""
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Shut down whatever happened."""
        self.shutdown()

    # --- accepting ------------------------------------------------------------------------

    def pause_accept(self) -> None:
        """Stop listening, losing nobody; open connections go on. Pausing again is nothing.

        Whoever has connected by now is served (F24, F59), later ones are refused. Blocks until
        that is so (about `drain_quiet` seconds), except on a worker's own thread. Sockets that
        the engine was given ("fd:3", a socket object) stay open: connections wait in them.
        """
        with self._lock:
            self._check_running()
            if not self._gate.wanted_open:
                return
            stopped = self._gate.stop(self._workers)
        if current_worker() not in self._workers:
            stopped.wait(_SHUTDOWN_SECONDS)

    def resume_accept(self) -> None:
        """Listen again on the same addresses; raises OSError when one is taken meanwhile.

        While a pause still is under way it is carried through first; if an address is taken
        then, the exception hook is told, and the engine stays paused.
        """
        with self._lock:
            self._check_running()
            if not self._gate.wanted_open:
                self._gate.open()

    # --- what is ---------------------------------------------------------------------------

    @property
    def address(self) -> str:
        """The first address, as text, with the real port; it stays after the end."""
        return self.addresses[0] if self.addresses else str(self._wanted[0])

    @property
    def addresses(self) -> list[str]:
        """Every address that is listened on, a name's several ones included."""
        return [str(listener) for listener in self._groups[0]] if self._groups else []

    @property
    def type(self) -> str:
        """What carries out the operations: "io_uring", or "epoll" at tier NONE."""
        return "epoll" if self._ladder and not self._ladder.achieved else "io_uring"

    @property
    def tier(self) -> Tier:
        """The tier achieved; Tier.NONE before the start. `ladder` says why it is not higher."""
        from pyuring.capability import Tier

        return Tier.NONE if self._ladder is None else self._ladder.achieved

    @property
    def ladder(self) -> Ladder | None:
        """The tier asked, the tier achieved and the reason of each step down; None before."""
        return self._ladder

    @property
    def running(self) -> bool:
        """Whether it has started and is not shut down."""
        return self._state == "running"

    @property
    def workers(self) -> list[Worker]:
        """The workers; for what may be called from other threads, see Worker."""
        return list(self._workers)

    def metrics(self) -> EngineMetrics:
        """Return the counters of all workers, added up; any thread, also after the end."""
        self._check_process()
        return EngineMetrics.total(worker.metrics() for worker in self._workers)

    @property
    def failure(self) -> BaseException | None:
        """What ended a worker against its will, or None."""
        return self._failure

    def on_end(self, callback: Callable[[], object]) -> None:
        """Call `callback()` once the engine has ended, on the last worker's thread, or now."""
        with self._lock:
            if self._state != "closed":
                self._end_calls.append(callback)
                return
        callback()

    # --- inside ----------------------------------------------------------------------------

    def _open(self) -> None:
        """Bind, then start the first worker on the best tier and the others on the same."""
        config = self.config
        for address in self._wanted:
            groups = listeners.open_listeners(
                address,
                workers=config.workers,
                backlog=config.backlog,
                reuse_port=config.reuse_port,
            )
            before = self._groups or [[] for _ in groups]
            self._groups = [old + new for old, new in zip(before, groups, strict=True)]
        first, self._ladder = start_first(config, self._new_worker)
        for index in range(1, config.workers):
            start_next(config, first, index, self._new_worker)

    def _new_worker(self, index: int, settings: dict[str, int]) -> Worker:
        """Make a worker that belongs to this engine; it is not started."""
        return Worker(
            index,
            settings,
            self._factory,
            listeners=self._groups[index],
            hook=self.config.exception_hook,
            grace=self.config.drain_quiet,
            connect_timeout=self.config.connect_timeout,
            started=self._worker_started,
            ended=self._worker_ended,
        )

    def _started(self) -> None:
        """Run; or end at once, when that was asked for or a worker died during the start."""
        with self._lock:
            self._state = "running"
            self._unwaited = True
            running.add(self)
            if self._asked:
                self._begin_end(self._asked[0])
            elif self._alive < len(self._workers):
                self._begin_end(_SHUTDOWN_SECONDS)

    def _begin_end(self, timeout: float | None) -> None:
        """Let every worker stop accepting, then drain; with the lock held."""
        self._state = "stopping"
        deadline = None if timeout is None else time.monotonic() + timeout
        if self._gate.wanted_open and timeout != 0:
            self._gate.stop(self._workers, for_good=True)
        quiet = self.config.drain_quiet
        self._tell_all(lambda worker: worker.drain(quiet, deadline))
        if self._alive == 0:
            self._closed()

    def _tell_all(self, call: Callable[[Worker], object]) -> None:
        """Run `call(worker)` on each worker's thread; a worker that has ended needs none."""
        for worker in list(self._workers):
            try:
                worker.call_soon_threadsafe(call, worker)
            except EngineClosedError:
                pass

    def _worker_started(self, worker: Worker) -> None:
        with self._lock:
            self._workers.append(worker)
            self._alive += 1
            if self._state != "starting":  # start() was interrupted while it waited for us
                worker.abort()

    def _worker_ended(self, worker: Worker) -> None:
        """Take note that a worker's thread ends, on that thread; the last one tidies up."""
        with self._lock:
            self._alive -= 1
            self._failure = self._failure or worker.failure
            if self._state == "running":
                self._begin_end(_SHUTDOWN_SECONDS)
            if self._alive == 0 and self._state == "stopping":
                self._closed()

    def _closed(self) -> None:
        """Nothing runs any more: give back what is left, and wake whoever waits."""
        self._state = "closed"
        listeners.release_all(self._groups)
        running.discard(self)
        self._gate.release()
        self._done.set()
        for callback in self._end_calls:
            try:
                callback()
            except Exception as error:
                report(error, "on_end", None)

    def _abandon(self) -> None:
        """Take back a start that failed half way."""
        with self._lock:
            self._state = "stopping"
            if self._alive == 0:
                self._closed()
            else:
                self._tell_all(Worker.abort)
        self._done.wait(_BACKSTOP_SECONDS)

    def _each_listener(self) -> list[Listener]:
        """Return every listener once, shared ones too."""
        return list({id(each): each for group in self._groups for each in group}.values())

    def _check_process(self) -> None:
        if self._forked:
            raise ForkedError("this engine belongs to the parent process: make a new one (F20)")

    def _check_running(self) -> None:
        self._check_process()
        self._check_state("running")

    def _check_state(self, wanted: str) -> None:
        if self._state == wanted:
            return
        if self._state in ("stopping", "closed"):
            raise EngineClosedError("the engine has been shut down; make a new one")
        raise EngineClosedError(f"the engine is {self._state}, not {wanted}")

    def _after_fork_in_child(self) -> None:
        """Be dead in a child: it has no worker threads, and must not touch what is shared."""
        self._forked = True
        self._state = "closed"
        self._lock = threading.RLock()
        self._done = Latch()
        self._done.set()
        for worker in self._workers:
            worker._after_fork_in_child()
        for listener in self._each_listener():
            listener.forget()
