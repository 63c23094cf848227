"""Options that there are not: the line names what was meant."""

from __future__ import annotations

import os

import pytest
from command import run

from pyuring.hints import _ELSEWHERE, explained, variables
from pyuring.options import TABLE

SEE = " (see pyuring serve --help)"


def unrecognized(*flags: str) -> str:
    return explained(f"unrecognized arguments: {' '.join(flags)}", ["serve", "a:b", *flags])


@pytest.mark.parametrize(
    ("flags", "hint"),
    [
        (["-w", "4"], "-w 4; is it --processes? (--workers are threads within one)"),
        (["--worker-class", "gevent"], "gevent; there is one kind of worker; handlers that wait "),
        (["--uds=/run/s"], "--uds=/run/s; is it --bind unix:PATH?"),
        (["--proceses", "3"], "--proceses 3; is it --processes?"),
        (["--thread", "3"], "--thread 3; is it --threads?"),
        (["--something-else"], "unrecognized arguments: --something-else" + SEE),
        (["x"], "unrecognized arguments: x" + SEE),
    ],
)
def test_a_flag_that_there_is_not_gets_a_guess(flags: list[str], hint: str) -> None:
    line = unrecognized(*flags)
    assert hint in line
    assert line.endswith(SEE)


def test_no_option_of_another_server_that_is_explained_is_one_of_ours() -> None:
    ours = {f"--{option.key}" for option in TABLE}
    assert not ours & set(_ELSEWHERE)
    for text in _ELSEWHERE.values():
        for word in text.replace("?", "").split():
            assert not word.startswith("--") or word in ours | {"--config"}, text


def test_an_application_without_a_command_is_told_which() -> None:
    done = run("shop:app", "--bind", ":0")
    assert done.returncode == 2
    assert done.stderr == (
        "pyuring: there is no command 'shop:app'; is it pyuring serve shop:app?\n"
    )


def test_the_command_says_what_was_meant() -> None:
    done = run("serve", "examples.echo:Echo", "-w", "4")
    assert done.returncode == 2
    assert done.stderr == f"pyuring: {unrecognized('-w', '4')}\n"


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("PYURING_TEIR", "PYURING_TIER"),
        ("PYURING_WORKER", "PYURING_WORKERS"),
        ("PYURING_LOGLEVEL", "PYURING_LOG_LEVEL"),
    ],
)
def test_a_misspelt_variable_gets_a_line(name: str, meant: str) -> None:
    (line,) = variables({name: "1"})
    assert line == f"{name} is no option's variable and ignored; is it {meant}?"


def test_variables_of_options_and_of_others_get_none() -> None:
    ours = {option.environment: "1" for option in TABLE} | {"PYURING_CONFIG": "f"}
    tests = {f"PYURING_{name}": "1" for name in ("SEED", "TARGET", "STRESS", "FAULTS", "DIST")}
    kubernetes = dict.fromkeys(("PYURING_PORT_80_TCP", "PYURING_SERVICE_HOST"), "1")
    assert variables(ours | tests | kubernetes | {"PYURING_TEIR": "", "PATH": "/"}) == []


def test_the_command_says_it_once_and_serves_all_the_same() -> None:
    misspelt = {**os.environ, "PYURING_TEIR": "none"}
    done = run("serve", "--print-config", env=misspelt)
    assert done.returncode == 0
    assert done.stderr == (
        "pyuring: PYURING_TEIR is no option's variable and ignored; is it PYURING_TIER?\n"
    )
    for quiet in ({"PYURING_LOG_LEVEL": "error"}, {"PYURING_CHILD_FD": "9"}):
        assert run("serve", "--print-config", env=misspelt | quiet).stderr == ""
