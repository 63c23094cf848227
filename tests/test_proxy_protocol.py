"""The PROXY protocol: HAProxy's two versions, every split, and nothing else."""

from __future__ import annotations

import socket
import struct

import pytest
from hypothesis import given, strategies as st

from pyuring.proxy_protocol import MOST_BYTES, ProxyProtocolError, parse

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
V4 = socket.inet_aton("192.0.2.1") + socket.inet_aton("198.51.100.7") + struct.pack("!HH", 4711, 80)
V6 = (
    socket.inet_pton(socket.AF_INET6, "2001:db8::1")
    + socket.inet_pton(socket.AF_INET6, "2001:db8::2")
    + struct.pack("!HH", 4711, 80)
)
TLV = b"\x04\x00\x05noop!"


def v2(
    command: int = 0x21, family: int = 0x11, body: bytes = V4, length: int | None = None
) -> bytes:
    told = len(body) if length is None else length
    return SIGNATURE + struct.pack("!BBH", command, family, told) + body


GOOD = {
    b"PROXY TCP4 192.0.2.1 198.51.100.7 4711 80\r\n": ("192.0.2.1", "198.51.100.7"),
    b"PROXY TCP6 2001:db8::1 2001:db8::2 4711 80\r\n": ("2001:db8::1", "2001:db8::2"),
    b"PROXY UNKNOWN\r\n": None,
    b"PROXY UNKNOWN ffff::1 whatever 65535 65535\r\n": None,
    v2(): ("192.0.2.1", "198.51.100.7"),
    v2(family=0x12): ("192.0.2.1", "198.51.100.7"),  # datagrams, behind a balancer of such
    v2(family=0x21, body=V6): ("2001:db8::1", "2001:db8::2"),
    v2(body=V4 + TLV + TLV): ("192.0.2.1", "198.51.100.7"),
    v2(command=0x20): None,
    v2(command=0x20, family=0, body=b""): None,
    v2(family=0, body=b"anything"): None,
    v2(family=0x10): None,
    v2(family=0x31, body=bytes(216)): None,
}


def answer(header: bytes) -> tuple[int, object, object]:
    places = GOOD[header]
    if places is None:
        return len(header), None, None
    return len(header), (places[0], 4711), (places[1], 80)


@pytest.mark.parametrize("header", GOOD)
def test_a_header_is_read_and_what_follows_is_left(header: bytes) -> None:
    assert parse(header) == answer(header)
    assert parse(header + b"GET / HTTP/1.1\r\n") == answer(header)
    assert parse(bytearray(header)) == answer(header)  # type: ignore[arg-type]


@pytest.mark.parametrize("header", GOOD)
def test_every_part_of_a_header_asks_for_more(header: bytes) -> None:
    for end in range(len(header)):
        assert parse(header[:end]) is None, end


@pytest.mark.parametrize(
    "wrong",
    [
        b"GET / HTTP/1.1\r\n",
        b"proxy TCP4 192.0.2.1 198.51.100.7 4711 80\r\n",
        b"PROXY  TCP4 192.0.2.1 198.51.100.7 4711 80\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.7 4711 80\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.7 4711\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.7 4711 80 \r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.7 4711 080\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.7 4711 65536\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.7 4711 -1\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.7  80\r\n",
        b"PROXY TCP4 192.0.2.01 198.51.100.7 4711 80\r\n",
        b"PROXY TCP4 2001:db8::1 2001:db8::2 4711 80\r\n",
        b"PROXY TCP6 192.0.2.1 198.51.100.7 4711 80\r\n",
        b"PROXY TCP6 fe80::1%x 2001:db8::2 4711 80\r\n",
        b"PROXY UDP4 192.0.2.1 198.51.100.7 4711 80\r\n",
        b"PROXY\r\n",
        b"PROXY \r\n",
        b"PROXY TCP4\xff 192.0.2.1 198.51.100.7 4711 80\r\n",
        b"PROXY UNKNOWN\n",
        b"PROXY UNKNOWN " + b"x" * 92 + b"\r\n",  # 108 bytes
        b"PROXY UNKNOWN" + b"x" * 200,
        SIGNATURE + b"\x11\x11\x00\x0c" + V4,
        v2(command=0x22),
        v2(family=0x41),
        v2(family=0x13),
        v2(body=V4[:-1]),
        v2(family=0x21),
        v2(family=0x31, body=bytes(215)),
        v2(body=V4 + TLV[:-1]),
        v2(body=V4 + b"\x04\x00"),
        v2(length=MOST_BYTES - 15),
    ],
)
def test_anything_else_is_refused_once_it_is_seen(wrong: bytes) -> None:
    with pytest.raises(ProxyProtocolError):
        parse(wrong)
    verdicts = []
    for end in range(len(wrong) + 1):
        try:
            verdicts.append(parse(wrong[:end]) is None)
        except ProxyProtocolError:
            verdicts.append(False)
    assert True not in verdicts[verdicts.index(False) :], "a verdict was taken back"


def test_the_longest_headers_are_taken() -> None:
    line = b"PROXY UNKNOWN " + b"x" * 91 + b"\r\n"
    assert len(line) == 107
    assert parse(line) == (107, None, None)
    room = MOST_BYTES - 16 - len(V4) - 3
    header = v2(body=V4 + b"\xe0" + struct.pack("!H", room) + bytes(room))
    assert len(header) == MOST_BYTES
    assert parse(header) == (MOST_BYTES, ("192.0.2.1", 4711), ("198.51.100.7", 80))


def test_never_more_than_a_header_is_asked_for() -> None:
    assert parse(b"PROXY UNKNOWN" + b"x" * 93) is None  # 106 bytes
    with pytest.raises(ProxyProtocolError):
        parse(b"PROXY UNKNOWN" + b"x" * 94)
    with pytest.raises(ProxyProtocolError):
        parse(v2(length=65535, body=b""))


@given(
    st.binary(max_size=80),
    st.sampled_from(
        [b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE, SIGNATURE + b"\x21\x11", SIGNATURE + b"\x21"]
    ),
)
def test_any_bytes_give_a_header_a_wish_or_an_error(data: bytes, before: bytes) -> None:
    data = before + data
    try:
        found = parse(data)
    except ProxyProtocolError:
        return
    if found is not None:
        assert 0 < found[0] <= len(data)
        assert parse(data[: found[0]]) == found


@given(st.integers(0, 65535), st.integers(0, 65535), st.ip_addresses(v=4), st.ip_addresses(v=6))
def test_addresses_come_out_as_they_went_in(one: int, two: int, v4: object, v6: object) -> None:
    for name, address, family in (("TCP4", v4, 0x11), ("TCP6", v6, 0x21)):
        expected = (str(address), one), (str(address), two)
        line = f"PROXY {name} {address} {address} {one} {two}\r\n".encode()
        assert parse(line) == (len(line), *expected)
        packed = address.packed  # type: ignore[attr-defined]
        header = v2(family=family, body=packed * 2 + struct.pack("!HH", one, two))
        found = parse(header)
        assert found is not None
        assert found[1] is not None
        assert (socket.getaddrinfo(found[1][0], 0)[0][4][0], found[1][1]) == (
            socket.getaddrinfo(str(address), 0)[0][4][0],
            one,
        )
