"""The clients of idle.py: connect COUNT times, then do as the lines on standard input say.

`echo` sends one message on each connection and checks its return, `close` closes them all; each
is answered with a line. Source addresses move along 127.0.0.x, so that ports do not run out; a
third argument says where they begin, for who comes again within the minute that ports take.
"""

from __future__ import annotations

import socket
import sys

PER_ADDRESS = 10_000
MESSAGE = 64


def connect(port: int, number: int, first: int) -> socket.socket:
    """One connection, from the source address that is its turn."""
    source = f"127.0.0.{first + number // PER_ADDRESS}"
    return socket.create_connection(("127.0.0.1", port), timeout=10, source_address=(source, 0))


def echo(connections: list[socket.socket]) -> None:
    """Send each connection its own message and expect it back."""
    for number, connection in enumerate(connections):
        connection.sendall(number.to_bytes(MESSAGE, "big"))
    for number, connection in enumerate(connections):
        answer = connection.recv(MESSAGE, socket.MSG_WAITALL)
        if answer != number.to_bytes(MESSAGE, "big"):
            sys.exit(f"connection {number} got {answer!r}")


def main() -> None:
    """Serve the commands until standard input ends."""
    port, count = int(sys.argv[1]), int(sys.argv[2])
    first = int(sys.argv[3]) if len(sys.argv) > 3 else 2
    connections = [connect(port, number, first) for number in range(count)]
    print("connected", flush=True)
    for line in sys.stdin:
        if line.strip() == "echo":
            echo(connections)
        else:
            for connection in connections:
                connection.close()
        print(line.strip(), flush=True)


if __name__ == "__main__":
    main()
