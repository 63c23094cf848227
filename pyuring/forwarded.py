"""What proxies say about the client: RFC 7239's Forwarded, and the X-Forwarded fields before it.

Owns the decision whom to believe: the chain is walked from the nearest proxy outwards, as far as
each is trusted. Never believes a field that came from anybody else.
"""

from __future__ import annotations

import functools
import ipaddress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyuring.request import Request

__all__ = ["client_of", "scheme_of"]


def client_of(request: Request, trust: tuple[str, ...]) -> str | None:
    """Return the address of the client, as far as proxies in between are trusted."""
    peer = request._peer()
    nearest = peer[0] if peer is not None else None
    if not trust or not is_trusted(nearest, trust):
        return nearest
    found = nearest
    for said in reversed(_chain(request)):
        if not _is_address(said):  # "unknown", or a name that hides one
            break
        found = said
        if not is_trusted(said, trust):
            break
    return found


def scheme_of(request: Request, trust: tuple[str, ...]) -> str | None:
    """Return the scheme that the nearest proxy names, if it is trusted; else None."""
    if not trust:
        return None
    peer = request._peer()
    if not is_trusted(peer[0] if peer is not None else None, trust):
        return None
    said = [each.get("proto", "") for each in _forwarded(request)]
    if not said:
        said = _values(request, "x-forwarded-proto")
    scheme = said[-1].lower() if said else ""
    return scheme if scheme in ("http", "https") else None


@functools.lru_cache(maxsize=1024)
def is_trusted(address: str | None, trust: tuple[str, ...]) -> bool:
    """Return whether an address (None: a Unix socket) is one of those in `trust`."""
    if "*" in trust:
        return True
    if address is None:
        return "unix" in trust
    try:
        number = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(number, "ipv4_mapped", None)
    networks = (ipaddress.ip_network(each) for each in trust if each != "unix")
    return any(number in network or (mapped and mapped in network) for network in networks)


def _chain(request: Request) -> list[str]:
    """Return the addresses that proxies have noted, the client's first."""
    forwarded = _forwarded(request)
    if forwarded:
        return [_bare(each.get("for", "")) for each in forwarded]
    return [_bare(each) for each in _values(request, "x-forwarded-for")]


def _forwarded(request: Request) -> list[dict[str, str]]:
    """Return the elements of the Forwarded fields (RFC 7239 §4)."""
    found = []
    for element in _values(request, "forwarded"):
        pairs = (pair.partition("=") for pair in element.split(";"))
        found.append({name.strip().lower(): _unquote(value) for name, _, value in pairs})
    return found


def _values(request: Request, wanted: str) -> list[str]:
    """Return the items of a list that may be spread over several fields."""
    lines = [value for name, value in request.header_list() if name.lower() == wanted]
    return [item.strip() for line in lines for item in line.split(",") if item.strip()]


def _unquote(text: str) -> str:
    text = text.strip()
    return text[1:-1] if len(text) >= 2 and text[0] == text[-1] == '"' else text


def _bare(node: str) -> str:
    """Return an address without port and brackets."""
    if node.startswith("["):
        return node[1:].partition("]")[0]
    return node.partition(":")[0] if node.count(":") == 1 else node


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
