"""A request takes no more instructions than it did, as callgrind counts them (instructions/).

The same on a busy machine as on an idle one. What costs time in the kernel is not seen.
"""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import sysconfig

import pytest
from instructions import counts, table


def unavailable() -> str:
    """Return why nothing can be counted here, or an empty string."""
    if platform.machine() != "x86_64":
        return "the budgets, and the requests to callgrind, are x86_64's"
    if shutil.which("valgrind") is None:
        return "valgrind is missing"
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        return "the budgets are those of builds with a global lock"
    said = subprocess.run(["valgrind", "--version"], capture_output=True, text=True, check=True)
    version = re.search(r"(\d+)\.(\d+)", said.stdout)
    if version is None or (int(version[1]), int(version[2])) < (3, 19):
        return f"{said.stdout.strip()} is too old: 3.19 and 3.27 are known to work"
    return ""


@pytest.fixture(scope="module")
def counted() -> dict[tuple[str, str], counts.Counts]:
    """Count once for all tests."""
    if reason := unavailable():
        pytest.skip(reason)
    found, said = counts.run()
    print(said)
    return {(each.scenario, each.ring): each for each in found}


@pytest.mark.parametrize(("scenario", "ring"), table.BUDGETS)
def test_a_request_stays_within_its_budget(
    scenario: str, ring: str, counted: dict[tuple[str, str], counts.Counts]
) -> None:
    found, budget = counted.get((scenario, ring)), table.BUDGETS[scenario, ring]
    if found is None:
        assert ring == "io_uring", "epoll is everywhere"
        pytest.skip(f"no tier HIGH on {ring} here")
    problems = over(found, budget)
    assert problems == [], "; ".join(problems)


def over(found: counts.Counts, budget: table.Budget) -> list[str]:
    """Return what is over the budget, in words."""
    figures = [
        ("instructions of ours", found.by_owner[counts.OURS], budget.ours),
        ("calls into the interpreter", found.calls, budget.calls),
    ]
    if table.build() == table.BUILD:
        python = found.by_owner[counts.PYTHON]
        figures.append(("instructions of the interpreter", python, budget.python))
    return [
        f"{what}: {value:.0f} a request, more than {budgeted:.0f} by over 5 % "
        "(tests/instructions/table.py says what to do)"
        for what, value, budgeted in figures
        if value > table.HEAD_ROOM * budgeted
    ]


def test_what_is_over_its_budget_is_named() -> None:
    owners = {counts.OURS: 1060.0, counts.PYTHON: 100.0, counts.REST: 0.0}
    found = counts.Counts("hello", "epoll", owners, calls=10.6)
    assert over(found, table.Budget(1060, 100, 10.6)) == []
    (ours, calls) = over(found, table.Budget(1000, 100, 10))
    assert ours.startswith("instructions of ours: 1060 a request")
    assert calls.startswith("calls into the interpreter: 11")


def test_a_file_of_callgrinds_is_read_with_what_is_called_left_out() -> None:
    found = counts.read(FILE)
    assert found is not None
    assert (found.scenario, found.ring, found.calls) == ("hello", "epoll", 0.4)
    assert found.by_owner == {counts.OURS: 2.3, counts.PYTHON: 4.0, counts.REST: 1.0}
    assert found.functions[0] == (4.0, "libpython3.13.so.1.0", "PyCall")
    assert counts.read(FILE.replace("hello epoll 10", "nothing")) is None


FILE = """\
desc: Trigger: Client Request: hello epoll 10
events: Ir

ob=(1) /somewhere/libpyuring.so
fl=(1) ???
fn=(1) turn
0 20
cob=(2) /somewhere/libpython3.13.so.1.0
cfn=(2) PyCall
calls=4 7
* 40
cfn=(3) inner
calls=9 7
+2 3
-1 3

ob=(2)
fn=(2)
0 40

ob=(3) /lib/libc.so.6
fn=(4) memcpy
0 10
"""
