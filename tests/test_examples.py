"""The examples, each served by the command as its opening says."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from http.client import HTTPConnection
from pathlib import Path

import pytest
from command import ROOT, Served
from peers import connect, read_exactly, read_to_end, reset

FREE = ("--bind", "127.0.0.1:0")
MIB = 1 << 20


def test_echo_sends_everything_back() -> None:
    text = os.urandom(8 * MIB)
    with Served("examples.echo:Echo", *FREE) as served, connect(served.address) as peer:
        writer = threading.Thread(target=peer.sendall, args=(text,))
        writer.start()
        assert read_exactly(peer, len(text)) == text
        writer.join()


def line(sock: socket.socket) -> str:
    text = b""
    while not text.endswith(b"\n"):
        text += sock.recv(1)
    return text.decode()


def test_chat_tells_everybody_else() -> None:
    with Served("examples.chat:Chat", *FREE, "--workers", "2") as served:
        first, second = connect(served.address), None
        try:
            assert line(first).startswith("* welcome, ('127.0.0.1'")
            second = connect(served.address)
            assert line(second).startswith("* welcome")
            assert line(first).endswith("is here\n")
            second.sendall("grüezi\nbye".encode())
            assert line(first).endswith(": grüezi\n")
            first.sendall(b"hello\n")
            assert line(second).endswith(": hello\n")
            second.close()
            assert line(first).endswith("is gone\n")
        finally:
            first.close()
            if second is not None:
                second.close()


def proxied(target: str) -> Served:
    return Served("examples.proxy:Proxy", *FREE, env={**os.environ, "PROXY_TARGET": target})


def test_proxy_carries_both_directions_and_their_ends() -> None:
    text = os.urandom(8 * MIB)
    with (
        Served("examples.echo:Echo", *FREE) as echo,
        proxied(echo.address) as proxy,
        connect(proxy.address) as peer,
    ):
        writer = threading.Thread(target=peer.sendall, args=(text,))
        writer.start()
        assert read_exactly(peer, len(text)) == text
        writer.join()
        peer.shutdown(socket.SHUT_WR)
        assert read_to_end(peer) == b""


def test_proxy_carries_a_half_close_and_a_reset() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.settimeout(10)
        with proxied(f"127.0.0.1:{listener.getsockname()[1]}") as proxy:
            with connect(proxy.address) as peer:
                target, _ = listener.accept()
                peer.sendall(b"question")
                peer.shutdown(socket.SHUT_WR)
                assert read_to_end(target) == b"question"
                target.sendall(b"answer")
                target.close()
                assert read_to_end(peer) == b"answer"
            peer = connect(proxy.address)
            target, _ = listener.accept()
            target.settimeout(10)
            reset(peer)
            try:
                assert target.recv(1) == b""
            except ConnectionResetError:
                pass
            target.close()


def test_proxy_without_a_target_turns_clients_away() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        with proxied(f"127.0.0.1:{port}") as proxy, connect(proxy.address) as peer:
            try:
                assert peer.recv(1) == b""
            except ConnectionResetError:
                pass


@pytest.mark.parametrize("size", [0, 1, 64 * 1024, 5 * MIB + 17])
def test_copy_file_copies_every_byte(tmp_path: Path, size: int) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(os.urandom(size))
    command = [sys.executable, str(ROOT / "examples" / "copy_file.py"), str(source), str(target)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert target.read_bytes() == source.read_bytes()


def ask(address: str, target: str, body: bytes | None = None) -> tuple[int, bytes]:
    connection = HTTPConnection(address, timeout=20)
    try:
        connection.request("GET" if body is None else "POST", target, body)
        reply = connection.getresponse()
        return reply.status, reply.read()
    finally:
        connection.close()


def test_hello_greets_by_name() -> None:
    with Served("examples.hello:app", *FREE) as served:
        assert ask(served.address, "/") == (200, b"Hello, world!\n")
        assert ask(served.address, "/?name=J%C3%BCrg") == (200, "Hello, Jürg!\n".encode())


def test_hello_wsgi_says_hello() -> None:
    with Served("examples.hello_wsgi:app", *FREE) as served:
        assert ask(served.address, "/") == (200, b"Hello, World!\n")


def test_hello_flask_says_hello() -> None:
    pytest.importorskip("flask")
    with Served("examples.hello_flask:app", *FREE) as served:
        assert ask(served.address, "/") == (200, b"Hello, world!\n")
        assert ask(served.address, "/nothing")[0] == 404


def test_static_site_serves_a_directory_and_counts_uploads(tmp_path: Path) -> None:
    text = os.urandom(3 * MIB)
    (tmp_path / "index.html").write_text("<p>Hello")
    (tmp_path / "big").write_bytes(text)
    env = {**os.environ, "SITE": str(tmp_path)}
    with Served("examples.static_site:app", *FREE, env=env) as served:
        assert ask(served.address, "/") == (200, b"<p>Hello")
        assert ask(served.address, "/big") == (200, text)
        assert ask(served.address, "/nothing")[0] == 404
        status, reply = ask(served.address, "/count", text)
        assert (status, json.loads(reply)) == (200, {"bytes": len(text)})
        assert ask(served.address, "/count", b"abc") == (200, b'{"bytes":3}')
