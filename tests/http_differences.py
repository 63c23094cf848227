"""Where our parser and h11 or llhttp part, and why: docs/http-differences.md as data.

A difference that is in none of these classes fails tests/test_http1_differential.py.
"""

from __future__ import annotations

BOTH = ("h11", "llhttp")

# Our reason to refuse -> who accepts it (or would wait for more), and why we do not.
STRICTER: dict[str, tuple[tuple[str, ...], str]] = {
    "bare_cr": (BOTH, "line ends are CRLF (9112 §2.2); h11 allows a CR in chunk extensions, "
                      "llhttp skips one before a request"),
    "bare_lf": (BOTH, "line ends are CRLF (9112 §2.2); h11 takes LF as well, llhttp skips one "
                      "before a request"),
    "control_byte": (("h11",), "no control byte in a value (9110 §5.5); h11 lets most through"),
    "too_many_empty_lines": (("llhttp",), "we skip four (9112 §2.2); llhttp any number"),
    "request_line_malformed": (("llhttp",), "one space each (9112 §3); llhttp skips several"),
    "http_0_9": (BOTH, "HTTP/0.9 is not spoken; h11 takes `HTTP/0.9`, llhttp its line as well"),
    "http_2_preface": (BOTH, "how HTTP/2 clients begin (9113 §3.4), no request; h11 takes it"),
    "version_malformed": (("llhttp",), "`HTTP/` only; llhttp also takes `RTSP/` and `ICE/`"),
    "version_unsupported": (BOTH, "another major version is 505 (9110 §15.6.6)"),
    "target_byte": (BOTH, "no fragment, no second space in a target (9112 §3.2)"),
    "target_form": (BOTH, "the form goes with the method (9112 §3.2); they look at bytes only"),
    "connect_refused": (BOTH, "no proxy: CONNECT is 501; a parser alone has no such opinion"),
    "obs_fold": (("h11",), "no folded fields (9112 §5.2); h11 joins them"),
    "host_missing": (BOTH, "9112 §3.2; h11 asks for it in exactly 1.1, llhttp never"),
    "host_twice": (BOTH, "9112 §3.2; llhttp does not look, h11 at whole heads only"),
    "host_invalid": (BOTH, "9112 §3.2; they do not look at its value"),
    "length_invalid": (("h11",), "h11 joins a folded or listed Content-Length"),
    "length_twice": (("h11",), "any repetition is refused; h11 takes equal ones"),
    "length_with_coding": (("h11",), "9112 §6.1; h11 lets Transfer-Encoding win, as it may"),
    "coding_in_1_0": (BOTH, "faulty framing in 1.0 (9112 §6.1); they read it as chunked"),
    "coding_twice": (("llhttp",), "one field; llhttp looks at the last coding of all of them"),
    "coding_invalid": (BOTH, "`chunked` in exactly that spelling; they take any case and space"),
    "coding_unknown": (("llhttp",), "unknown codings are 501; llhttp asks for a final chunked"),
    "expectation_unknown": (BOTH, "417 (9110 §10.1.1); a parser alone has no such opinion"),
    "chunk_size_invalid": (("h11",), "digits only (9112 §7.1); h11 allows white space after them"),
    "chunk_size_too_long": (BOTH, "16 digits; h11 allows 20, llhttp any number of zeros"),
    "trailer_forbidden": (BOTH, "no framing field and no Host in trailers (9110 §6.5.1)"),
    "body_too_large": (BOTH, "we have a limit, they have none"),
}  # fmt: skip

# What we accept or wait for and they refuse: who, how their words begin, and why we do not refuse.
LAXER: tuple[tuple[str, str, str], ...] = (
    ("h11", "no request line received", "empty lines before a request are skipped (9112 §2.2)"),
    ("llhttp", "Invalid method encountered", "any token is a method (9110 §9.1), not just a list"),
    ("llhttp", "Expected space after method", "the same"),
    ("llhttp", "Invalid HTTP version", "other 1.x are as good as 1.1 (9110 §2.5)"),
    ("llhttp", "Invalid character in chunk extensions", "extensions are ignored (9112 §7.1.1): "
     "anything but control bytes"),
)  # fmt: skip

# llhttp takes a request with Upgrade for its last, whose body, if any, is no longer HTTP. We read
# the body that the framing fields announce, since the application may not upgrade (9110 §7.8).
UPGRADE = b"upgrade:"


def explanation(peer: str, ours: str, theirs: str, words: str, request: bytes) -> str | None:
    """Return why this difference is meant, or None. `ours` is a reason, or accepted, incomplete."""
    if peer == "llhttp" and UPGRADE in request.lower():
        return "Upgrade"
    if theirs == "refused":
        for who, beginning, why in LAXER:
            if peer == who and words.startswith(beginning):
                return why
        # They may see at a byte what we see when its line is complete.
        return "we look at complete lines" if ours == "incomplete" else None
    if ours in ("accepted", "incomplete"):
        return None
    if theirs == "incomplete" and (peer == "h11" or ours == "length_invalid"):
        return "h11 looks at complete heads, llhttp at an empty length a byte later"
    who_else, why = STRICTER.get(ours, ((), ""))
    return why if peer in who_else else None
