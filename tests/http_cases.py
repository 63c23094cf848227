"""THE TABLE: what requests a server of ours accepts and refuses, with the section that says so.

Owns every case the project's tests send, to the parser alone and to a real server; never how they
are sent. `status` None is accepted; INCOMPLETE: the server must go on waiting for the rest.
The limits are the defaults of the parser; no body that is accepted is over a kilobyte.
"""

from __future__ import annotations

from http_cases_framing import FRAMING
from http_messages import (
    INCOMPLETE,
    Case,
    coding,
    cut_points,
    get,
    group,
    host,
    lengths,
    post,
    target,
)

__all__ = ["CASES", "INCOMPLETE", "Case", "cut_points"]

LINE_ENDS = group("9112 §2.2", [
    ("plain GET", get(), None),
    ("bare LF ends everything", get().replace(b"\r\n", b"\n"), 400),
    ("bare LF ends the request line", b"GET / HTTP/1.1\nHost: a\r\n\r\n", 400),
    ("bare LF ends a field", b"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", 400),
    ("bare LF as the empty line", b"GET / HTTP/1.1\r\nHost: a\r\n\n", 400),
    ("bare LF before the request line", b"\n" + get(), 400),
    ("bare CR ends the request line", b"GET / HTTP/1.1\rHost: a\r\n\r\n", 400),
    ("bare CR ends a field", b"GET / HTTP/1.1\r\nHost: a\rX: y\r\n\r\n", 400),
    ("bare CR as the empty line", b"GET / HTTP/1.1\r\nHost: a\r\n\rX: y\r\n\r\n", 400),
    ("bare CR before the request line", b"\r" + get(), 400),
    ("CR CR LF ends a field", b"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", 400),
    ("CR CR LF ends the request line", b"GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", 400),
    ("LF CR ends a field", b"GET / HTTP/1.1\r\nHost: a\n\r\n\r\n", 400),
    ("bare CR in the method", b"GE\rT / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("bare LF in the target", b"GET /a\nb HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("bare CR in a field name", get(b"X\rY: z"), 400),
    ("bare LF in a field name", get(b"X\nY: z"), 400),
    ("one empty line before the request", b"\r\n" + get(), None),
    ("four empty lines before the request", b"\r\n" * 4 + get(), None),
    ("five empty lines before the request", b"\r\n" * 5 + get(), 400),
    ("a thousand empty lines", b"\r\n" * 1000, 400),
    ("space before the first field", b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400),
    ("tab before the first field", b"GET / HTTP/1.1\r\n\tX: y\r\nHost: a\r\n\r\n", 400),
    ("a line of spaces before the first field", b"GET / HTTP/1.1\r\n  \r\nHost: a\r\n\r\n", 400),
    ("space before the request line", b" " + get(), 400),
])  # fmt: skip

VERSIONS = group("9112 §2.3", [
    ("HTTP/1.0 without Host", b"GET / HTTP/1.0\r\n\r\n", None),
    ("HTTP/1.0 with Host", get(line=b"GET / HTTP/1.0"), None),
    ("HTTP/1.2 is as good as 1.1", get(line=b"GET / HTTP/1.2"), None),
    ("HTTP/1.9 is as good as 1.1", get(line=b"GET / HTTP/1.9"), None),
    ("HTTP/1.2 needs Host", b"GET / HTTP/1.2\r\n\r\n", 400),
    ("HTTP/2.0", get(line=b"GET / HTTP/2.0"), 505),
    ("HTTP/3.0", get(line=b"GET / HTTP/3.0"), 505),
    ("HTTP/9.9", get(line=b"GET / HTTP/9.9"), 505),
    ("HTTP/0.9 by name", get(line=b"GET / HTTP/0.9"), 400),
    ("HTTP/0.9 by omission", b"GET /\r\n\r\n", 400),
    ("HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    ("TLS hello", bytes.fromhex("1603010200010001fc0303") + b"\x00" * 40, 400),
    ("SSL 2 hello", bytes.fromhex("802e0103010015000000100700c0"), 400),
    ("version in lower case", get(line=b"GET / http/1.1"), 400),
    ("version in mixed case", get(line=b"GET / Http/1.1"), 400),
    ("another protocol", get(line=b"GET / RTSP/1.1"), 400),
    ("version of two digits", get(line=b"GET / HTTP/1.10"), 400),
    ("major of two digits", get(line=b"GET / HTTP/11.1"), 400),
    ("version with a leading zero", get(line=b"GET / HTTP/01.1"), 400),
    ("version without minor", get(line=b"GET / HTTP/1"), 400),
    ("version without digits", get(line=b"GET / HTTP/"), 400),
    ("version with a comma", get(line=b"GET / HTTP/1,1"), 400),
    ("version with a letter", get(line=b"GET / HTTP/1.x"), 400),
    ("version with a sign", get(line=b"GET / HTTP/+.1"), 400),
    ("space after the version", get(line=b"GET / HTTP/1.1 "), 400),
    ("tab after the version", get(line=b"GET / HTTP/1.1\t"), 400),
    ("space inside the version", get(line=b"GET / HTTP /1.1"), 400),
])  # fmt: skip

REQUEST_LINES = group("9112 §3", [
    ("any token is a method", get(line=b"M-S!#$%&'*+.^_`|~9 / HTTP/1.1"), None),
    ("method in lower case is another method", get(line=b"get / HTTP/1.1"), None),
    ("two spaces after the method", get(line=b"GET  / HTTP/1.1"), 400),
    ("two spaces before the version", get(line=b"GET /  HTTP/1.1"), 400),
    ("tab after the method", get(line=b"GET\t/ HTTP/1.1"), 400),
    ("tab before the version", get(line=b"GET /\tHTTP/1.1"), 400),
    ("vertical tab for a space", get(line=b"GET /\x0bHTTP/1.1"), 400),
    ("form feed for a space", get(line=b"GET\x0c/ HTTP/1.1"), 400),
    ("no target", get(line=b"GET HTTP/1.1"), 400),
    ("empty target", get(line=b"GET  HTTP/1.1"), 400),
    ("no method", get(line=b"/ HTTP/1.1"), 400),
    ("method alone", b"GET\r\nHost: a\r\n\r\n", 400),
    ("method with a colon", get(line=b"GE:T / HTTP/1.1"), 400),
    ("method with a slash", get(line=b"GE/T / HTTP/1.1"), 400),
    ("method in brackets", get(line=b"[GET] / HTTP/1.1"), 400),
    ("method outside ASCII", get(line=b"G\xc3\x89T / HTTP/1.1"), 400),
    ("NUL in the method", get(line=b"G\x00T / HTTP/1.1"), 400),
    ("space in the target", get(line=b"GET /a b HTTP/1.1"), 400),
    ("NUL in the target", target(b"/a\x00b"), 400),
    ("tab in the target", target(b"/a\tb"), 400),
    ("escape in the target", target(b"/a\x1bb"), 400),
    ("DEL in the target", target(b"/a\x7fb"), 400),
    ("raw UTF-8 in the target", target(b"/\xc3\xbc"), 400),
    ("0x85 in the target", target(b"/a\x85b"), 400),
    ("0xa0 in the query", target(b"/?a\xa0b"), 400),
    ("fragment", target(b"/a#b"), 400),
    ("fragment after the query", target(b"/a?b#c"), 400),
    ("a field for a request line", b"Host: a\r\n\r\n", 400),
])  # fmt: skip

TARGETS = [
    *group("9112 §3.2.1", [
        ("origin-form with a query", target(b"/a/b?c=d&e=%20?/"), None),
        ("origin-form with an empty query", target(b"/?"), None),
        ("origin-form with two slashes", target(b"//a/b"), None),
        ("origin-form with a URI in its path", target(b"/http://b/"), None),
        ("origin-form with characters browsers send", target(b"/{a}|b\\c^`\"<>?[x]=1"), None),
        ("target without a slash", target(b"a"), 400),
        ("target begins with the query", target(b"?a"), 400),
        ("target begins with a backslash", target(b"\\a"), 400),
        ("target begins with an escape", target(b"%2fa"), 400),
    ]),
    *group("9112 §3.2.2", [
        ("absolute-form", target(b"http://b/c?d"), None),
        ("absolute-form, https", target(b"https://b:443/"), None),
        ("absolute-form, scheme in capitals", target(b"HTTP://b/"), None),
        ("absolute-form without a path", target(b"http://b"), None),
        ("absolute-form, query without a path", target(b"http://b?c"), None),
        ("absolute-form, IPv6", target(b"http://[::1]:80/"), None),
        ("absolute-form without Host", host(None, b"GET http://b/ HTTP/1.1"), 400),
        ("absolute-form, empty Host", host(b"", b"GET http://b/ HTTP/1.1"), 400),
        ("absolute-form, invalid Host", host(b" a/b", b"GET http://b/ HTTP/1.1"), 400),
        ("absolute-form, userinfo", target(b"http://u:p@b/"), 400),
        ("absolute-form, empty authority", target(b"http:///c"), 400),
        ("absolute-form, empty host", target(b"http://:80/"), 400),
        ("absolute-form, bad port", target(b"http://b:x/"), 400),
        ("absolute-form, one slash", target(b"http:/b/"), 400),
        ("absolute-form, fragment", target(b"http://b/#c"), 400),
        ("absolute-form, another scheme", target(b"ftp://b/"), 400),
        ("absolute-form, file", target(b"file:///etc/passwd"), 400),
        ("absolute-form, javascript", target(b"javascript:alert(1)"), 400),
    ]),
    *group("9112 §3.2.3", [
        ("CONNECT, authority-form", target(b"b:443", b"CONNECT"), 501),
        ("CONNECT, origin-form", target(b"/", b"CONNECT"), 400),
        ("CONNECT, absolute-form", target(b"http://b/", b"CONNECT"), 400),
        ("authority-form without CONNECT", target(b"b:443"), 400),
    ]),
    *group("9112 §3.2.4", [
        ("OPTIONS *", target(b"*", b"OPTIONS"), None),
        ("OPTIONS /", target(b"/", b"OPTIONS"), None),
        ("GET *", target(b"*"), 400),
        ("options * in lower case", target(b"*", b"options"), 400),
        ("OPTIONS *a", target(b"*a", b"OPTIONS"), 400),
    ]),
]  # fmt: skip

HOSTS = group("9112 §3.2", [
    ("Host with a port", host(b" a:8000"), None),
    ("Host without a space", host(b"a"), None),
    ("Host, IPv4", host(b" 127.0.0.1:80"), None),
    ("Host, IPv6", host(b" [2001:db8::1]:80"), None),
    ("Host, field name in capitals", b"GET / HTTP/1.1\r\nHOST: a\r\n\r\n", None),
    ("Host with an underscore", host(b" a_b"), None),
    ("Host, empty port", host(b" a:"), None),
    ("Host empty, target without authority", host(b""), None),
    ("no Host", host(None), 400),
    ("two Hosts", get(b"Host: b"), 400),
    ("two equal Hosts", get(b"Host: a"), 400),
    ("two Hosts in HTTP/1.0", get(b"Host: b", line=b"GET / HTTP/1.0"), 400),
    ("two Hosts in different cases", get(b"hOST: b"), 400),
    ("Host with userinfo", host(b" u@a"), 400),
    ("Host with a path", host(b" a/b"), 400),
    ("Host is a list", host(b" a,b"), 400),
    ("Host is a list with a space", host(b" a, b"), 400),
    ("Host is a URI", host(b" http://a"), 400),
    ("Host with a query", host(b" a?b"), 400),
    ("Host with a fragment", host(b" a#b"), 400),
    ("Host with a space", host(b" a b"), 400),
    ("Host with a tab", host(b" a\tb"), 400),
    ("Host with a backslash", host(b" a\\b"), 400),
    ("Host, port is a word", host(b" a:b"), 400),
    ("Host, port with a sign", host(b" a:+80"), 400),
    ("Host, port too large", host(b" a:65536"), 400),
    ("Host, two ports", host(b" a:80:80"), 400),
    ("Host, port alone", host(b" :80"), 400),
    ("Host, IPv6 without brackets", host(b" ::1"), 400),
    ("Host, bracket not closed", host(b" [::1"), 400),
    ("Host, text after the bracket", host(b" [::1]a"), 400),
    ("Host outside ASCII", host(b" \xc3\xbc"), 400),
    ("Host, invalid in HTTP/1.0", host(b" a/b", b"GET / HTTP/1.0"), 400),
    ("Host, half an escape", host(b" a%2"), 400),
])  # fmt: skip

FIELDS = [
    *group("9112 §5.1", [
        ("space before the colon", get(b"X : y"), 400),
        ("tab before the colon", get(b"X\t: y"), 400),
        ("space before the colon of Host", b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        ("space before the colon of Content-Length", post(b"Content-Length : 5"), 400),
        ("space before the colon of Transfer-Encoding", post(b"Transfer-Encoding : chunked"), 400),
        ("empty name", get(b": y"), 400),
        ("nothing but a colon", get(b":"), 400),
        ("no colon", get(b"X"), 400),
        ("no colon, a space", get(b"X y"), 400),
        ("space in a name", get(b"X Y: z"), 400),
        ("no space after the colon", get(b"X:y"), None),
        ("much white space around the value", get(b"X: \t  y \t "), None),
        ("empty value", get(b"X:"), None),
        ("white space as a value", get(b"X: \t "), None),
        ("colons in a value", get(b"X: a:b:c"), None),
        ("the same field twice", get(b"X: y", b"X: z"), None),
    ]),
    *group("9112 §5.2", [
        ("obs-fold with a space", get(b"X: y", b" z"), 400),
        ("obs-fold with a tab", get(b"X: y", b"\tz"), 400),
        ("obs-fold of nothing", get(b"X: y", b" "), 400),
        ("obs-fold of Content-Length", post(b"Content-Length:", b" 5", body=b"hello"), 400),
        ("obs-fold of Transfer-Encoding", post(b"Transfer-Encoding:", b" chunked"), 400),
        ("field in an obs-fold", get(b"X: y", b" Content-Length: 5"), 400),
    ]),
    *group("9110 §5.6.2", [
        (f"{byte:#04x} in a name", get(b"X%cY: z" % byte), 400)
        for byte in (*b'\x00\x01\x08\x0b\x0c\x1b\x1c\x1d\x1e\x1f"(),/;<=>?@[\\]{}\x7f\x80\x85\xff',)
    ]),
    *group("9110 §5.6.2", [
        ("every token character in a name", get(b"!#$%&'*+-.^_`|~09azAZ: y"), None),
        ("underscore in a name", get(b"Content_Length: 5"), None),
        ("UTF-8 in a name", get(b"\xc3\xbc: y"), 400),
    ]),
    *group("9110 §5.5", [
        (f"{byte:#04x} in a value", get(b"X: y%cz" % byte), 400)
        for byte in (*range(9), *range(0x0B, 0x0D), *range(0x0E, 0x20), 0x7F)
    ]),
    *group("9110 §5.5", [
        ("0x85 in a value is no line end", get(b"X: y\x85Content-Length: 5"), None),
        ("0xa0 in a value", get(b"X: y\xa0z"), None),
        ("UTF-8 in a value", get("X: yüz\u2028".encode()), None),
        ("tab in a value", get(b"X: y\tz"), None),
        ("NUL at the end of a value", get(b"X: y\x00"), 400),
        ("vertical tab before chunked", coding(b" \x0bchunked"), 400),
        ("form feed after a Content-Length", lengths(b"5\x0c"), 400),
    ]),
]  # fmt: skip

EXPECTATIONS = group("9110 §10.1.1", [
    ("100-continue", post(b"Content-Length: 5", b"Expect: 100-continue", body=b"hello"), None),
    ("100-Continue", post(b"Content-Length: 5", b"Expect: 100-Continue", body=b"hello"), None),
    ("100-continue without a body", get(b"Expect: 100-continue"), None),
    ("100-continue in HTTP/1.0", get(b"Expect: 100-continue", line=b"GET / HTTP/1.0"), None),
    ("unknown expectation", get(b"Expect: 200-ok"), 417),
    ("unknown expectation in a list", get(b"Expect: 100-continue, x"), 417),
    ("unknown expectation in a second field", get(b"Expect: 100-continue", b"Expect: x"), 417),
    ("expectation with a parameter", get(b"Expect: 100-continue;a"), 417),
])  # fmt: skip

LIMITS = group("limits", [
    ("request line at its limit", target(b"/" * (8192 - 13)), None),
    ("request line over its limit", target(b"/" * (8192 - 12)), 414),
    ("request line that never ends", b"GET /" + b"a" * 9000, 414),
    ("method that never ends", b"A" * 9000, 414),
    ("field at its limit", get(b"X:" + b"y" * (16384 - 2)), None),
    ("field over its limit", get(b"X:" + b"y" * (16384 - 1)), 431),
    ("field that never ends", get()[:-2] + b"X: " + b"y" * 17000, 431),
    ("field name that never ends", get()[:-2] + b"X" * 17000, 431),
    ("a hundred fields", get(*[b"X: y"] * 99), None),
    ("a hundred and one fields", get(*[b"X: y"] * 100), 431),
    ("head over its limit", get(*[b"X: " + b"y" * 16000] * 5), 431),
], "RFC 6585 §5, 9110 §15.5.15; RFC 9112 §3")  # fmt: skip

CASES: list[Case] = [
    *LINE_ENDS, *VERSIONS, *REQUEST_LINES, *TARGETS, *HOSTS, *FIELDS, *FRAMING,
    *EXPECTATIONS, *LIMITS,
]  # fmt: skip
