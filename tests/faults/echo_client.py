"""A client of an echo server, run in a network namespace: random bytes there and back.

Run as `python echo_client.py HOST PORT CLIENTS BYTES SECONDS SEED [stay]`: `stay` never says its
own end. Prints one line: how many
clients got back what they sent, how many a front of it and which end, how many anything else.
It knows nothing of pyuring.
"""

from __future__ import annotations

import random
import socket
import sys
import threading
from collections import Counter

found: list[str] = []  # an append is one step; a Counter's += from several threads loses some


def talk(place: tuple[str, int], data: bytes, seconds: float, stay: bool) -> None:
    received = bytearray()
    try:
        with socket.create_connection(place, timeout=seconds) as sock:
            sender = threading.Thread(target=send, args=(sock, data, stay))
            sender.start()
            try:
                while piece := sock.recv(1 << 16):
                    received += piece
            finally:
                sender.join()
    except OSError as error:
        found.append(f"cut:{type(error).__name__}" if data.startswith(received) else "wrong")
        return
    if received == data and not stay:
        found.append("whole")
    else:
        found.append("cut:end" if data.startswith(received) else "wrong")


def send(sock: socket.socket, data: bytes, stay: bool) -> None:
    try:
        sock.sendall(data)
        if not stay:
            sock.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # the reader tells


def main(
    host: str, port: str, clients: str, size: str, seconds: str, seed: str, stay: str = ""
) -> None:
    rng = random.Random(int(seed))
    place, block = (host, int(port)), min(int(size), 1 << 20)
    contents = [rng.randbytes(block) * (int(size) // block) for _ in range(int(clients))]
    threads = [
        threading.Thread(target=talk, args=(place, data, float(seconds), bool(stay)))
        for data in contents
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(" ".join(f"{name}={count}" for name, count in sorted(Counter(found).items())))


main(*sys.argv[1:])
