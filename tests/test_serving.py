"""From options to something that serves: what is handed to HTTP, to the engine, and around it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from command import COMMAND, ROOT, Served, run
from peers import echoes

from pyuring import serving
from pyuring.access_log import AccessLog
from pyuring.loading import Application
from pyuring.options import Options
from pyuring.proxy import Trust
from pyuring.usage import UsageError

ECHO = "examples.echo:Echo"
FREE = ("--bind", "127.0.0.1:0")


class Config:
    def __init__(self, **fields: Any) -> None:
        self.fields = fields


class Wrapped:
    def __init__(self, target: Any, config: Any, **more: Any) -> None:
        self.target, self.config, self.more = target, config, more

    def __call__(self) -> None: ...


@pytest.fixture
def http_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in for HTTP, so that what it is given can be looked at."""
    for name, names in (
        ("http", ("Http", "HttpConfig")),
        ("wsgi", ("Wsgi",)),
        ("static", ("StaticFiles",)),
    ):
        module = ModuleType(f"pyuring.{name}")
        for each in names:
            setattr(module, each, {"HttpConfig": Config, "StaticFiles": Path}.get(each, Wrapped))
        monkeypatch.setitem(sys.modules, f"pyuring.{name}", module)


def site(*arguments: Any) -> None: ...


@pytest.mark.parametrize("kind", ["wsgi", "handler"])
def test_an_application_is_wrapped_with_its_configuration(
    http_modules: None, kind: str, tmp_path: Path
) -> None:
    log = AccessLog(str(tmp_path / "log"))
    options = Options(
        app="x:y", limit_request_line=100, timeout_head=0.0, timeout_body=3.0, threads=4,
        forwarded_allow_ips=("10.0.0.0/8",), root_path="/a", static=str(tmp_path),
        proxy_protocol=True,
    )  # fmt: skip
    served = serving._served(options, Application(kind, site), log)
    fields = served.config.fields
    assert served.target is site
    assert served.more == {"mounts": {"/static": tmp_path}}
    assert (fields["request_line"], fields["body"], fields["threads"]) == (100, None, 4)
    assert (fields["head_timeout"], fields["body_timeout"]) == (None, 3.0)
    assert fields["access_log"] is log
    assert isinstance(fields["trust"], Trust)
    assert fields["trust"].trusts("10.1.1.1")
    assert (fields["root_path"], fields["proxy_protocol"]) == ("/a", True)
    log.close()


def test_what_http_refuses_is_the_callers_mistake(
    http_modules: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: Any) -> None:
        raise ValueError("head: must not be below request_line")

    monkeypatch.setattr(sys.modules["pyuring.http"], "HttpConfig", refuse)
    with pytest.raises(UsageError, match="head: must not be below request_line"):
        serving._served(Options(app="x:y"), Application("handler", site), None)


def test_a_static_directory_must_be_there(http_modules: None) -> None:
    options = Options(app="x:y", static="/no/such/directory")
    with pytest.raises(UsageError, match="--static: /no/such/directory is no directory"):
        serving._served(options, Application("handler", site), None)


@pytest.mark.parametrize("kind", ["protocol", "ready"])
def test_protocols_and_what_is_ready_go_to_the_engine_as_they_are(kind: str) -> None:
    assert serving._served(Options(app="x:y"), Application(kind, site), None) is site


def test_options_that_are_in_vain_are_told(capfd: pytest.CaptureFixture[str]) -> None:
    options = Options(app="x:y", static="/s", access_log="-", workers=3, timeout_write=3.0)
    serving._served(options, Application("protocol", site), None)
    said = "--static, --access-log will change nothing\n"
    assert capfd.readouterr().err == f"pyuring: x:y is a protocol: {said}"
    serving._served(options, Application("ready", site), None)
    assert capfd.readouterr().err == f"pyuring: x:y has a configuration of its own: {said}"
    serving._served(Options(app="x:y", workers=3), Application("protocol", site), None)
    assert capfd.readouterr().err == ""


def test_the_engine_gets_its_options() -> None:
    options = Options(
        app=ECHO, workers=2, backlog=7, limit_concurrency=9, timeout_write=0.0, timeout_idle=4.0,
        reuse_port=True, tier="base",
    )  # fmt: skip
    engine = serving.make_engine(options, serving.application(options), ["127.0.0.1:0"])
    config = engine.config
    assert (config.workers, config.backlog, config.max_connections) == (2, 7, 9)
    assert (config.write_timeout, config.idle_timeout) == (None, 4.0)
    assert (config.reuse_port, config.tier) == (True, "base")


# --- the command -------------------------------------------------------------------------------


def test_sockets_of_a_service_manager_that_are_not_used_are_told(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LISTEN_FDS", "1")
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    bind = ("127.0.0.1:0", "unix:/s")
    assert serving.wanted_addresses(Options(bind=bind)) == [*bind]
    assert capfd.readouterr().err == (
        "pyuring: not listening on the sockets of LISTEN_FDS, but on 127.0.0.1:0, unix:/s\n"
    )
    serving.wanted_addresses(Options(bind=("fd:3",)))
    assert capfd.readouterr().err == ""
    monkeypatch.setenv("LISTEN_PID", str(os.getppid()))
    assert serving.wanted_addresses(Options()) == ["127.0.0.1:8000"]
    assert "the process that started this one, which should exec it" in capfd.readouterr().err
    monkeypatch.setenv("LISTEN_PID", "999999999")
    assert serving.wanted_addresses(Options()) == ["127.0.0.1:8000"]
    assert capfd.readouterr().err == ""


def test_sockets_of_a_service_manager_that_are_not_there_are_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LISTEN_FDS", "100000")
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    monkeypatch.setattr("pyuring.listeners._FIRST_INHERITED", 50_000)
    with pytest.raises(UsageError, match="LISTEN_FDS is 100000, but descriptor 50000 is not open"):
        serving.wanted_addresses(Options())


def test_serves_with_metrics_and_a_pid_file(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    metrics = f"unix:{tmp_path}/metrics"
    with Served(ECHO, *FREE, "--metrics", metrics, "--pid", str(pid)) as served:
        assert echoes(served.address)
        assert pid.read_text() == f"{served.process.pid}\n"
        done = run("top", metrics, "--once", "--interval", "0.05")
        assert re.search(r"^ *all ", done.stdout, re.M), done.stderr
        served.signal(signal.SIGTERM)
        assert served.wait() == 0
    assert not pid.exists()
    assert not (tmp_path / "metrics").exists()


def test_a_pid_file_that_another_process_has_taken_stays(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    path.write_text("1\n")
    serving.remove_pid(str(path))
    assert path.exists()
    serving.write_pid(str(path))
    assert path.read_text() == f"{os.getpid()}\n"
    serving.remove_pid(str(path))
    assert not path.exists()


def test_the_environment_and_a_file_configure_it(tmp_path: Path) -> None:
    (tmp_path / "pyuring.toml").write_text(f'bind = "127.0.0.1:0"\napp = "{ECHO}"\n')
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYURING_WORKERS": "2"}
    with Served(cwd=tmp_path, env=environment) as served:
        assert served.workers == 2
        assert echoes(served.address)


def test_print_config_says_where_each_value_comes_from(tmp_path: Path) -> None:
    environment = {**os.environ, "PYURING_WORKERS": "3"}
    done = run("serve", "--print-config", "--tier", "base", cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^workers = 3 +# PYURING_WORKERS$", done.stdout, re.M)
    assert re.search(r'^tier = "base" +# --tier$', done.stdout, re.M)


@pytest.mark.parametrize("level", ["warning", "error"])
def test_a_quiet_server_says_nothing_when_it_is_ready(level: str, tmp_path: Path) -> None:
    arguments = ["serve", ECHO, "--bind", f"unix:{tmp_path}/s", "--log-level", level,
                 "--metrics", f"unix:{tmp_path}/m"]  # fmt: skip
    with subprocess.Popen(
        [*COMMAND, *arguments], stderr=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        for _ in range(100):
            if run("top", f"unix:{tmp_path}/m", "--once", "--interval", "0.05").returncode == 0:
                break
        process.terminate()
        assert process.wait(20) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("--access-log", "/no/such/log"), "--access-log /no/such/log: No such file or directory"),
        (("--metrics", "unix:/no/such/m"), "--metrics: cannot listen on unix:/no/such/m"),
        (("--pid", "/no/such/pid"), "--pid /no/such/pid: No such file or directory"),
        (("--forwarded-allow-ips", "me"), "argument --forwarded-allow-ips: 'me' is neither"),
        (("--config", "/no/such.toml"), "/no/such.toml: No such file or directory"),
    ],
)
def test_a_mistake_gets_one_line_and_status_2(arguments: tuple[str, ...], line: str) -> None:
    done = run("serve", ECHO, *FREE, *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("pyuring: ")
    assert done.stderr.count("\n") == 1
    assert line in done.stderr


def test_options_are_one_word_and_whole() -> None:
    done = run("serve", ECHO, *FREE, "--work", "2")
    assert done.returncode == 2
    assert "unrecognized arguments: --work" in done.stderr
