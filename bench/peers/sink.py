"""Takes whatever comes on any number of connections, and drops it: `python sink.py`.

Owns nothing. Says where it listens, as every server of the benchmarks does.
"""

from __future__ import annotations

import socket
import threading


def drop(sock: socket.socket) -> None:
    """Read to the end."""
    room = bytearray(1 << 20)
    while sock.recv_into(room):
        pass


def main() -> None:
    """Serve until it is killed."""
    listener = socket.create_server(("127.0.0.1", 0))
    print(f"listening on 127.0.0.1:{listener.getsockname()[1]}", flush=True)
    while True:
        threading.Thread(target=drop, args=(listener.accept()[0],), daemon=True).start()


if __name__ == "__main__":
    main()
