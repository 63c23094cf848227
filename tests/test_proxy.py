"""Forwarding headers: who is believed, the walk over the hops, and what clients slip in."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from pyuring.proxy import HEADERS, Client, Trust

PROXIES = ("127.0.0.1", "10.0.0.0/8", "::1", "2001:db8::/32", "unix")


def x_for(*lines: str) -> list[tuple[str, str]]:
    return [("X-Forwarded-For", line) for line in lines]


# --- whom to believe -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("peer", "trusted"),
    [
        ("127.0.0.1", True),
        ("127.0.0.2", False),
        ("10.255.0.1", True),
        ("11.0.0.1", False),
        ("::1", True),
        ("::ffff:10.0.0.1", True),  # IPv4 on a socket for both
        ("::ffff:11.0.0.1", False),
        ("2001:db8::5", True),
        ("fe80::1%eth0", False),
        (None, True),
        ("", False),
        ("nonsense", False),
    ],
)
def test_believes_those_that_were_named(peer: str | None, trusted: bool) -> None:
    trust = Trust(PROXIES)
    assert trust.trusts(peer) is trusted
    expected = "192.0.2.1" if trusted else peer
    assert trust.resolve(peer, x_for("192.0.2.1")).host == expected


def test_nobody_is_believed_unless_named_and_everybody_with_a_star() -> None:
    assert not any(Trust(()).trusts(each) for each in ("127.0.0.1", "::1", None))
    assert all(Trust(("*",)).trusts(each) for each in ("127.0.0.1", "8.8.8.8", None, "x"))


def test_a_zone_of_the_peers_does_not_hide_it() -> None:
    assert Trust(("fe80::1",)).trusts("fe80::1%eth0")


def test_goes_wherever_a_tuple_of_addresses_goes() -> None:
    trust = Trust(PROXIES)
    assert isinstance(trust, tuple)
    assert list(trust) == list(PROXIES)
    assert "unix" in trust
    assert not Trust(())
    assert isinstance(hash(trust), int)


@pytest.mark.parametrize("wrong", ["localhost", "10.0.0.1/8", "10.0.0.0/33", ""])
def test_nonsense_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Trust((wrong,))


def test_headers_are_one_family_or_the_other() -> None:
    with pytest.raises(ValueError, match="'via' is none of x-forwarded-for"):
        Trust((), ("via",))
    with pytest.raises(ValueError, match="'forwarded' says it all"):
        Trust((), ("forwarded", "x-forwarded-for"))


# --- the walk --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "client"),
    [
        ((), "127.0.0.1"),
        (("192.0.2.1",), "192.0.2.1"),
        (("6.6.6.6, 192.0.2.1",), "192.0.2.1"),  # the client wrote the first itself
        (("6.6.6.6, 192.0.2.1, 10.0.0.1",), "192.0.2.1"),
        (("6.6.6.6", "192.0.2.1", "10.0.0.1"), "192.0.2.1"),  # one line each
        (("6.6.6.6,192.0.2.1 ,\t10.0.0.1",), "192.0.2.1"),
        (("10.0.0.9, 10.0.0.1",), "10.0.0.9"),  # proxies only: the farthest
        (("6.6.6.6, garbage, 10.0.0.1",), "10.0.0.1"),  # what is left of it is nobody's word
        (("6.6.6.6, unknown",), "127.0.0.1"),
        (("192.0.2.1, , ",), "192.0.2.1"),
        (("::ffff:192.0.2.1",), "192.0.2.1"),
        (("2001:DB9::1",), "2001:db9::1"),
    ],
)
def test_the_client_is_the_nearest_that_is_no_proxy(lines: tuple[str, ...], client: str) -> None:
    assert Trust(PROXIES).resolve("127.0.0.1", x_for(*lines)).host == client


@pytest.mark.parametrize(
    ("node", "host", "port"),
    [
        ("192.0.2.1:4711", "192.0.2.1", 4711),
        ("[2001:db9::1]", "2001:db9::1", 0),
        ("[2001:db9::1]:443", "2001:db9::1", 443),
        ("2001:db9::1", "2001:db9::1", 0),
    ],
)
def test_nodes_may_have_ports(node: str, host: str, port: int) -> None:
    assert Trust(PROXIES).resolve("::1", x_for(node), 5)[:2] == (host, port)


@pytest.mark.parametrize(
    "node",
    [
        "192.0.2.1:", "192.0.2.1:x", "192.0.2.1:65536", "192.0.2.1:٤", "192.0.2.01", "1",
        "[192.0.2.1]", "[2001:db9::1", "[2001:db9::1]x", "[2001:db9::1]:", "2001:db9::1%\x1b[2J",
        "fe80::1%eth0", "192.0.2.1/32", '"192.0.2.1"', "example.org", "_hidden", "-",
    ],
)  # fmt: skip
def test_a_malformed_node_leaves_the_peer(node: str) -> None:
    assert Trust(PROXIES).resolve("10.0.0.2", x_for(node), 5) == Client("10.0.0.2", 5)


def test_a_list_without_end_is_walked_for_a_while_only() -> None:
    host = Trust(("*",)).resolve("127.0.0.1", x_for("6.6.6.6" + ", 10.0.0.1" * 1000)).host
    assert host == "10.0.0.1"


# --- scheme, host, port ----------------------------------------------------------------------


ALL_X = HEADERS[:-1]


def resolve(headers: tuple[str, ...] = ALL_X, **fields: str) -> Client:
    sent = [(f"X-Forwarded-{name.title()}", value) for name, value in fields.items()]
    return Trust(PROXIES, headers).resolve("127.0.0.1", sent, 5)


def test_the_scheme_is_what_the_clients_hop_said() -> None:
    assert resolve(proto="https").scheme == "https"
    assert resolve(proto="HTTPS").scheme == "https"
    assert resolve(proto="wss").scheme == "https"
    assert resolve(proto="gopher").scheme is None
    both = {"proto": "https, http"}
    assert resolve(**{"for": "192.0.2.1, 10.0.0.1"}, **both).scheme == "https"
    assert resolve(**{"for": "10.0.0.1, 192.0.2.1"}, **both).scheme == "http"
    assert resolve(**{"for": "192.0.2.1"}, **both).scheme == "http"  # lists that do not match
    assert resolve(**both).scheme == "http"


def test_host_and_port_are_what_was_asked_for() -> None:
    assert resolve(host="example.org").authority == "example.org"
    assert resolve(host="example.org", port="8443").authority == "example.org:8443"
    assert resolve(host="example.org:1", port="8443").authority == "example.org:1"
    assert resolve(host="example.org", port="443", proto="https").authority == "example.org"
    assert resolve(host="[::1]", port="81").authority == "[::1]:81"
    for wrong in ("a b", "a/b", "a@b", "a\x1b", "é", "a:b", "", "[x]"):
        assert resolve(host=wrong).authority is None, wrong
    for wrong in ("x", "65536", "-1", "٤"):
        assert resolve(host="example.org", port=wrong).authority == "example.org"


def test_only_the_headers_that_were_named_count() -> None:
    usual = ("x-forwarded-for", "x-forwarded-proto")
    found = resolve(usual, host="evil.example", port="1", proto="https")
    assert found == Client("127.0.0.1", 5, "https", None)
    sent = [("Forwarded", "for=6.6.6.6;proto=https"), *x_for("192.0.2.1")]
    assert Trust(PROXIES).resolve("127.0.0.1", sent).host == "192.0.2.1"
    assert Trust(PROXIES, ("forwarded",)).resolve("127.0.0.1", sent).host == "6.6.6.6"


# --- RFC 7239 --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "client"),
    [
        (["for=192.0.2.1"], ("192.0.2.1", 0, None, None)),
        (["For=192.0.2.1;Proto=HTTPS;host=a.example;by=x"],
         ("192.0.2.1", 0, "https", "a.example")),
        (['for="[2001:db9::1]:4711"'], ("2001:db9::1", 4711, None, None)),
        (['for="192.0.2.1:80" ; proto=http'], ("192.0.2.1", 80, "http", None)),
        (["for=6.6.6.6, for=192.0.2.1;proto=https, for=10.0.0.1;proto=http"],
         ("192.0.2.1", 0, "https", None)),
        (["for=6.6.6.6", "for=192.0.2.1", "for=10.0.0.1"], ("192.0.2.1", 0, None, None)),
        (['for="19\\2.0.2.1"'], ("192.0.2.1", 0, None, None)),
        (["for=192.0.2.1;;proto=https,"], ("192.0.2.1", 0, "https", None)),
        (["for=unknown"], ("127.0.0.1", 5, None, None)),
        (["for=_hidden"], ("127.0.0.1", 5, None, None)),
        (["proto=https"], ("127.0.0.1", 5, None, None)),
        (['for="192.0.2.1'], ("127.0.0.1", 5, None, None)),
        (['for=", for=192.0.2.1'], ("127.0.0.1", 5, None, None)),
        (["for=192.0.2.1;for=6.6.6.6"], ("127.0.0.1", 5, None, None)),
        (["for = 192.0.2.1"], ("127.0.0.1", 5, None, None)),
        (["for=192.0.2.1 for=6.6.6.6"], ("127.0.0.1", 5, None, None)),
        (["for=[2001:db9::1]"], ("127.0.0.1", 5, None, None)),
        (['for="', "for=192.0.2.1"], ("192.0.2.1", 0, None, None)),
        ([""], ("127.0.0.1", 5, None, None)),
    ],
)  # fmt: skip
def test_forwarded_is_read_by_its_grammar(lines: list[str], client: Client) -> None:
    sent = [("forwarded", line) for line in lines]
    assert Trust(PROXIES, ("forwarded",)).resolve("127.0.0.1", sent, 5) == client


# --- whatever clients send -------------------------------------------------------------------

TEXT = st.text(st.sampled_from('for=;,"\\ .:[]%0129abx\t\x1bé'), max_size=40)


@given(TEXT, st.sampled_from(HEADERS))
def test_what_a_client_sends_through_a_proxy_changes_nothing(text: str, name: str) -> None:
    """The proxy appends, in the same line or in one of its own."""
    for headers, own in ((HEADERS[:1], "192.0.2.1"), (HEADERS[-1:], "for=192.0.2.1")):
        trust = Trust(("127.0.0.1",), headers)
        sent = [(name, text), (headers[0], own)]
        assert trust.resolve("127.0.0.1", sent, 5)[:2] == ("192.0.2.1", 0)
        same_line = [(headers[0], f"{text}, {own}")]
        assert trust.resolve("127.0.0.1", same_line, 5).host in ("192.0.2.1", "127.0.0.1")


@given(st.lists(st.tuples(st.sampled_from(HEADERS), TEXT), max_size=6))
def test_never_fails_and_gives_clean_text(sent: list[tuple[str, str]]) -> None:
    for headers in (ALL_X, HEADERS[-1:]):
        host, port, scheme, authority = Trust(("*",), headers).resolve("192.0.2.9", sent, 5)
        assert host is not None
        assert set(host) <= set("0123456789abcdef.:")
        assert 0 <= port < 65536
        assert scheme in (None, "http", "https")
        assert authority is None or (authority.isascii() and authority.isprintable())
    assert Trust(()).resolve("192.0.2.9", sent, 5) == Client("192.0.2.9", 5)
