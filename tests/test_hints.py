"""Options that there are not: the line names what was meant."""

from __future__ import annotations

import pytest
from command import run

from pyuring.hints import _ELSEWHERE, explained
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
