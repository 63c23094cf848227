"""Addresses and listening sockets: spelling, binding, handing over, stopping."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
from peers import connect, refused

from pyuring import addresses, listeners
from pyuring.addresses import Address
from pyuring.listeners import Listener, open_listeners, release_all


def bind(address: str, workers: int = 1, reuse_port: bool = False) -> list[list[Listener]]:
    return open_listeners(
        addresses.parse(address), workers=workers, backlog=64, reuse_port=reuse_port
    )


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("127.0.0.1:80", Address("inet", "127.0.0.1", 80)),
        ("[::1]:80", Address("inet", "::1", 80)),
        ("example.org:0", Address("inet", "example.org", 0)),
        (":8000", Address("inet", "", 8000)),
        ("unix:/run/x", Address("unix", path="/run/x")),
        ("unix:@x", Address("unix", path="\0x")),
        ("fd:3", Address("fd", fd=3)),
    ],
)
def test_an_address_is_read_and_written_in_one_spelling(text: str, parsed: Address) -> None:
    assert addresses.parse(text) == parsed
    assert str(parsed) == text


@pytest.mark.parametrize(
    "text", ["8000", "::1:80", "host:", "host:http", "h:65536", "unix:", "fd:x"]
)
def test_a_wrong_address_says_what_is_wrong(text: str) -> None:
    with pytest.raises(ValueError, match=r"no address|needs a path"):
        addresses.parse(text)


@pytest.mark.parametrize("thing", [80, None, ("h",), ("h", "80"), (b"h", 80)])
def test_an_address_of_the_wrong_type_raises(thing: Any) -> None:
    with pytest.raises(TypeError):
        addresses.parse(thing)


def test_a_packed_address_is_what_the_kernel_reads() -> None:
    packed = addresses.numeric(addresses.parse("127.0.0.1:258"))
    assert packed is not None
    assert packed.pack() == b"\x02\x00\x01\x02\x7f\x00\x00\x01" + bytes(8)
    packed = addresses.numeric(addresses.parse("unix:@ab"))
    assert packed is not None
    assert packed.pack() == b"\x01\x00\0ab"
    packed = addresses.numeric(addresses.parse("[::1]:1"))
    assert packed is not None
    assert packed.pack() == b"\x0a\x00\x00\x01" + bytes(4) + bytes(15) + b"\1" + bytes(4)


def test_f25_workers_of_port_0_share_the_first_ones_port() -> None:
    groups = bind("127.0.0.1:0", workers=16)
    try:
        ports = {listener.name[1] for group in groups for listener in group}
        assert len(groups) == 16
        assert len(ports) == 1
    finally:
        release_all(groups)


@pytest.mark.parametrize("workers", [1, 3])
def test_f25_a_busy_port_is_named_and_never_joined_by_mistake(workers: int) -> None:
    groups = bind("127.0.0.1:0", workers=workers)
    address = str(groups[0][0])
    try:
        with pytest.raises(OSError, match=f"cannot listen on {address}: Address already in use"):
            bind(address, workers=3)
    finally:
        release_all(groups)


def test_reuse_port_joins_another_process_group() -> None:
    first = bind("127.0.0.1:0", reuse_port=True)
    second = bind(str(first[0][0]), workers=2, reuse_port=True)
    release_all(first)
    release_all(second)


def test_f57_bind_tries_again_while_a_predecessor_ends() -> None:
    predecessor = socket.socket()
    predecessor.bind(("127.0.0.1", 0))
    predecessor.listen()
    address = addresses.format_sockaddr(predecessor.getsockname())
    threading.Timer(0.2, predecessor.close).start()
    release_all(bind(address))


def test_a_name_gets_a_listener_for_each_of_its_addresses(monkeypatch: Any) -> None:
    places = [
        addresses.Sockaddr(socket.AF_INET, ("127.83.1.1", 0)),
        addresses.Sockaddr(socket.AF_INET, ("127.83.1.2", 0)),
        addresses.Sockaddr(socket.AF_INET, ("192.0.2.1", 0)),  # not an address of this machine
    ]
    monkeypatch.setattr(addresses, "resolve", lambda _: places)
    groups = bind("name:0")
    assert [listener.name[0] for listener in groups[0]] == ["127.83.1.1", "127.83.1.2"]
    assert len({listener.name[1] for listener in groups[0]}) == 1
    release_all(groups)
    monkeypatch.setattr(addresses, "resolve", lambda _: places[2:])
    with pytest.raises(OSError, match=r"cannot listen on 192\.0\.2\.1:0"):
        bind("name:0")


def test_a_stale_socket_file_is_replaced_and_removed_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    groups = bind(f"unix:{path}", workers=2)
    assert path.stat().st_mode & 0o777 == 0o666  # a proxy is another user
    assert groups[0][0] is groups[1][0]
    connect(f"unix:{path}").close()
    release_all(groups)
    assert not path.exists()


def test_a_path_in_use_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s"
    groups = bind(f"unix:{path}")
    with pytest.raises(OSError, match="another process does"):
        bind(f"unix:{path}")
    release_all(groups)
    path.write_text("precious")
    with pytest.raises(OSError, match="it is a file"):
        bind(f"unix:{path}")
    assert path.read_text() == "precious"


def test_a_successors_socket_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s"
    groups = bind(f"unix:{path}")
    path.unlink()
    successor = bind(f"unix:{path}")
    release_all(groups)
    connect(f"unix:{path}").close()
    release_all(successor)


def test_a_given_socket_stays_its_givers() -> None:
    with socket.socket() as given:
        given.bind(("127.0.0.1", 0))
        groups = open_listeners(addresses.parse(given), workers=2, backlog=5, reuse_port=False)
        listener = groups[0][0]
        listener.refuse()
        listener.close()
        connect(str(listener)).close()
        release_all(groups)
        given.getsockname()


def test_a_descriptor_that_is_no_socket_is_named() -> None:
    read, write = os.pipe()
    try:
        with pytest.raises(OSError, match=f"fd:{read} is not a socket"):
            bind(f"fd:{read}")
    finally:
        os.close(read)
        os.close(write)


def test_inherited_sockets_are_taken_once(monkeypatch: Any) -> None:
    monkeypatch.setattr(os, "set_inheritable", lambda fd, on: None)
    monkeypatch.setenv("LISTEN_FDS", "2")
    monkeypatch.setenv("LISTEN_PID", str(os.getpid() + 1))
    assert listeners.inherited() == []
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    assert [str(each) for each in listeners.inherited()] == ["fd:3", "fd:4"]
    assert listeners.inherited() == []


def test_f59_refusing_keeps_who_is_in_the_queue_and_closing_frees_the_port() -> None:
    groups = bind("127.0.0.1:0")
    listener = groups[0][0]
    early = connect(str(listener))
    listener.refuse()
    assert listener.waiting()
    with socket.socket() as late:
        late.settimeout(0.05)
        with pytest.raises(TimeoutError):
            late.connect(listener.name)
    with socket.socket(fileno=os.dup(listener.fd)) as queue:
        served, _ = queue.accept()
    served.sendall(b"served")
    assert early.recv(10) == b"served"
    assert not listener.waiting()
    number = listener.fd
    listener.close()
    assert refused(str(listener))
    listener.reopen()
    assert listener.fd == number
    connect(str(listener)).close()
    release_all(groups)
    early.close()
    served.close()
