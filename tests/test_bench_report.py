"""What the benchmarks make of their samples: comparisons, page, tables. Nothing is measured here.

Owns one small document that is made up; the figures in it mean nothing.
"""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

BENCH = Path(__file__).resolve().parent.parent / "bench"
sys.path.append(str(BENCH))

import compare  # noqa: E402
import document  # noqa: E402
import echo  # noqa: E402
import figures  # noqa: E402
import http_scenarios  # noqa: E402
import report_docs  # noqa: E402
import report_html  # noqa: E402
import suite_scenarios  # noqa: E402


def test_no_module_of_the_benchmarks_is_called_as_one_of_the_tests() -> None:
    # Both are imported by their plain names: the second would get the first.
    tests = {path.stem for path in BENCH.parent.joinpath("tests").glob("*.py")}
    assert not tests & {path.stem for path in BENCH.glob("*.py")}


def cell(
    scenario: str, server: str, *cpu: float, busy: float = 0.99, load: float = 0.5
) -> dict[str, Any]:
    """A cell whose rounds have these CPU times."""
    rounds = [[1e6 / us, us, us / 2, busy, load, 100.0, 200.0, 10 * us] for us in cpu]
    return {
        "scenario": scenario,
        "server": server,
        "rounds": rounds,
        "rss": 20 << 20,
        "syscalls": 0.04,
    }


@pytest.fixture
def run() -> dict[str, Any]:
    """One run: two scenarios and a tail, four servers."""
    return {
        "form": 1,
        "plan": {"name": "full", "rounds": 3, "seconds": 0.8, "counting": 0.3, "tail_seconds": 2.0},
        "environment": {
            "time": "2026-01-02T03:04:05Z",
            "kernel": "6.18",
            "cpu": "a <fast> one",
            "cores": 2,
            "governor": "unknown",
            "load_average": 0.1,
            "commit": "0123456789ab",
            "dirty": False,
            "versions": {"python": "3.13.0", "uvicorn": "0.54.0", "idna": "3"},
        },
        "took_seconds": 60,
        "left_out": {"robyn": "it does not install"},
        "wrong": ["bjoern, full-64: wrong | bytes"],
        "notes": {"nginx": "has files"},
        "idle_bytes": {"echo pyuring": [300, 310, 305]},
        "collections": [100, 10, 1],
        "alone_us": [80.0],
        "no_syscalls": "",
        "bars": [{"bar": "b", "value": 1.5, "limit": 1.0, "at_most": True, "met": False}],
        "cells": [
            cell("full-64", "uvicorn", 50, 51, 52),
            cell("full-64", "pyuring", 5.0, 5.1, 5.2),
            cell("full-64", "floor", 4.8, 4.9, 5.0, busy=0.8, load=0.97),
            cell("full-64", "fastwsgi", 5.1, 5.2, 5.3),
            cell("64B", "pyuring", 5.0, 5.1, 5.2),
            cell("64B", "uvloop", 7.0, 7.1, 7.2),
            cell("tail-half", "pyuring", 20, 21, 22),
        ],
    }


def changed(run: dict[str, Any], scenario: str, server: str, factor: float) -> dict[str, Any]:
    """The same run with one cell's CPU times multiplied."""
    other = copy.deepcopy(run)
    for one in other["cells"]:
        if (one["scenario"], one["server"]) == (scenario, server):
            for row in one["rounds"]:
                row[1] *= factor
    return other


def test_a_run_compared_with_itself_has_no_change(run: dict[str, Any]) -> None:
    assert compare.compare(run, copy.deepcopy(run), True) == 0


def test_a_cell_of_ours_that_became_slower_than_the_noise_fails(
    run: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare.compare(run, changed(run, "64B", "pyuring", 1.10)) == 1
    assert "SLOWER 64B, pyuring: +10.0 %" in capsys.readouterr().out


def test_a_change_within_the_noise_of_both_runs_passes(run: dict[str, Any]) -> None:
    assert compare.compare(run, changed(run, "64B", "pyuring", 1.03)) == 0


def test_what_all_peers_have_changed_by_is_the_machines_doing(run: dict[str, Any]) -> None:
    slow = copy.deepcopy(run)
    for one in slow["cells"]:
        for row in one["rounds"]:
            row[1] *= 1.5
            row[7] *= 1.5
    assert compare.compare(run, slow) == 0
    assert compare.compare(run, changed(slow, "64B", "pyuring", 1.10)) == 1


def test_a_cell_of_ours_that_is_gone_fails(run: dict[str, Any]) -> None:
    other = copy.deepcopy(run)
    other["cells"] = [one for one in other["cells"] if one["scenario"] != "full-64"] + [
        one for one in run["cells"] if one["scenario"] == "full-64" and one["server"] != "pyuring"
    ]
    assert compare.compare(run, other) == 1


def test_a_ranking_differs_only_where_no_round_overlaps(run: dict[str, Any]) -> None:
    old = figures.cells(run)["full-64"]

    def ranked(server: str, factor: float) -> str:
        new = figures.cells(changed(run, "full-64", server, factor))["full-64"]
        return str(compare.ranking(old, new)[0])

    assert ranked("pyuring", 1.0) == "same"
    assert ranked("pyuring", 1.03) == "same but for noise"
    assert ranked("uvicorn", 0.01) == "differs"
    assert compare.compare(run, changed(run, "full-64", "uvicorn", 0.01), True) == 1


def two(first: tuple[float, ...], second: tuple[float, ...]) -> list[figures.Cell]:
    """The cells of a run of two servers, the better one first."""
    cells = [cell("full-64", "a", *first), cell("full-64", "b", *second)]
    return figures.cells({"cells": cells})["full-64"]


CLEAR, TURNED = two((5, 5.1, 5.2), (6, 6.1, 6.2)), two((6, 6.1, 6.2), (5, 5.1, 5.2))
OVERLAPPING = two((5, 5.1, 6.1), (6, 6.1, 6.2))
OVERLAPPING_TURNED = two((6, 6.1, 6.2), (5, 5.1, 6.1))
CLOSE, CLOSE_TURNED = (
    two((5, 5.01, 5.02), (5.03, 5.04, 5.05)),
    two((5.03, 5.04, 5.05), (5, 5.01, 5.02)),
)
TIE = two((5, 5.1, 5.2), (5, 5.1, 5.2))


@pytest.mark.parametrize(
    ("one", "other", "verdict"),
    [
        (CLEAR, CLEAR, "same"),
        (CLEAR, TURNED, "differs"),
        (CLEAR, OVERLAPPING, "same"),
        (CLEAR, OVERLAPPING_TURNED, "same but for noise"),
        (OVERLAPPING, OVERLAPPING_TURNED, "same but for noise"),
        (CLOSE, CLOSE_TURNED, "same but for noise"),
        (CLEAR, CLOSE_TURNED, "same but for noise"),
        (CLEAR, TIE, "same"),
        (TIE, TURNED, "same"),
        (two((5, 5.1), (6, 6.1)), two((6, 6.1), (5, 5.1)), "same but for noise"),
        (CLEAR, two((6, 6.1), (5, 5.1)), "same but for noise"),
    ],
)
def test_what_either_run_marks_as_noise_is_noise_whichever_comes_first(
    one: list[figures.Cell], other: list[figures.Cell], verdict: str
) -> None:
    assert compare.ranking(one, other)[0] == verdict
    assert compare.ranking(other, one)[0] == verdict


def test_a_server_without_a_figure_is_before_nobody() -> None:
    without, clear = two((), (6, 6.1, 6.2)), figures.named(CLEAR, "b")
    nothing = figures.named(without, "a")
    assert clear is not None
    assert nothing is not None
    assert not nothing.clearly_before(clear)
    assert not clear.clearly_before(nothing)
    assert compare.ranking(CLEAR, without)[0] != "differs"


def test_a_ranking_says_of_how_many_pairs_and_who_is_in_one_run_only(
    run: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    other = copy.deepcopy(run)
    other["cells"] = [one for one in other["cells"] if one["server"] != "uvicorn"]
    compare.compare(run, other, True)
    said = capsys.readouterr().out
    # The floor, pyuring and fastwsgi overlap one another.
    assert "ranking full-64: same; 1 of 3 pairs are clear in both; only in one run: uvicorn" in said


def test_of_two_rounds_no_small_change_is_told(run: dict[str, Any]) -> None:
    short = copy.deepcopy(run)
    for one in short["cells"]:
        one["rounds"] = one["rounds"][:2]
    assert compare.compare(short, changed(short, "64B", "pyuring", 1.2)) == 0
    assert compare.compare(short, changed(short, "64B", "pyuring", 1.5)) == 1


def test_each_scenario_names_a_command_that_knows_it() -> None:
    known = {one.name for one in (*echo.SCENARIOS, *http_scenarios.SCENARIOS)} | {"slow"}
    for entry in suite_scenarios.SCENARIOS:
        command = suite_scenarios.command(entry.key)
        if command == "nox -s bench":
            continue
        python, program, *options = command.split()
        assert python == "python"
        assert (BENCH.parent / program).exists()
        if "--scenarios" in options:
            assert options[options.index("--scenarios") + 1] in known


def test_the_figure_that_ranks_stands_first_with_its_own_spread(run: dict[str, Any]) -> None:
    found = figures.cells(run)
    assert report_docs.rows(found["64B"])[0][:3] == ["server", "CPU µs/message", "±"]
    headers, ((_, tail, spread, *_rest),) = report_docs.rows(found["tail-half"])
    assert headers[:3] == ["server", "p99.9 µs", "±"]
    assert (tail, spread) == ("210", "5 %")
    assert "CPU µs/request" in headers


def test_a_column_in_which_nothing_was_measured_is_not_shown(run: dict[str, Any]) -> None:
    for one in run["cells"]:
        one["rounds"] = [[*row[:5], None, None, None] for row in one["rounds"]]
        one["syscalls"] = None
    headers, rows = report_docs.rows(figures.cells(run)["64B"])
    assert headers == [
        *("server", "CPU µs/message", "±", "× ours", "rate/s", "load µs, core", "RSS MiB", "")
    ]
    assert {len(row) for row in rows} == {len(headers)}


def test_one_round_has_no_spread(run: dict[str, Any]) -> None:
    for one in run["cells"]:
        del one["rounds"][1:]
    assert {row[2] for row in report_docs.rows(figures.cells(run)["full-64"])[1]} == {"–"}


def test_the_tables_mark_what_has_no_order(run: dict[str, Any]) -> None:
    headers, rows = report_docs.rows(figures.cells(run)["full-64"])
    assert headers[0] == "server"
    marks = {row[0].strip("*"): row[-1] for row in rows}
    assert marks == {"floor": "⚠", "pyuring": "≈", "fastwsgi": "≈", "uvicorn": ""}


def test_a_cell_is_bound_by_its_client_when_only_that_one_has_no_time_left(
    run: dict[str, Any],
) -> None:
    found = figures.cells(run)["full-64"]
    assert [one.server for one in found if one.client_bound] == ["floor"]


def test_the_page_needs_no_other_file_and_is_well_formed(run: dict[str, Any]) -> None:
    page = report_html.page(run)
    assert "src=" not in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "a &lt;fast&gt; one" in page
    drawings = page.split("<svg")[1:]
    for drawing in drawings:
        ElementTree.fromstring("<svg" + drawing.partition("</svg>")[0] + "</svg>")
    assert len(drawings) == 4  # two scenarios, the tail, and the pattern of what is client-bound
    assert page.count('class="hatch"') == 1
    assert ">missed<" in page


def test_the_tables_have_every_cell_and_keep_their_columns(run: dict[str, Any]) -> None:
    page = report_docs.page(run, "run.json")
    rows = [line for line in page.splitlines() if line.startswith("| uvicorn ")]
    assert len(rows) == 1
    assert "| 10.0 |" in rows[0]  # times ours
    assert "wrong | bytes" in page  # in a list, not in a table
    assert "idna" not in page
    assert "echo pyuring 305" in page
    assert report_docs.markdown(("a",), [("x|y",)]).endswith("| x\\|y |")


def test_a_document_is_kept_and_read_again(run: dict[str, Any], tmp_path: Path) -> None:
    path = document.save(run, str(tmp_path / "run.json"))
    assert document.load(path) == run
    path.write_text('{"form": 99}')
    with pytest.raises(ValueError, match="form 99"):
        document.load(path)


def test_the_guide_is_what_the_newest_kept_run_gives() -> None:
    newest = document.newest()
    if newest is None:
        pytest.skip("no full run is kept in bench/results")
    page = report_docs.page(document.load(newest), newest.name)
    assert report_docs.PAGE.read_text() == page, "python bench/report_docs.py"
