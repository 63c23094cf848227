"""The benchmarks run: each command once, short, mostly on peers that need no installation.

Owns no figures: nothing here asserts how fast anything is.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, cast

import pytest

BENCH = Path(__file__).resolve().parent.parent / "bench"

pytest.importorskip("ziglang", reason="the load generator is compiled with ziglang")


@pytest.fixture(autouse=True)
def best_tier(monkeypatch: pytest.MonkeyPatch) -> None:
    """The benchmarks name their tiers, whatever the tests run on."""
    monkeypatch.delenv("PYURING_TIER", raising=False)


@pytest.fixture(autouse=True)
def cores() -> None:
    """Skip where the two cores that the benchmarks pin to are not ours."""
    if not {0, 1} <= os.sched_getaffinity(0):
        pytest.skip("cores 0 and 1, which the benchmarks pin to, are not both allowed")


def bench(script: str, *arguments: str) -> dict[str, Any]:
    """Run one benchmark; 4, a bar that a short run missed, is as good as 0."""
    with tempfile.NamedTemporaryFile("r", suffix=".json") as file:
        command = [sys.executable, str(BENCH / script), "--nice", "0", "--json", file.name]
        done = subprocess.run(
            [*command, *arguments], capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode in (0, 4), done.stdout + done.stderr
        return cast("dict[str, Any]", json.load(file))


def test_echo_measures_every_server_in_every_scenario() -> None:
    results = bench("echo.py", "--quick", "--servers", "pyuring,asyncio,epoll")["samples"]
    assert set(results) == {"64B", "1KiB", "16KiB", "256KiB", "64B-depth16", "64B-1conn"}
    for found in results.values():
        assert set(found) == {"pyuring", "asyncio", "epoll"}
        for (sample,) in found.values():
            assert sample["messages"] > 0
            assert sample["server_cpu_ns"] > 0


def test_the_load_generator_notices_wrong_bytes() -> None:
    code = (
        "import sys, harness, generator\n"
        "server = harness.Server('liar', (sys.executable, 'bench/peers/liar.py'))\n"
        "scenario = generator.Scenario('64B', connections=2)\n"
        "with harness.serving(server) as running:\n"
        "    print(generator.load(running, scenario, 0.2, 0.0).mismatches)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=BENCH, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "2", done.stderr


def native(code: str) -> list[str]:
    """Run code among the benchmark's modules; the words it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=BENCH, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_a_fixed_rate_counts_the_waiting_behind_a_pause_which_a_closed_loop_leaves_out() -> None:
    code = (
        "import sys, harness, generator\n"
        "server = harness.Server('stutter', (sys.executable, 'bench/peers/stutter.py'))\n"
        "with harness.serving(server) as running:\n"
        "    for rate in (0, 1000):\n"
        "        scenario = generator.Scenario('64B', connections=2, rate=rate)\n"
        "        sample = generator.load(running, scenario, 2.0, 0.0)\n"
        "        assert not sample.errors\n"
        "        print(sample.p99_ns / 1e6, sample.messages + sample.behind)\n"
    )
    closed, _, paced, due = map(float, native(code))
    # A pause of 100 ms twice a second meets a fifth of the messages that are due.
    assert paced > 60
    assert paced > 2 * closed
    assert 1_900 < due < 2_100


def test_a_broadcast_reaches_everybody_and_every_byte_is_compared() -> None:
    code = (
        "import sys, contextlib, servers, generator, harness\n"
        "with contextlib.ExitStack() as stack:\n"
        "    running = servers.start(stack, 'pyuring', sys.executable, 0, 'broadcast')\n"
        "    with harness.awake(running.pid):\n"
        "        scenario = generator.Scenario('all', connections=50, mode='broadcast')\n"
        "        sample = generator.load(running, scenario, 0.3, 0.1)\n"
        "    print(sample.errors, sample.messages)\n"
    )
    errors, messages = map(int, native(code))
    assert errors == 0
    assert messages > 100


def test_system_calls_are_counted_exactly() -> None:
    code = (
        "import servers, harness, generator, syscalls\n"
        "with harness.serving(servers.server('epoll', '')) as running:\n"
        "    try:\n"
        "        with syscalls.counting(running.pid) as counters:\n"
        "            scenario = generator.Scenario('64B', connections=1)\n"
        "            sample = generator.load(running, scenario, 0.2, 0.05, counters=counters)\n"
        "            print(sample.counted / sample.messages)\n"
        "    except syscalls.Unavailable as reason:\n"
        "        print('unavailable', reason)\n"
    )
    words = native(code)
    if words[0] == "unavailable":
        pytest.skip(" ".join(words[1:]))
    # A wait, a receive and a send for each message.
    assert 2.9 < float(words[0]) < 3.1


def test_the_suite_measures_and_tells_of_it(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    found = bench("suite.py", "--smoke", "--html", str(page))
    servers = {(one["scenario"], one["server"]) for one in found["cells"]}
    assert {("full-64", "pyuring"), ("full-64", "floor"), ("64B", "epoll")} <= servers
    assert [line for line in found["wrong"] if "not sent in time" not in line] == []
    assert all(len(one["rounds"]) == 1 for one in found["cells"])
    assert "<svg" in page.read_text()


def test_features_compares_a_variant_and_two_ways_of_doing_one_thing() -> None:
    arguments = ("--rounds", "1", "--seconds", "0.3", "--scenarios", "64B")
    pairs = ("the same twice", "registered files")
    found = bench("features.py", *arguments, "--variants", "epoll", "--pairs", ",".join(pairs))
    assert found["failed"] == []
    assert set(found["variants"]) == {"epoll"}
    assert set(found["variants"]["epoll"]) == {"64B"}
    assert set(found["pairs"]) == set(pairs)
    ratios = [*found["variants"]["epoll"]["64B"], *(one for (one,) in found["pairs"].values())]
    assert all(0.01 < ratio < 100 for ratio in ratios)


def test_features_can_do_every_pair_that_it_names_or_says_that_the_kernel_lacks_it() -> None:
    code = (
        "import sys; sys.path.append('peers')\n"
        "import errno, features, harness, ring_features\n"
        "assert set(features.PAIRS) == set(ring_features.PAIRS)\n"
        "server = harness.Server('sink', (sys.executable, 'bench/peers/sink.py'))\n"
        "with harness.serving(server, core=harness.LOAD_CORE) as running:\n"
        "    for name, make in ring_features.PAIRS.items():\n"
        "        try:\n"
        "            assert min(ring_features.costs(make(running.port), 0.01)) > 0, name\n"
        "        except OSError as error:\n"
        "            print(name.replace(' ', '-'), error.errno)\n"
    )
    refused = native(code)
    assert set(refused[1::2]) <= {str(errno.EOPNOTSUPP), str(errno.EINVAL)}
    if refused:
        pytest.skip(f"this kernel lacks {', '.join(refused[::2])}")


def test_churn_counts_connections_and_soak_reads_memory() -> None:
    arguments = ("--rounds", "1", "--seconds", "0.3", "--soak", "0.02", "--every", "0.1")
    results = bench("churn.py", "--servers", "pyuring,epoll", *arguments)
    assert all(found[0]["messages"] > 0 for found in results["samples"].values())
    assert results["soak"]


def test_idle_measures_memory_and_leaves_no_descriptor() -> None:
    (result,) = bench("idle.py", "--servers", "pyuring", "--connections", "200")["results"]
    assert result["files_left"] == 0
    assert result["connected"] > 0


def test_beside_idle_measures_busy_ones_with_and_without_idle_ones() -> None:
    arguments = ("--connections", "200", "--rounds", "1", "--seconds", "0.3", "--kinds", "echo")
    samples = bench("beside_idle.py", *arguments)["samples"]
    assert set(samples) == {"echo auto", "echo none"}
    for (found,) in samples.values():
        assert found["beside"]["mismatches"] == found["beside"]["missing"] == 0
        assert found["beside"]["messages"] > 0


def test_losses_finds_that_nothing_is_lost() -> None:
    found = bench("losses.py", "--connections", "2000", "--kinds", "echo")
    assert [bar for bar in found["bars"] if not bar["met"]] == []
    assert all(result["connections"] >= 2000 for result in found["results"])


def test_soak_finds_nothing_and_counts_what_it_did() -> None:
    arguments = ("0.05", "--cycle", "3", "--warmup", "0.5", "--tasks", "6")
    found = bench("soak.py", *arguments)
    assert found["findings"] == []
    assert found["counts"]["cycles"] == 2
    assert min(found["counts"][what] for what in ("requests", "messages", "malformed")) > 0
    assert {len(readings) for readings in found["readings"].values()} == {1}


def test_soaks_clients_tell_of_wrong_bytes_and_of_servers_that_are_not_there() -> None:
    code = (
        "import sys, harness, soak_trouble\n"
        "server = harness.Server('liar', (sys.executable, 'bench/peers/liar.py'))\n"
        "with harness.serving(server) as running:\n"
        "    clients = soak_trouble.Clients(['steady', '1', str(running.port), '1', '1', '4'])\n"
        "    assert clients.wait(60) == ''\n"
        "print(sorted({(each['event'], each['server']) for each in clients.events}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=BENCH, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "[('broken', 'echo'), ('refused', 'http')]", done.stderr


def test_startup_finds_that_asyncio_is_not_imported() -> None:
    bars = bench("startup.py", "--rounds", "2")["bars"]
    assert [bar["met"] for bar in bars if "asyncio" in bar["bar"]] == [True]


def installed_http_servers() -> str:
    """The HTTP servers that need no installation from PyPI, and pyuring's where it has HTTP."""
    names = ["floor", "raw-asyncio"]
    names += ["nginx"] if shutil.which("nginx") else []
    code = "import pyuring.http, pyuring.wsgi"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    return ",".join([*names, "pyuring", "pyuring-wsgi"] if done.returncode == 0 else names)


@pytest.mark.skipif(shutil.which("wrk") is None, reason="the HTTP load generator wrk is missing")
def test_http1_measures_every_server_and_checks_what_they_reply() -> None:
    servers = installed_http_servers()
    scenarios = ("hello-64", "full-pipeline-16", "reply-64K")
    arguments = ("--servers", servers, "--scenarios", ",".join(scenarios), "--rounds", "1")
    results = bench("http1.py", "--quick", *arguments)
    assert not results["failed"]
    for name in scenarios[:2]:
        assert set(results["samples"][name]) == set(servers.split(","))
    for found in results["samples"].values():
        for (sample,) in found.values():
            assert sample["messages"] > 0
            assert sample["server_cpu_ns"] > 0


@pytest.mark.skipif(shutil.which("wrk") is None, reason="the HTTP load generator wrk is missing")
def test_http1_gives_no_figure_for_a_wrong_reply() -> None:
    code = (
        "import sys, harness, http_load\n"
        "server = harness.Server('liar', (sys.executable, 'bench/peers/liar.py'))\n"
        "with harness.serving(server) as running:\n"
        "    print(http_load.check(running, http_load.Scenario('hello', 'hello')))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=BENCH, capture_output=True, text=True, check=False
    )
    assert done.stdout.startswith("BadStatusLine"), done.stderr


def test_the_http_load_notices_wrong_bytes() -> None:
    code = (
        "import sys, http_load, http_servers\n"
        "scenario = http_load.Scenario('full', 'hello', 'full', connections=2)\n"
        "reply = http_load._reply\n"
        "wrong = lambda whole, *date: (whole[:-1] + b'?', *date)\n"
        "http_load._reply = lambda *given: wrong(*reply(*given))\n"
        "with http_servers.start('floor', 'hello', sys.executable, 0) as running:\n"
        "    print(http_load.measure(http_load.Turn(running, scenario, 1, 0)).errors)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=BENCH, capture_output=True, text=True, check=False
    )
    assert int(done.stdout) >= 2, done.stderr


@pytest.mark.skipif(sys.version_info[:2] != (3, 13), reason="peers are compared on CPython 3.13")
def test_peers_run_after_installation() -> None:
    code = "import harness; harness.peers_python()"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=BENCH, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        pytest.skip(f"the peers cannot be installed: {done.stderr.strip().splitlines()[-1]}")
    arguments = ("--quick", "--scenarios", "64B", "--servers", "uvloop,zloop,rloop")
    found = bench("echo.py", *arguments)["samples"]["64B"]
    assert set(found) == {"uvloop", "zloop", "rloop"}
    bench("lowlevel.py", "--rounds", "1", "--seconds", "0.1", "--file-mib", "4")
