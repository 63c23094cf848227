"""What a proxy says about the client: forwarding headers (also RFC 7239), and whom to believe.

Owns the trust and the walk over the hops. Never believes a peer that is not trusted, and never
looks at a header that was not named: a proxy passes on what it does not set itself, so such a
header is the client's own word.

Some facts about the walk. Each proxy appends the address that it saw, so the list is read from
the right: as long as the address that is read is a trusted proxy's, what it appended counts as
well. An entry that is no address ends the walk: what stands left of it may be the client's.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

__all__ = ["HEADERS", "Client", "Trust"]

HEADERS = (
    "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "forwarded"
)  # fmt: skip

IP = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_MOST_HOPS = 64
_HOST = re.compile(r"(?:[A-Za-z0-9._~-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PAIR = re.compile(rf'({_TOKEN})=(?:({_TOKEN})|"((?:[^"\\\x00-\x08\x0a-\x1f\x7f]|\\[\t -~])*)")')
_NODE_PORT = re.compile(r":([0-9]{1,5})")


class Client(NamedTuple):
    """Who asks, and for what, as far as it is known; None and 0 stand for not known."""

    host: str | None
    port: int
    scheme: str | None = None
    authority: str | None = None
    """The Host that the client asked for, where a proxy said it (X-Forwarded-Host)."""


class _Hop(NamedTuple):
    address: IP
    port: int
    scheme: str | None = None
    authority: str | None = None


class Trust(tuple[str, ...]):
    """Says whose forwarding headers are believed, and reads them. Read-only: any thread.

    A tuple of what is trusted, so that it goes wherever such a tuple does. `allow` has addresses,
    networks ("10.0.0.0/8"), "unix" for peers on Unix sockets, "*" for everybody. `headers` names
    those that the proxy sets on each request: either "forwarded", or some of the X-Forwarded ones.
    """

    _addresses: set[IP]
    _networks: list[Network]
    _headers: frozenset[str]
    _all: bool
    _unix: bool

    def __new__(
        cls,
        allow: Iterable[str],
        headers: Iterable[str] = ("x-forwarded-for", "x-forwarded-proto"),
    ) -> Trust:
        """Check what is given; raises ValueError that names what makes no sense."""
        self = super().__new__(cls, allow)
        self._headers = frozenset(name.lower() for name in headers)
        unknown = self._headers - set(HEADERS)
        if unknown:
            raise ValueError(f"{min(unknown)!r} is none of {', '.join(HEADERS)}")
        if "forwarded" in self._headers and len(self._headers) > 1:
            raise ValueError("'forwarded' says it all: name it alone, or the x-forwarded ones")
        self._all = "*" in self
        self._unix = "unix" in self
        self._addresses, self._networks = set(), []
        for each in self:
            if each in ("*", "unix"):
                continue
            if "/" in each:
                self._networks.append(ipaddress.ip_network(each))
            else:
                self._addresses.add(_plain(ipaddress.ip_address(each)))
        return self

    def trusts(self, peer_host: str | None) -> bool:
        """Return whether this peer's headers are believed; None is a peer on a Unix socket."""
        if self._all:
            return True
        if peer_host is None:
            return self._unix
        try:
            return self._allows(_plain(ipaddress.ip_address(peer_host.partition("%")[0])))
        except ValueError:
            return False

    def resolve(
        self, peer_host: str | None, headers: Iterable[tuple[str, str]], peer_port: int = 0
    ) -> Client:
        """Return who the client is, after the peer's address and the header fields as sent.

        Where the peer is not trusted, that is the peer, and the fields are not looked at.
        """
        if not self.trusts(peer_host):
            return Client(peer_host, peer_port)
        found: dict[str, list[str]] = {}
        for name, value in headers:
            lower = name.lower()
            if lower in self._headers:
                found.setdefault(lower, []).append(value)
        if not found:
            return Client(peer_host, peer_port)
        if "forwarded" in found:
            return self._forwarded(Client(peer_host, peer_port), found["forwarded"])
        return self._x_forwarded(Client(peer_host, peer_port), found)

    def _allows(self, address: IP) -> bool:
        return (
            self._all
            or address in self._addresses
            or any(address in network for network in self._networks)
        )

    def _x_forwarded(self, peer: Client, found: dict[str, list[str]]) -> Client:
        entries = _list(found.get("x-forwarded-for"))
        index, hop = self._walk([_node(entry) for entry in entries])
        protos = _list(found.get("x-forwarded-proto"))
        hosts = _list(found.get("x-forwarded-host"))
        ports = _list(found.get("x-forwarded-port"))
        scheme = _scheme(_at(protos, index, len(entries)))
        authority = _authority(_at(hosts, index, len(entries)))
        port = _port(_at(ports, index, len(entries)))
        usual = 443 if scheme == "https" else 80
        if authority is not None and port not in (0, usual) and not _has_port(authority):
            authority = f"{authority}:{port}"
        if hop is None:
            return Client(peer.host, peer.port, scheme, authority)
        return Client(str(hop.address), hop.port, scheme, authority)

    def _forwarded(self, peer: Client, lines: Sequence[str]) -> Client:
        hops: list[_Hop | None] = []
        for line in lines:
            hops.extend(_elements(line))
        _, hop = self._walk(hops)
        if hop is None:
            return peer
        return Client(str(hop.address), hop.port, hop.scheme, hop.authority)

    def _walk(self, hops: Sequence[_Hop | None]) -> tuple[int, _Hop | None]:
        """Return the hop that is the client's, from the right, and where it stands."""
        client, at = None, len(hops)
        for index in range(len(hops) - 1, max(-1, len(hops) - 1 - _MOST_HOPS), -1):
            hop = hops[index]
            if hop is None:
                break
            client, at = hop, index
            if not self._allows(hop.address):
                break
        return at, client


def _plain(address: IP) -> IP:
    """Return the IPv4 address inside of an IPv6 one (::ffff:10.0.0.1), else the address."""
    mapped = getattr(address, "ipv4_mapped", None)
    return address if mapped is None else mapped


def _list(lines: Sequence[str] | None) -> list[str]:
    """Return the entries of a list header, those of several lines one after the other."""
    entries = [entry.strip(" \t") for line in lines or () for entry in line.split(",")]
    return [entry for entry in entries if entry]  # empty ones count for nothing (RFC 9110 §5.6.1)


def _at(values: Sequence[str], index: int, count: int) -> str | None:
    """Return the value that belongs to the client's hop, else what the nearest proxy said."""
    if not values:
        return None
    return values[index] if len(values) == count and index < count else values[-1]


def _node(text: str) -> _Hop | None:
    """Return an address with or without a port, IPv6 with or without brackets, or None."""
    port = 0
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        found = _NODE_PORT.fullmatch(rest) if rest else None
        if not bracket or (rest and found is None) or ":" not in host:
            return None
        port = int(found[1]) if found else 0
    elif text.count(":") == 1:
        host, _, digits = text.partition(":")
        if not (digits.isascii() and digits.isdigit() and len(digits) <= 5):
            return None
        port = int(digits)
    else:
        host = text
    if port > 65535 or "%" in host:  # behind a % ipaddress takes any text for a zone
        return None
    try:
        return _Hop(_plain(ipaddress.ip_address(host)), port)
    except ValueError:
        return None


def _elements(line: str) -> list[_Hop | None]:
    """Return the hops of a Forwarded line (RFC 7239 §4); a malformed line is one None."""
    hops: list[_Hop | None] = []
    pairs: dict[str, str] = {}
    at = 0
    while True:
        at = _blanks(line, at)
        found = _PAIR.match(line, at)
        if found is not None:
            name = found[1].lower()
            if name in pairs:
                return [None]
            quoted = found[3]
            pairs[name] = found[2] if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
            at = _blanks(line, found.end())
        if at == len(line) or line[at] == ",":
            if pairs:
                hops.append(_hop(pairs))
            pairs = {}
            if at == len(line):
                return hops
        elif line[at] != ";":
            return [None]
        at += 1


def _hop(pairs: dict[str, str]) -> _Hop | None:
    node = _node(pairs.get("for", ""))
    if node is None:
        return None
    return node._replace(
        scheme=_scheme(pairs.get("proto")), authority=_authority(pairs.get("host"))
    )


def _blanks(line: str, at: int) -> int:
    while at < len(line) and line[at] in " \t":
        at += 1
    return at


def _scheme(text: str | None) -> str | None:
    lower = (text or "").lower()
    return {"http": "http", "https": "https", "ws": "http", "wss": "https"}.get(lower)


def _authority(text: str | None) -> str | None:
    return text if text and _HOST.fullmatch(text) else None


def _port(text: str | None) -> int:
    if text and text.isascii() and text.isdigit() and len(text) <= 5 and int(text) < 65536:
        return int(text)
    return 0


def _has_port(authority: str) -> bool:
    return authority.rpartition("]")[2].count(":") == 1
