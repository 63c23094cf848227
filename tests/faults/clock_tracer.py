"""Runs a program whose wall clock jumps about by days at every look; nobody else's does.

Run as `python clock_tracer.py COMMAND…`, which keeps its standard streams. The program is made
to ask the kernel for the time (its vDSO is hidden from it at the exec), and each answer about
CLOCK_REALTIME is moved on its way out. At the end the counts follow on stderr as JSON: how often
the first thread looked at the wall clock, and how often the others.
Source: ptrace(2), vdso(7), getauxval(3), proc_pid_stat(5).
"""

from __future__ import annotations

import json
import os
import platform
import random
import signal
import sys
from pathlib import Path

from tracer import _OPTIONS, _SEIZE, Tracer, ptrace  # the script beside this one

# clock_gettime, gettimeofday, time
CALLS = {"x86_64": (228, 96, 201), "aarch64": (113, 169, -1)}[platform.machine()]
REALTIME, REALTIME_COARSE = 0, 5
AT_IGNORE, AT_SYSINFO_EHDR = 1, 33
DAY = 86_400


class ClockTracer(Tracer):
    """Moves every answer about the time of day."""

    def __init__(self, pid: int) -> None:
        super().__init__(pid)
        self.rng = random.Random(1)
        self.asked: dict[int, int] = {}  # thread -> where the kernel is putting the time

    def executed(self, tid: int) -> None:
        """Hide the vDSO: on the stack stand argc, argv, 0, the environment, 0, then the vector."""
        super().__init__(self.pid)
        self.threads.add(tid)
        self.hide()

    def hide(self) -> None:
        start = int(Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[25])
        place = start + 8 * (self.memory.word(start) + 2)
        while self.memory.word(place):
            place += 8
        place += 8
        while kind := self.memory.word(place):
            if kind == AT_SYSINFO_EHDR:
                self.memory.put_word(place, AT_IGNORE)
            place += 16

    def entered(self, tid: int, number: int, arguments: list[int]) -> None:
        wall = number == CALLS[0] and arguments[0] in (REALTIME, REALTIME_COARSE)
        if wall or number in CALLS[1:]:
            self.counts["first" if tid == self.pid else "others"] += 1
            self.asked[tid] = arguments[1] if wall else arguments[0]

    def left(self, tid: int) -> None:
        place = self.asked.pop(tid, 0)
        if place:
            jump = self.rng.randint(-DAY, DAY)
            self.memory.put_word(place, self.memory.word(place) + jump)


def main(command: list[str]) -> None:
    pid = os.fork()
    if pid == 0:
        os.kill(os.getpid(), signal.SIGSTOP)
        os.execvp(command[0], command)
    os.waitpid(pid, os.WUNTRACED)
    tracer = ClockTracer(pid)
    ptrace(_SEIZE, pid, 0, _OPTIONS)
    tracer.threads.add(pid)
    os.kill(pid, signal.SIGCONT)
    tracer.run()
    print(json.dumps({"looks": tracer.counts}), file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1:])
