//! HTTP/1.1: the parser's tests, every request whole, cut in two at every byte, and byte by byte.
//! tests/http_cases.py has the table of cases; here are the rules' edges and what the parser reports.

const std = @import("std");
const http1 = @import("http1.zig");
const Drive = @import("http1_drive.zig").Drive;
const Verdict = @import("http1_drive.zig").Verdict;
const testing = std.testing;

test {
    _ = @import("http1_scan.zig");
    _ = @import("http1_target.zig");
    _ = @import("http1_fields.zig");
    _ = @import("http1_body.zig");
    _ = @import("http1_invariants.zig");
}

/// Feed in all three manners, which must agree.
fn feed(drive: *Drive, input: []const u8) !Verdict {
    const whole = drive.run(input, .whole);
    for (0..input.len) |index| {
        try testing.expectEqualDeep(whole, drive.run(input, .{ .at = index }));
    }
    try testing.expectEqualDeep(whole, drive.run(input, .bytes));
    return whole;
}

fn expect(reason: ?http1.Reason, input: []const u8) !void {
    var drive: Drive = .{};
    return expect_with(&drive, reason, input);
}

fn expect_with(drive: *Drive, reason: ?http1.Reason, input: []const u8) !void {
    errdefer std.debug.print("input: {f}\n", .{std.ascii.hexEscape(input, .lower)});
    const verdict = try feed(drive, input);
    try testing.expectEqual(reason, verdict.reason);
    try testing.expectEqual(if (reason) |given| given.status() else 0, verdict.status);
}

const host = "Host: a\r\n";

/// A request line and fields around what is under test.
inline fn line(comptime text: []const u8) []const u8 {
    return text ++ "\r\n" ++ host ++ "\r\n";
}
inline fn field(comptime text: []const u8) []const u8 {
    return "GET / HTTP/1.1\r\n" ++ host ++ text ++ "\r\n\r\n";
}
inline fn chunked(comptime text: []const u8) []const u8 {
    return field("Transfer-Encoding: chunked") ++ text;
}

test "http1 lines end in CRLF, a few empty ones are skipped" {
    try expect(null, "\r\n\r\n\r\n\r\n" ++ line("GET / HTTP/1.1"));
    try expect(.too_many_empty_lines, "\r\n\r\n\r\n\r\n\r\n" ++ line("GET / HTTP/1.1"));
    try expect(.bare_lf, "\n" ++ line("GET / HTTP/1.1"));
    try expect(.bare_cr, "\r" ++ line("GET / HTTP/1.1"));
    try expect(.bare_lf, "GET / HTTP/1.1\n" ++ host ++ "\r\n");
    try expect(.bare_cr, "GET / HTTP/1.1\r" ++ host ++ "\r\n");
    try expect(.bare_lf, field("X: y\nZ: w"));
    try expect(.bare_cr, field("X: y\rZ: w"));
    try expect(.control_byte, field("X: y\x0bz"));
    try expect(null, field("X: y\t\x80\x85\xff"));
}

test "http1 request line: one space each, token, form, version" {
    try expect(.target_byte, line("GET  / HTTP/1.1"));
    try expect(.target_byte, line("GET /  HTTP/1.1"));
    try expect(.http_0_9, line("GET /"));
    try expect(.http_0_9, line("GET / HTTP/0.9"));
    try expect(.method_invalid, line("G(T / HTTP/1.1"));
    try expect(.version_malformed, line("GET / http/1.1"));
    try expect(.version_malformed, line("GET / HTTP/1.10"));
    try expect(.version_unsupported, line("GET / HTTP/3.0"));
    try expect(.http_2_preface, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    try expect(.control_byte, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03");
    try expect(.target_byte, line("GET /\xc3\xbc HTTP/1.1"));
    try expect(.target_byte, line("GET /a#b HTTP/1.1"));
    try expect(.target_form, line("GET a HTTP/1.1"));
    try expect(.target_form, line("GET * HTTP/1.1"));
    try expect(.host_invalid, line("GET http://u@b/ HTTP/1.1"));
    try expect(.connect_refused, line("CONNECT b:443 HTTP/1.1"));
    try expect(.target_form, line("CONNECT / HTTP/1.1"));
}

test "http1 field lines: a token, a colon, no folding" {
    try expect(.space_before_fields, "GET / HTTP/1.1\r\n " ++ host ++ "\r\n");
    try expect(.obs_fold, field("X: y\r\n z"));
    try expect(.space_before_colon, field("X : y"));
    try expect(.name_empty, field(": y"));
    try expect(.colon_missing, field("X"));
    try expect(.name_invalid, field("X Y: z"));
    try expect(.host_missing, "GET / HTTP/1.1\r\n\r\n");
    try expect(null, "GET / HTTP/1.0\r\n\r\n");
    try expect(.host_twice, field("hOST: a"));
    try expect(.host_invalid, "GET / HTTP/1.1\r\nHost: a,b\r\n\r\n");
}

test "http1 framing: nothing that two servers could read in two ways" {
    try expect(.length_with_coding, field("Content-Length: 0\r\nTransfer-Encoding: chunked"));
    try expect(.length_with_coding, field("Transfer-Encoding: gzip\r\nContent-Length: 0"));
    try expect(.length_twice, field("Content-Length: 5\r\nContent-Length: 5"));
    inline for (.{ "+5", "", "5, 5", "0x5", "1_0", "5 5", "18446744073709551616" }) |value| {
        try expect(.length_invalid, field("Content-Length: " ++ value));
    }
    inline for (.{ "  chunked", "\tchunked", " Chunked", " xchunked", " chunked, chunked", " chunked " }) |value| {
        try expect(.coding_invalid, field("Transfer-Encoding:" ++ value));
    }
    try expect(.coding_twice, field("Transfer-Encoding: chunked\r\nTransfer-Encoding: x"));
    try expect(.coding_unknown, field("Transfer-Encoding: gzip, chunked"));
    try expect(.coding_in_1_0, "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n");
    try expect(.expectation_unknown, field("Expect: x"));
}

test "http1 chunks: sizes, extensions, ends, trailers" {
    try expect(null, chunked("3\r\nabc\r\nA;x=\"y\"\r\n0123456789\r\n0\r\nX: y\r\n\r\n"));
    inline for (.{ "0x3", " 3", "3 ", "-3", "", "g", "\xff" }) |size| {
        try expect(.chunk_size_invalid, chunked(size ++ "\r\nabc\r\n0\r\n\r\n"));
    }
    try expect(.chunk_size_too_long, chunked("00000000000000003\r\n"));
    try expect(.chunk_end_missing, chunked("3\r\nabcd\r\n0\r\n\r\n"));
    try expect(.bare_lf, chunked("3\r\nabc\n0\r\n\r\n"));
    try expect(.bare_cr, chunked("3;a\rb\r\n"));
    try expect(.trailer_forbidden, chunked("0\r\nContent-length: 5\r\n\r\n"));
    try expect(.obs_fold, chunked("0\r\nX: y\r\n z\r\n\r\n"));
    try expect(.colon_missing, chunked("0\r\nX\r\n\r\n"));
    var drive: Drive = .{};
    const text = chunked("3\r\nabc\r\nA;x\r\n0123456789\r\n0\r\nX: y\r\n\r\n");
    var data: [32]u8 = undefined;
    drive.sink.buffer = &data;
    const verdict = try feed(&drive, text ++ "GET / HTTP/1.1\r\n");
    try testing.expectEqual(text.len, verdict.consumed);
    try testing.expectEqualStrings("abc0123456789", data[0..verdict.body_len]);
}

test "http1 every limit holds, and its value is still good" {
    var drive: Drive = .{};
    const limits = &drive.limits;
    limits.* = .{ .body = 8, .request_line = 16, .field_line = 16, .field_count = 2, .chunk_extensions = 4, .trailers = 8 };
    try expect_with(&drive, null, line("GET /ab HTTP/1.1"));
    try expect_with(&drive, .request_line_too_long, line("GET /abc HTTP/1.1"));
    try expect_with(&drive, null, field("X: 3456789012345"));
    try expect_with(&drive, .field_line_too_long, field("X: 34567890123456"));
    try expect_with(&drive, .fields_too_many, field("X:\r\nX:"));
    try expect_with(&drive, .body_too_large, "GET / HTTP/1.0\r\nContent-Length:9\r\n\r\n");
    limits.field_line = 64;
    try expect_with(&drive, null, chunked("4;ab\r\nabcd\r\n4\r\nabcd\r\n0;\r\nX:cdef\r\n\r\n"));
    try expect_with(&drive, .body_too_large, chunked("4\r\nabcd\r\n5\r\nabcd\r\n0\r\n\r\n"));
    try expect_with(&drive, .body_too_large, chunked("1\r\na\r\nffffffffffffffff\r\n"));
    try expect_with(&drive, .chunk_extensions_too_long, chunked("4;ab\r\nabcd\r\n0;b\r\n\r\n"));
    try expect_with(&drive, .trailers_too_large, chunked("0\r\nX:cdefg\r\n\r\n"));
    // The head's limit counts every byte: with `head` bytes in the buffer nothing more is asked for.
    const whole = line("GET / HTTP/1.1");
    limits.head = whole.len;
    try expect_with(&drive, null, whole);
    limits.head = whole.len - 1;
    try expect_with(&drive, .head_too_large, whole);
    limits.head = 10;
    try expect_with(&drive, .request_line_too_long, whole);
    limits.* = .{ .field_count = 1 << 20, .body = 0 };
    try expect_with(&drive, null, "GET / HTTP/1.0\r\n" ++ "a:\r\n" ** http1.fields_max ++ "\r\n");
    try expect_with(&drive, .fields_too_many, "GET / HTTP/1.0\r\n" ++ "a:\r\n" ** (http1.fields_max + 1));
}

fn head_of(parser: *http1.HeadParser, input: []const u8) !*http1.Head {
    parser.reset();
    const result = parser.feed(input, &.{});
    try testing.expectEqual(http1.HeadParser.Result{ .done = input.len }, result);
    return &parser.head;
}

test "http1 head: target's parts, whatever its form" {
    const Wanted = struct { []const u8, []const u8, []const u8, []const u8 };
    inline for ([_]Wanted{
        .{ "/a/b?c?d", "/a/b", "c?d", "a" },
        .{ "/?", "/", "", "a" },
        .{ "//x", "//x", "", "a" },
        .{ "http://b:1/c?d", "/c", "d", "b:1" },
        .{ "http://b", "/", "", "b" },
        .{ "HTTPS://[::1]?d", "/", "d", "[::1]" },
        .{ "*", "*", "", "a" },
    }) |wanted| {
        const input = "OPTIONS " ++ wanted[0] ++ " HTTP/1.1\r\n" ++ host ++ "\r\n";
        var parser: http1.HeadParser = undefined;
        const head = try head_of(&parser, input);
        try testing.expectEqualStrings("OPTIONS", head.method.of(input));
        try testing.expectEqualStrings(wanted[0], head.target.of(input));
        try testing.expectEqualStrings(wanted[1], head.path.of(input));
        try testing.expectEqualStrings(wanted[2], head.query.of(input));
        try testing.expectEqualStrings(wanted[3], head.authority.of(input));
    }
}

test "http1 head: persistence, expectation, upgrade, fields" {
    var parser: http1.HeadParser = undefined;
    try testing.expect((try head_of(&parser, field("X: y"))).keep_alive);
    try testing.expect(!(try head_of(&parser, field("Connection: x, Close"))).keep_alive);
    try testing.expect(!(try head_of(&parser, field("Connection: close\r\nConnection: keep-alive"))).keep_alive);
    try testing.expect(!(try head_of(&parser, "GET / HTTP/1.0\r\n\r\n")).keep_alive);
    try testing.expect((try head_of(&parser, "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n")).keep_alive);
    const expecting = "Expect: 100-Continue\r\nContent-Length: ";
    try testing.expect((try head_of(&parser, field(expecting ++ "5"))).expect_continue);
    try testing.expect(!(try head_of(&parser, field(expecting ++ "0"))).expect_continue);
    try testing.expect(!(try head_of(&parser, "GET / HTTP/1.0\r\n" ++ expecting ++ "5\r\n\r\n")).expect_continue);
    try testing.expect((try head_of(&parser, field("Upgrade: x\r\nConnection: Upgrade"))).upgrade);
    try testing.expect(!(try head_of(&parser, field("Upgrade: x"))).upgrade);
    try testing.expect(!(try head_of(&parser, field("Connection: upgrade"))).upgrade);
    const input = field("X-A: \t b c \t\r\nx-a: d\r\nE:");
    const head = try head_of(&parser, input);
    try testing.expectEqual(4, head.field_count);
    try testing.expectEqualStrings("b c", head.find(input, "x-a").?);
    try testing.expectEqualStrings("", head.find(input, "e").?);
    try testing.expectEqual(null, head.find(input, "x"));
    var copy: http1.HeadParser = undefined;
    copy.copy_from(&parser);
    try testing.expectEqualStrings("d", copy.head.fields[2].value.of(input));
    try testing.expectEqual(parser.phase, copy.phase);
}

test "http1 started: empty lines are not a request" {
    var parser: http1.HeadParser = undefined;
    parser.reset();
    for ([_][]const u8{ "", "\r", "\r\n", "\r\n\r" }) |input| {
        try testing.expectEqual(http1.HeadParser.Result.more, parser.feed(input, &.{}));
        try testing.expect(!parser.started());
    }
    _ = parser.feed("\r\n\r\nG", &.{});
    try testing.expect(parser.started());
}

test "http1 remaining: known for a length, not for chunks" {
    var parser: http1.HeadParser = undefined;
    const limits: http1.Limits = .{ .body = 100 };
    var sized = http1.BodyDecoder.init(try head_of(&parser, field("Content-Length: 5")), &limits).ok;
    try testing.expectEqual(5, sized.remaining());
    try testing.expectEqual(2, sized.next("he", &limits).step.consumed);
    try testing.expectEqual(3, sized.remaining());
    const last = sized.next("lloGET", &limits).step;
    try testing.expectEqual(.done, last.state);
    try testing.expectEqualStrings("llo", last.data);
    try testing.expect(sized.is_done());
    const chunks = http1.BodyDecoder.init(try head_of(&parser, chunked("")), &limits).ok;
    try testing.expectEqual(null, chunks.remaining());
    const none = http1.BodyDecoder.init(try head_of(&parser, field("X: y")), &limits).ok;
    try testing.expect(none.is_done() and none.remaining() == 0);
}

test "http1 reasons have words and a status each" {
    for (std.enums.values(http1.Reason)) |reason| {
        try testing.expect(reason.text().len > 10);
        try testing.expect(reason.status() >= 400);
    }
}
