"""The native parser keeps the table: whole, cut in two at every byte, and byte by byte.

No server here; http_cases.py has the cases, http1_native.py asks the parser.
"""

from __future__ import annotations

import re

import pytest
from http_cases import CASES, Case

pytest.importorskip("ziglang", reason="the parser's check program is compiled with ziglang")

from http1_native import BYTES, EVERY, INCOMPLETE, WHOLE, Verdict, ask

WANTED = {None: 0, 0: INCOMPLETE}


@pytest.fixture(scope="module")
def verdicts() -> dict[str, Verdict]:
    found = ask((case.request, EVERY) for case in CASES)
    assert len(found) == len(CASES)
    return {case.name + case.section: verdict for case, verdict in zip(CASES, found, strict=True)}


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.section} {case.name}")
def test_case_has_its_verdict_however_it_is_cut(case: Case, verdicts: dict[str, Verdict]) -> None:
    verdict = verdicts[case.name + case.section]
    assert verdict.status == WANTED.get(case.status, case.status), verdict
    if case.status is None:
        assert verdict.consumed == len(case.request)


def test_names_are_unique_and_sections_are_named() -> None:
    names = [(case.section, case.name) for case in CASES]
    assert len(set(names)) == len(names)
    assert len(names) >= 150
    assert all(re.fullmatch(r"(9110|9112) §[\d.]+|limits", case.section) for case in CASES)


def test_what_follows_an_accepted_request_is_left_alone() -> None:
    accepted = [case for case in CASES if case.status is None]
    following = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n"
    for case, verdict in zip(
        accepted, ask((case.request + following, EVERY) for case in accepted), strict=True
    ):
        assert (verdict.status, verdict.consumed) == (0, len(case.request)), case.name


def test_no_accepted_request_is_complete_before_its_last_byte() -> None:
    """RFC 9112 §8: every prefix is incomplete, none is refused."""
    asked = [
        (case.request[:length], WHOLE)
        for case in CASES
        if case.status is None and len(case.request) < 400
        for length in range(len(case.request))
    ]
    assert {verdict.status for verdict in ask(asked)} == {INCOMPLETE}


@pytest.mark.parametrize(
    ("limit", "request_bytes", "status"),
    [
        ("request_line", b"GET /%s HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        ("field_line", b"GET / HTTP/1.1\r\nHost: a\r\nX: %s\r\n\r\n", 431),
        ("head", b"GET / HTTP/1.1\r\nHost: a\r\nX: %s\r\n\r\n", 431),
        ("chunk_extensions", b"0;%s\r\n\r\n", 400),
        ("trailers", b"0\r\nX: %s\r\n\r\n", 431),
        ("body", b"40;%s\r\n", 413),
    ],
)
def test_every_limit_holds_one_byte_at_a_time(
    limit: str, request_bytes: bytes, status: int
) -> None:
    if not request_bytes.startswith(b"GET"):
        request_bytes = (
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + request_bytes
        )
    # A request line of 64 bytes must be within its limit for the others to be reached.
    value = "100" if limit == "head" else "60"
    over = request_bytes.replace(b"%s", b"a" * 90)
    for manner in (WHOLE, BYTES, EVERY):
        (verdict,) = ask([(over, manner)], (limit, value))
        assert verdict.status == status, (limit, verdict)


def test_the_canary_differs() -> None:
    """What the table is compared with does notice: a case with its bytes changed fails."""
    (good,) = ask([(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", EVERY)])
    (bad,) = ask([(b"GET / HTTP/1.1\r\nHost: a\n\r\n", EVERY)])
    assert (good.status, bad.status) == (0, 400)
