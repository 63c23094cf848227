"""Options: one table read from flags, environment and files, in that order, and its mistakes."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import pickle
import re
from pathlib import Path
from typing import Any

import pytest

from pyuring import EngineConfig
from pyuring.config_file import read
from pyuring.option_sources import Effective, add_arguments, gather, show
from pyuring.options import GROUPS, TABLE, Options
from pyuring.usage import UsageError

MANUAL = (Path(__file__).parent.parent / "docs/command.md").read_text("utf-8")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Go where no configuration is."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def options(*flags: str, **environment: str) -> Effective:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    add_arguments(parser)
    return gather(parser.parse_args(flags), environment)


def mistake(*flags: str, **environment: str) -> str:
    with pytest.raises(UsageError) as caught:
        options(*flags, **environment)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- the table -------------------------------------------------------------------------------


def test_the_manual_has_every_option_with_its_default() -> None:
    told = dict(re.findall(r"^\| `--([\w-]+)[^`]*` \| ([^|]*) \|", MANUAL, re.M))
    wanted = {option.key: option.default_text for option in TABLE if option.name != "app"}
    assert {name: text.strip() for name, text in told.items()} == wanted


def test_defaults_are_told_as_people_write_them() -> None:
    texts = {option.name: option.default_text for option in TABLE}
    assert texts["limit_request_head"] == "64K"
    assert texts["limit_body_memory"] == "16M"
    assert texts["backlog"] == "4096"
    assert texts["timeout_head"] == "10"
    assert texts["reload"] == "no"
    assert texts["pid"] == texts["bind"] == texts["root_path"] == ""


def test_every_default_is_what_its_own_check_lets_pass() -> None:
    for option in TABLE:
        if option.default is None:
            continue
        value = list(option.default) if isinstance(option.default, tuple) else option.default
        assert option.kind.check(value) == option.default, option.name
        assert option.group in GROUPS


def test_engine_options_have_the_engines_defaults_and_ranges() -> None:
    config = EngineConfig()
    for name, field in {
        "workers": "workers",
        "tier": "tier",
        "backlog": "backlog",
        "reuse_port": "reuse_port",
        "limit_concurrency": "max_connections",
        "timeout_write": "write_timeout",
    }.items():
        assert getattr(Options(), name) == getattr(config, field), name
    for name, field, extremes in (
        ("workers", "workers", (1, 1024)),
        ("backlog", "backlog", (1, 65535)),
        ("limit_concurrency", "max_connections", (1, 1 << 20)),
    ):
        (option,) = (each for each in TABLE if each.name == name)
        for value in extremes:
            dataclasses.replace(config, **{field: option.kind.check(value)})
        for value in (extremes[0] - 1, extremes[1] + 1):
            with pytest.raises(ValueError, match=f"not {value}"):
                option.kind.check(value)
            with pytest.raises(ValueError, match=f"not {value}"):
                dataclasses.replace(config, **{field: value})


def test_http_options_have_the_defaults_of_http() -> None:
    pytest.importorskip("pyuring.http", reason="this build has no HTTP", exc_type=ImportError)
    from pyuring.serving import http_config

    config = http_config(Options(), None)
    assert config == dataclasses.replace(type(config)(), trust=config.trust)


def test_the_result_is_frozen_and_travels_to_other_processes() -> None:
    found = options("a:b", "--workers", "3", "--bind", "unix:/x").options
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.workers = 4  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(found)) == found


# --- where values come from ------------------------------------------------------------------


def test_a_flag_counts_before_a_variable_before_the_file_before_the_default(
    elsewhere: Path,
) -> None:
    own = elsewhere / "pyuring.toml"
    found = options()
    assert (found.options.workers, found.sources["workers"]) == (1, "default")
    own.write_text("workers = 2\nbacklog = 7\n")
    found = options()
    assert (found.options.workers, found.sources["workers"]) == (2, "pyuring.toml")
    found = options(PYURING_WORKERS="3")
    assert (found.options.workers, found.sources["workers"]) == (3, "PYURING_WORKERS")
    found = options("--workers", "4", PYURING_WORKERS="3")
    assert (found.options.workers, found.sources["workers"]) == (4, "--workers")
    assert found.options.backlog == 7


def test_every_option_can_be_said_in_each_of_the_three_ways(elsewhere: Path) -> None:
    for option in TABLE:
        if option.name in ("host", "port"):  # these turn into --bind
            continue
        text = example(option.name)
        flags = [text] if option.name == "app" else [f"--{option.key}", text]
        flags = flags[:1] if option.kind.is_flag else flags
        value = getattr(options(*flags).options, option.name)
        assert value != option.default, option.name
        assert getattr(options(**{option.environment: text}).options, option.name) == value
        for key in (option.key, option.name):
            (elsewhere / "pyuring.toml").write_text(f"{key} = {toml(value)}\n")
            assert getattr(options().options, option.name) == value
        (elsewhere / "pyuring.toml").unlink()


def example(name: str) -> str:
    special = {
        "app": "site:app",
        "interface": "wsgi",
        "bind": "127.0.0.1:1,unix:/x",
        "tier": "base",
        "root_path": "/here",
        "static_path": "/files",
        "forwarded_allow_ips": "10.0.0.0/8,::1,unix",
        "forwarded_headers": "forwarded",
        "access_log_format": "json",
        "log_level": "error",
        "metrics": "127.0.0.1:9100",
    }
    if name in special:
        return special[name]
    (option,) = (each for each in TABLE if each.name == name)
    if option.kind.is_flag:
        return "yes"
    return "5000" if option.kind.metavar == "BYTES" else "77"


def toml(value: Any) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(f'"{each}"' for each in value) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


def test_an_empty_variable_is_none_at_all() -> None:
    found = options(PYURING_WORKERS="", PYURING_ACCESS_LOG="")
    assert found.options == Options()
    assert found.sources["workers"] == "default"


def test_no_takes_back_what_a_file_says(elsewhere: Path) -> None:
    (elsewhere / "pyuring.toml").write_text("reuse-port = true\n")
    assert options().options.reuse_port
    assert not options("--no-reuse-port").options.reuse_port
    assert not options(PYURING_REUSE_PORT="off").options.reuse_port


def test_lists_may_be_given_several_times_or_with_commas() -> None:
    both = options("--bind", ":1, :2", "--bind", "unix:/x").options.bind
    assert both == (":1", ":2", "unix:/x")
    assert options(PYURING_BIND=":1,:2").options.bind == (":1", ":2")


@pytest.mark.parametrize(
    ("text", "bytes_"), [("65536", 65536), ("64K", 65536), ("10M", 10 << 20), ("1gib", 1 << 30)]
)
def test_sizes_have_units(text: str, bytes_: int) -> None:
    assert options("--limit-request-body", text).options.limit_request_body == bytes_


def test_host_and_port_are_another_way_to_say_bind(elsewhere: Path) -> None:
    assert options("--port", "81").options.bind == ("127.0.0.1:81",)
    assert options("--host", "::1").options.bind == ("[::1]:8000",)
    assert options("--host", "0.0.0.0", "--port", "0").options.bind == ("0.0.0.0:0",)
    (elsewhere / "pyuring.toml").write_text('bind = "127.0.0.1:99"\n')
    assert options("--port", "81").options.bind == ("127.0.0.1:81",)
    assert options("--bind", ":82", PYURING_PORT="81").options.bind == (":82",)
    assert "--port: not together with --bind" in mistake("--port", "81", "--bind", ":82")


def test_a_metrics_port_is_on_loopback() -> None:
    for text in ("9100", ":9100"):
        assert options("--metrics", text).options.metrics == "127.0.0.1:9100"


# --- files -----------------------------------------------------------------------------------


def test_the_table_of_a_project_counts_where_there_is_no_file_of_its_own(elsewhere: Path) -> None:
    project = elsewhere / "pyproject.toml"
    project.write_text('[project]\nname = "x"\n[tool.pyuring]\nworkers = 5\n')
    assert options().options.workers == 5
    assert options().sources["workers"] == "pyproject.toml"
    (elsewhere / "pyuring.toml").write_text("workers = 6\n")
    assert options().options.workers == 6
    assert options("--config", "pyproject.toml").options.workers == 5
    assert options(PYURING_CONFIG="pyproject.toml").options.workers == 5
    assert options("--config", "/dev/null").options.workers == 1


def test_a_project_that_does_not_mean_us_is_not_parsed(elsewhere: Path) -> None:
    (elsewhere / "pyproject.toml").write_text('dependencies = ["pyuring"]\nnot toml at all\n')
    assert options().options == Options()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("workers = 0", "pyuring.toml: workers: must be 1 to 1024, not 0"),
        ('workers = "4"', "pyuring.toml: workers: invalid int value: '4'"),
        ("workers = true", "pyuring.toml: workers: invalid int value: True"),
        ("wrokers = 4", "pyuring.toml: there is no option 'wrokers'; is it workers?"),
        ("[server]\nworkers = 4", "pyuring.toml: there is no option 'server'"),
        ("reload = 1", "pyuring.toml: reload: must be true or false, not 1"),
        ("bind = [80]", "pyuring.toml: bind: must be text or a list of texts, not [80]"),
        ('bind = "x"', "pyuring.toml: bind: 'x' is no address"),
        ("timeout-head = -1", "timeout-head: must be at least 0 and below 1e9 seconds, not -1"),
        ("timeout-head = nan", "timeout-head: must be at least 0 and below 1e9 seconds, not nan"),
        ("timeout-head = 1\ntimeout_head = 2", "timeout-head is there twice, with - and with _"),
        ("workers = ", "pyuring.toml: Invalid value (at line 1, column 11)"),
        ('root-path = "here"', "root-path: must start with '/', not 'here'"),
    ],
)
def test_a_mistake_in_a_file_is_told_with_its_place(elsewhere: Path, text: str, line: str) -> None:
    (elsewhere / "pyuring.toml").write_text(text + "\n")
    assert line in mistake()


def test_a_file_that_cannot_be_read_is_told(elsewhere: Path) -> None:
    assert mistake("--config", "none.toml") == "none.toml: No such file or directory"
    assert mistake("--config", ".") == ".: Is a directory"
    (elsewhere / "pyuring.toml").write_bytes(b"workers = 1 # \xff\n")
    assert mistake() == "pyuring.toml: not UTF-8, which TOML must be"
    (elsewhere / "pyuring.toml").write_text("x = " + "[" * 100_000)
    assert mistake().startswith("pyuring.toml: ")


def test_without_a_parser_the_line_says_what_helps(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(name: str) -> Any:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(importlib, "import_module", none)
    (elsewhere / "pyproject.toml").write_text('[project]\ndependencies = ["pyuring"]\n')
    assert read(None, str(elsewhere)) == ("", {})
    (elsewhere / "pyuring.toml").write_text("workers = 1\n")
    with pytest.raises(UsageError, match=r"pyuring\.toml: Python 3\.10 cannot.*package tomli"):
        read(None, str(elsewhere))


# --- wrong values ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("workers", "many", "invalid int value: 'many'"),
        ("workers", "1_0", "invalid int value: '1_0'"),
        ("workers", "٤", "invalid int value: '٤'"),
        ("workers", "9" * 5000, "invalid int value"),
        ("timeout-head", "soon", "invalid number of seconds: 'soon'"),
        ("timeout-head", "inf", "below 1e9 seconds, not inf"),
        ("limit-request-body", "5X", "invalid size: '5X' (such as 65536, 64K, 10M)"),
        ("limit-request-line", "1", "must be 64 to 16777216, not 1"),
        ("port", "65536", "must be 0 to 65535, not 65536"),
        (
            "tier",
            "top",
            "invalid choice: 'top' (choose from auto, none, base, mid, high, optional)",
        ),
        ("forwarded-allow-ips", "localhost", "'localhost' is neither an IP address, a network"),
        ("forwarded-allow-ips", "10.0.0.1/8", "is an address within 10.0.0.0/8: say which"),
        ("forwarded-headers", "via", "invalid choice: 'via'"),
        ("bind", ",".join([":1"] * 9), "at most 8 of them, not 9"),
        ("metrics", "nowhere", "'nowhere' is no address"),
        ("root-path", "/a?b", "is no path of a URL"),
    ],
)
def test_a_wrong_value_is_told_alike_wherever_it_stands(name: str, text: str, line: str) -> None:
    assert re.match(f"argument --{name}: .*{re.escape(line)}", mistake(f"--{name}", text))
    variable = f"PYURING_{name.replace('-', '_').upper()}"
    assert re.match(f"{variable}: .*{re.escape(line)}", mistake(**{variable: text}))


def test_a_wrong_yes_or_no_is_told() -> None:
    assert mistake(PYURING_RELOAD="maybe") == "PYURING_RELOAD: must be true or false, not 'maybe'"


# --- what is shown ---------------------------------------------------------------------------


def test_what_is_shown_is_a_file_that_says_the_same(elsewhere: Path) -> None:
    found = options(
        "s:app", "--port", "81", "--access-log", 'a"\\\n\x7f\u2028é', "--timeout-head", "2.5",
        PYURING_FORWARDED_ALLOW_IPS="10.0.0.0/8,unix",
    )  # fmt: skip
    text = show(found)
    assert re.search(r'^bind = \["127.0.0.1:81"\] +# --port$', text, re.M)
    assert re.search(r'"10.0.0.0/8", "unix"\] +# PYURING_FORWARDED_ALLOW_IPS$', text, re.M)
    assert re.search(r"^# pid = +# default$", text, re.M)
    (elsewhere / "shown.toml").write_text(text, encoding="utf-8")
    again = options("--config", "shown.toml")
    assert again.options == found.options
    assert again.sources["bind"] == "shown.toml"


def test_help_has_every_option_once() -> None:
    parser = argparse.ArgumentParser(prog="x")
    add_arguments(parser)
    text = parser.format_help()
    for option in TABLE:
        if option.name != "app":
            assert text.count(f"  --{option.key} ") == 1 or f"  --{option.key}\n" in text
    assert "SUPPRESS" not in text
    assert "--no-" not in text.split("\n\n", 1)[1]
