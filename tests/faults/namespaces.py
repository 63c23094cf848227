"""Two network namespaces with one cable between them, which can lose packets and be slow.

It owns both: each lives as long as a process that the test holds by a pipe, and the kernel takes
everything back, the cable included, when that ends, however the test does. Nothing of the machine's
own network is touched. Skips, naming what is missing. Source: nft(8), tc-tbf(8), veth(4).
"""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import Any

import pytest

__all__ = ["Cable"]

# Addresses for documentation (RFC 5737): nobody has them outside of these namespaces.
SERVER, CLIENT = "192.0.2.1", "192.0.2.2"


class Namespace:
    """A network namespace of its own, with the loopback device up."""

    def __init__(self) -> None:
        command = ["unshare", "--net", "sh", "-c", "ip link set lo up && echo up && cat"]
        self.holder = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.holder.stdout is not None
        if self.holder.stdout.readline() != "up\n":
            pytest.skip(f"no network namespace: {self.holder.communicate()[1]}")

    def command(self, *words: str) -> list[str]:
        """Return a command that runs in here."""
        return ["nsenter", f"--net=/proc/{self.holder.pid}/ns/net", *words]

    def run(self, *words: str, stdin: str | None = None) -> None:
        done = subprocess.run(
            self.command(*words), capture_output=True, text=True, check=False, input=stdin
        )
        if "not supported" in done.stderr or "not permitted" in done.stderr:
            pytest.skip(f"{' '.join(words)}: {done.stderr.strip()}")
        assert done.returncode == 0, f"{words} {stdin}: {done.stderr}"

    def close(self) -> None:
        self.holder.communicate()


class Cable:
    """A server's namespace and a client's, connected by a pair of virtual Ethernet devices."""

    def __init__(self) -> None:
        if os.geteuid() != 0:
            pytest.skip("making network namespaces needs root")
        for program in ("ip", "nft", "tc", "unshare", "nsenter"):
            if shutil.which(program) is None:
                pytest.skip(f"this machine has no {program}")
        self.ends = [Namespace(), Namespace()]
        try:
            self._connect()
        except BaseException:
            self.close()
            raise

    def _connect(self) -> None:
        server, client = self.ends
        peer = str(client.holder.pid)
        server.run("ip", "link", "add", "cable", "type", "veth", "peer", "name", "cable",
                   "netns", peer)  # fmt: skip
        for end, address in zip(self.ends, (SERVER, CLIENT), strict=True):
            end.run("ip", "address", "add", f"{address}/30", "dev", "cable")
            end.run("ip", "link", "set", "cable", "up")

    def lose(self, percent: int) -> None:
        """Drop so many of a hundred packets that come in at either end, by chance."""
        self._drop(f"numgen random mod 100 < {percent}")

    def _drop(self, which: str) -> None:
        rule = f"iifname cable {which} drop"
        table = "table ip loss { chain in { type filter hook input priority 0; " + rule + "; }; }"
        for end in self.ends:
            end.run("nft", "-f", "-", stdin=table)

    def slow_down(self, rate: str) -> None:
        """Let no more through than this, such as 2mbit, in either direction."""
        for end in self.ends:
            end.run("tc", "qdisc", "add", "dev", "cable", "root", "tbf", "rate", rate,
                    "burst", "16kb", "latency", "200ms")  # fmt: skip

    def cut(self) -> None:
        """Pull the plug: from here on nothing arrives, and nobody is told."""
        self._drop("")

    def mend(self) -> None:
        """Lose nothing any more."""
        for end in self.ends:
            end.run("nft", "flush", "ruleset")

    def close(self) -> None:
        for end in self.ends:
            end.close()

    def __enter__(self) -> Cable:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()
