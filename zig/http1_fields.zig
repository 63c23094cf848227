//! HTTP/1.1: field lines, and the fields that decide where a message ends and what follows it:
//! Host, Content-Length, Transfer-Encoding, Connection, Expect, Upgrade. Sees complete lines only.

const std = @import("std");
const scan = @import("http1_scan.zig");
const target = @import("http1_target.zig");
const types = @import("http1_types.zig");
const Head = types.Head;
const Reason = types.Reason;
const Span = types.Span;

/// What the lines so far have said, until `finish` weighs it.
pub const Facts = struct {
    host: bool = false,
    length: bool = false,
    coding: bool = false,
    coding_unknown: bool = false,
    close: bool = false,
    keep_alive: bool = false,
    upgrade_named: bool = false,
    upgrade: bool = false,
    expect_continue: bool = false,
    expectation_unknown: bool = false,
};

/// Parse the field line `bytes[start..end]`, CRLF excluded (RFC 9112 §5). Null: it is good.
pub inline fn add(head: *Head, facts: *Facts, bytes: []const u8, start: usize, end: usize) ?Reason {
    const line = bytes[start..end];
    const colon = scan.token_len(line, ':');
    if (colon == 0 or colon == line.len or line[colon] != ':') {
        return name_fault(line, colon, head.field_count == 0);
    }
    const value = scan.trim(line[colon + 1 ..]);
    const value_at = @intFromPtr(value.ptr) - @intFromPtr(bytes.ptr);
    head.fields[head.field_count] = .{
        .name = .between(start, start + colon),
        .value = .between(value_at, value_at + value.len),
    };
    head.field_count += 1;
    const name = line[0..colon];
    switch (colon) {
        "host".len => if (scan.is(name, "host")) {
            const plain = scan.is_plain_authority(bytes, value_at, value.len);
            return add_host(head, facts, value, head.fields[head.field_count - 1].value, plain);
        },
        "expect".len => if (scan.is(name, "expect")) add_expect(facts, value),
        "upgrade".len => if (scan.is(name, "upgrade")) {
            facts.upgrade = true;
        },
        "connection".len => if (scan.is(name, "connection")) add_connection(facts, value),
        "content-length".len => if (scan.is(name, "content-length")) {
            return add_length(head, facts, value);
        },
        "transfer-encoding".len => if (scan.is(name, "transfer-encoding")) {
            return add_coding(head, facts, line[colon + 1 ..]);
        },
        else => {},
    }
    return null;
}

/// What is wrong with a line whose first `good` bytes may stand in a name.
pub noinline fn name_fault(line: []const u8, good: usize, first: bool) Reason {
    @branchHint(.cold);
    if (scan.is_space(line[0])) return if (first) .space_before_fields else .obs_fold;
    if (line[0] == ':') return .name_empty;
    const colon = std.mem.indexOfScalar(u8, line, ':') orelse return .colon_missing;
    const blank = std.mem.indexOfNone(u8, line[good..colon], " \t") == null;
    return if (blank) .space_before_colon else .name_invalid;
}

/// RFC 9112 §3.2: once, and valid. An empty one says that the target URI has no authority. `plain`:
/// it is known to be valid.
fn add_host(head: *Head, facts: *Facts, value: []const u8, span: Span, plain: bool) ?Reason {
    if (facts.host) return .host_twice;
    facts.host = true;
    if (head.target_form == .absolute) {
        // The target's authority holds, yet what comes with it must be one.
        return if (plain or target.valid_authority(value)) null else .host_invalid;
    }
    if (!plain and value.len > 0 and !target.valid_authority(value)) return .host_invalid;
    head.authority = span;
    return null;
}

/// RFC 9112 §6.3: one field of nothing but digits.
noinline fn add_length(head: *Head, facts: *Facts, value: []const u8) ?Reason {
    if (facts.length) return .length_twice;
    facts.length = true;
    if (facts.coding) return .length_with_coding;
    if (value.len == 0) return .length_invalid;
    var length: u64 = 0;
    for (value) |byte| {
        if (byte < '0' or byte > '9') return .length_invalid;
        length = std.math.mul(u64, length, 10) catch return .length_invalid;
        length = std.math.add(u64, length, byte - '0') catch return .length_invalid;
    }
    head.framing = .length;
    head.content_length = length;
    return null;
}

/// RFC 9112 §6.1, §6.3, §7. `raw` is all that follows the colon: `chunked` spelt in any other way is
/// what one server takes for chunked and the next one does not.
noinline fn add_coding(head: *Head, facts: *Facts, raw: []const u8) ?Reason {
    if (facts.coding) return .coding_twice;
    facts.coding = true;
    if (facts.length) return .length_with_coding;
    if (head.minor == 0) return .coding_in_1_0;
    const value = if (raw.len > 0 and raw[0] == ' ') raw[1..] else raw;
    if (!std.mem.eql(u8, value, "chunked")) {
        if (!only_unknown_codings(value)) return .coding_invalid;
        facts.coding_unknown = true; // 501, unless something worse follows
    }
    head.framing = .chunked;
    return null;
}

/// A list of other codings, `chunked` at its end perhaps: well said, but not understood here.
fn only_unknown_codings(value: []const u8) bool {
    var others: u32 = 0;
    var elements = std.mem.splitScalar(u8, value, ',');
    while (elements.next()) |raw| {
        const element = std.mem.trim(u8, raw, " ");
        if (element.len == 0) return false;
        for (element) |byte| if (!scan.token[byte]) return false;
        if (std.ascii.indexOfIgnoreCase(element, "chunked") == null) {
            others += 1;
            continue;
        }
        if (elements.peek() != null or !std.mem.eql(u8, element, "chunked")) return false;
    }
    return others > 0;
}

/// RFC 9112 §9.3; any other option names a field that ends here, as all do.
noinline fn add_connection(facts: *Facts, value: []const u8) void {
    var options = std.mem.splitScalar(u8, value, ',');
    while (options.next()) |raw| {
        const option = scan.trim(raw);
        if (scan.is(option, "close")) facts.close = true;
        if (scan.is(option, "keep-alive")) facts.keep_alive = true;
        if (scan.is(option, "upgrade")) facts.upgrade_named = true;
    }
}

/// RFC 9110 §10.1.1: a list, of which empty elements are ignored.
noinline fn add_expect(facts: *Facts, value: []const u8) void {
    var expectations = std.mem.splitScalar(u8, value, ',');
    while (expectations.next()) |raw| {
        const expectation = scan.trim(raw);
        if (expectation.len == 0) continue;
        if (std.ascii.eqlIgnoreCase(expectation, "100-continue")) {
            facts.expect_continue = true;
        } else {
            facts.expectation_unknown = true;
        }
    }
}

/// The head is complete: what only all its lines together can say.
pub inline fn finish(head: *Head, facts: *const Facts) ?Reason {
    if (!facts.host and head.minor > 0) return .host_missing;
    if (facts.coding_unknown) return .coding_unknown;
    if (facts.expectation_unknown) return .expectation_unknown;
    const modern = head.minor > 0;
    head.keep_alive = !facts.close and (modern or facts.keep_alive);
    head.upgrade = modern and facts.upgrade and facts.upgrade_named;
    const body = head.framing == .chunked or head.content_length > 0;
    head.expect_continue = modern and facts.expect_continue and body;
    return null;
}
