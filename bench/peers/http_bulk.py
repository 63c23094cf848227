"""One client that moves a large body again and again.

Run as `python http_bulk.py PORT get|post|put PATH FILE SECONDS`. FILE holds what a GET must bring,
byte by byte, or what is sent. Prints one line of JSON. The last transfer is finished after the
time is over. Never parses more of HTTP than it needs.
"""

from __future__ import annotations

import json
import os
import socket
import statistics
import sys
import time
from pathlib import Path

PIECE = 256 * 1024


def read_head(connection: socket.socket) -> tuple[int, int, bytes]:
    """Status, body length, and what came of the body with the head."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(PIECE)
        if not piece:
            sys.exit(f"the connection ended after {data!r}")
        data += piece
    head, _, rest = data.partition(b"\r\n\r\n")
    length = 0
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            length = int(line.partition(b":")[2])
        if line.startswith(b"transfer-encoding:"):
            sys.exit(f"a chunked reply: {head!r}")
    return int(head.split()[1]), length, rest


def get(connection: socket.socket, path: str, content: bytes) -> None:
    """One download, compared with the file as it comes."""
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    status, length, piece = read_head(connection)
    if status != 200 or length != len(content):
        sys.exit(f"status {status}, {length} bytes")
    at = 0
    while True:
        if piece != content[at : at + len(piece)]:
            sys.exit(f"wrong bytes after {at}")
        at += len(piece)
        if at == length:
            return
        piece = connection.recv(min(PIECE, length - at))
        if not piece:
            sys.exit(f"the connection ended after {at} of {length} bytes")


def send(connection: socket.socket, method: str, path: str, file: int, size: int) -> None:
    """One upload; the reply must be a success, and name the size if it has a body."""
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {size}\r\n\r\n"
    connection.sendall(head.encode())
    at = 0
    while at < size:
        at += os.sendfile(connection.fileno(), file, at, size - at)
    status, length, body = read_head(connection)
    while len(body) < length:
        body += connection.recv(PIECE)
    if status not in (200, 201, 204) or (status == 200 and int(body) != size):
        sys.exit(f"status {status}: {body[:200]!r}")


def main() -> None:
    """Transfer until the time is over, and say how it went."""
    port, what, path, name, seconds = sys.argv[1:]
    content = Path(name).read_bytes()
    file = os.open(name, os.O_RDONLY)
    times = []
    began = time.perf_counter_ns()
    while not times or time.perf_counter_ns() - began < float(seconds) * 1e9:
        start = time.perf_counter_ns()
        # A connection for each: some servers close, and it costs nothing beside the body.
        connection = socket.create_connection(("127.0.0.1", int(port)))
        if what == "get":
            get(connection, path, content)
        else:
            send(connection, what.upper(), path, file, len(content))
        connection.close()
        times.append(time.perf_counter_ns() - start)
    window = time.perf_counter_ns() - began
    result = {
        "messages": len(times),
        "window_ns": window,
        "bytes": len(times) * len(content),
        "p50_ns": statistics.median(times),
        "p99_ns": max(times),
        "p999_ns": max(times),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
