"""The other end of a ring's operations, on another core: `python sink.py`.

Owns nothing. Drops what comes on a connection; one that begins with FLOOD is sent zeros without
end instead, all that begin with DRIP a message of 64 bytes in turn, one every 20 microseconds. Says
where it listens, as every server of the benchmarks does.
"""

from __future__ import annotations

import socket
import threading
import time

FLOOD, DRIP = b"F", b"D"
MESSAGE = bytes(64)
EVERY_NS = 20_000


def serve(sock: socket.socket, dripping: list[socket.socket]) -> None:
    """Read to the end, or do what the first byte asks for."""
    room = bytearray(1 << 20)
    count = sock.recv_into(room)
    if room[:1] == DRIP and count:
        sock.setblocking(False)
        dripping.append(sock)
        return
    try:
        while room[:1] == FLOOD:
            sock.sendall(bytes(1 << 20))
        while sock.recv_into(room):
            pass
    except OSError:
        pass  # it has gone


def drip(socks: list[socket.socket]) -> None:
    """A message to each in turn; one that takes no more misses its turn. Never sleeps for long."""
    due = 0
    while True:
        if not socks:
            time.sleep(0.01)
        for sock in list(socks):
            due = max(due, time.monotonic_ns()) + EVERY_NS  # what is late is not made up for
            while time.monotonic_ns() < due:
                pass
            try:
                sock.send(MESSAGE)
            except BlockingIOError:
                pass
            except OSError:
                socks.remove(sock)


def main() -> None:
    """Serve until it is killed."""
    listener = socket.create_server(("127.0.0.1", 0))
    dripping: list[socket.socket] = []
    threading.Thread(target=drip, args=(dripping,), daemon=True).start()
    print(f"listening on 127.0.0.1:{listener.getsockname()[1]}", flush=True)
    while True:
        arguments = (listener.accept()[0], dripping)
        threading.Thread(target=serve, args=arguments, daemon=True).start()


if __name__ == "__main__":
    main()
