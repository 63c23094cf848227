//! Writes the head of a reply, and the frames of a chunked body, into memory of the caller's.
//! No I/O and no allocation. Refuses, never escapes, what would end a line (RFC 9112 §11.1).

const std = @import("std");
const http1_scan = @import("http1_scan.zig");
const assert = std.debug.assert;

pub const Writer = struct {
    buffer: []u8,
    len: usize = 0,
    /// Something did not fit: what was written is of no use.
    full: bool = false,

    pub fn written(self: *const Writer) []const u8 {
        return self.buffer[0..self.len];
    }

    pub fn bytes(self: *Writer, data: []const u8) void {
        @setRuntimeSafety(false); // the room is compared first
        if (self.buffer.len - self.len < data.len) {
            self.full = true;
            return;
        }
        @memcpy(self.buffer[self.len..][0..data.len], data);
        self.len += data.len;
    }

    pub fn decimal(self: *Writer, number: u64) void {
        @setRuntimeSafety(false); // no number has more than twenty digits, the room is compared first
        const most = 20;
        var digits: [2 * most]u8 = undefined; // the second half is only copied
        var start: usize = most;
        var rest = number;
        while (true) {
            start -= 1;
            digits[start] = '0' + @as(u8, @intCast(rest % 10));
            rest /= 10;
            if (rest == 0) break;
        }
        if (self.buffer.len - self.len < most) return self.bytes(digits[start..most]);
        self.buffer[self.len..][0..most].* = digits[start..][0..most].*; // so many at once: no call
        self.len += most - start;
    }

    /// The status line by its number alone, with the registered reason phrase (RFC 9110 §15).
    pub fn status(self: *Writer, code: u16) void {
        if (code == 200) return self.bytes("HTTP/1.1 200 OK\r\n");
        self.bytes("HTTP/1.1 ");
        self.decimal(code);
        self.bytes(" ");
        self.bytes(reason_of(code));
        self.bytes("\r\n");
    }

    pub noinline fn field(self: *Writer, name: []const u8, value: []const u8) void {
        self.bytes(name);
        self.bytes(": ");
        self.bytes(value);
        self.bytes("\r\n");
    }

    pub fn content_length(self: *Writer, length: u64) void {
        self.bytes("Content-Length: ");
        self.decimal(length);
        self.bytes("\r\n");
    }

    /// The size line in front of a chunk (RFC 9112 §7.1). An empty one would be the end.
    pub noinline fn chunk_size(self: *Writer, size: usize) void {
        assert(size > 0);
        var digits: [16]u8 = undefined;
        var start: usize = digits.len;
        var rest = size;
        while (rest > 0) : (rest >>= 4) {
            start -= 1;
            digits[start] = "0123456789abcdef"[rest & 15];
        }
        self.bytes(digits[start..]);
        self.bytes("\r\n");
    }
};

pub const last_chunk = "0\r\n\r\n";

/// RFC 9110 §5.6.2: a field's name is a token.
pub fn is_token(name: []const u8) bool {
    if (name.len == 0) return false;
    if (http1_scan.passes(.name, name)) return true; // nearly all
    for (name) |byte| if (!token_bytes[byte]) return false;
    return true;
}

/// RFC 9110 §5.5: no byte that ends a line, and none that a terminal would obey.
pub fn is_value(value: []const u8) bool {
    return http1_scan.passes(.field_line, value);
}

/// Whether there is nothing but printable ASCII: a value that can be written as it is.
pub fn is_plain(value: []const u8) bool {
    return http1_scan.passes(.request_line, value);
}

const token_bytes: [256]bool = blk: {
    var table: [256]bool = @splat(false);
    for ("!#$%&'*+-.^_`|~0123456789") |byte| table[byte] = true;
    for ('a'..'z' + 1) |byte| table[byte] = true;
    for ('A'..'Z' + 1) |byte| table[byte] = true;
    break :blk table;
};

/// RFC 9110 §9.3.2, §15: neither a body nor, for 1xx and 204, a Content-Length.
pub fn has_body(code: u16) bool {
    return code >= 200 and code != 204 and code != 304;
}

pub fn reason_of(code: u16) []const u8 {
    return switch (code) {
        100 => "Continue",
        101 => "Switching Protocols",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        425 => "Too Early",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        511 => "Network Authentication Required",
        else => "",
    };
}

/// The Date field, written anew once a second.
pub const DateField = struct {
    line: [37]u8 = undefined,
    /// When the second it tells is over, on the worker's monotonic clock.
    until_ns: u64 = 0,

    /// `Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n` (RFC 9110 §5.6.7). `real_ns` is asked for when a
    /// second is over: nanoseconds since 1970.
    pub fn get(self: *DateField, now_ns: u64, real_ns: fn () u64) *const [37]u8 {
        if (now_ns >= self.until_ns) {
            @branchHint(.unlikely);
            const real = real_ns();
            write_date(&self.line, real / std.time.ns_per_s);
            self.until_ns = now_ns + std.time.ns_per_s - real % std.time.ns_per_s;
        }
        return &self.line;
    }
};

fn write_date(line: *[37]u8, seconds: u64) void {
    const epoch = std.time.epoch.EpochSeconds{ .secs = seconds };
    const day = epoch.getEpochDay();
    const year_day = day.calculateYearDay();
    const month_day = year_day.calculateMonthDay();
    const time = epoch.getDaySeconds();
    line.* = "Date: Www, dd Mmm yyyy hh:mm:ss GMT\r\n".*;
    const weekday: usize = @intCast((day.day + 4) % 7); // 1970-01-01 was a Thursday
    const month: usize = month_day.month.numeric() - 1;
    line[6..9].* = "SunMonTueWedThuFriSat"[weekday * 3 ..][0..3].*;
    two_digits(line[11..13], month_day.day_index + 1);
    line[14..17].* = "JanFebMarAprMayJunJulAugSepOctNovDec"[month * 3 ..][0..3].*;
    two_digits(line[18..20], year_day.year / 100);
    two_digits(line[20..22], year_day.year % 100);
    two_digits(line[23..25], time.getHoursIntoDay());
    two_digits(line[26..28], time.getMinutesIntoHour());
    two_digits(line[29..31], time.getSecondsIntoMinute());
}

fn two_digits(place: *[2]u8, number: usize) void {
    place.* = .{ '0' + @as(u8, @intCast(number / 10)), '0' + @as(u8, @intCast(number % 10)) };
}

test "http1 writer: the date of RFC 9110, a leap day, and one line a second" {
    var line: [37]u8 = undefined;
    write_date(&line, 784111777);
    try std.testing.expectEqualStrings("Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n", &line);
    write_date(&line, 1709164799);
    try std.testing.expectEqualStrings("Date: Wed, 28 Feb 2024 23:59:59 GMT\r\n", &line);
    write_date(&line, 1709164800);
    try std.testing.expectEqualStrings("Date: Thu, 29 Feb 2024 00:00:00 GMT\r\n", &line);
    const clock = struct {
        var real: u64 = 784111777 * std.time.ns_per_s + 999_000_000;
        fn read() u64 {
            return real;
        }
    };
    var date = DateField{};
    try std.testing.expectEqualStrings("49:37", date.get(5, clock.read)[26..31]);
    clock.real += 1_000_000;
    try std.testing.expectEqualStrings("49:37", date.get(999_999, clock.read)[26..31]);
    try std.testing.expectEqualStrings("49:38", date.get(1_000_005, clock.read)[26..31]);
}

test "http1 writer: heads, numbers and chunks; what does not fit is said" {
    var room: [64]u8 = undefined;
    var writer = Writer{ .buffer = &room };
    writer.status(404);
    writer.content_length(18446744073709551615);
    try std.testing.expectEqualStrings(
        "HTTP/1.1 404 Not Found\r\nContent-Length: 18446744073709551615\r\n",
        writer.written(),
    );
    try std.testing.expect(!writer.full);
    writer.bytes("xyz");
    try std.testing.expect(writer.full);
    writer.len = 0;
    writer.chunk_size(0xabc0);
    try std.testing.expectEqualStrings("abc0\r\n", writer.written());
}

test "http1 writer: a number of any length, at the end of room of any size" {
    var number: u64 = 0;
    while (true) : (number = number * 3 + 1) {
        var expected: [20]u8 = undefined;
        const text = try std.fmt.bufPrint(&expected, "{d}", .{number});
        for (0..24) |size| {
            var room: [25]u8 = @splat('#');
            var writer = Writer{ .buffer = room[0..size] };
            writer.decimal(number);
            try std.testing.expectEqual(text.len > size, writer.full);
            if (!writer.full) try std.testing.expectEqualStrings(text, writer.written());
            try std.testing.expectEqual('#', room[size]);
        }
        if (number > std.math.maxInt(u64) / 3 - 1) break;
    }
}

test "http1 writer: names and values that would break a line are told apart" {
    try std.testing.expect(is_token("X-Thing_1"));
    for ([_][]const u8{ "", "a b", "a:", "a\r", "\x00", "caf\xe9" }) |name| try std.testing.expect(!is_token(name));
    try std.testing.expect(is_value("a\tb caf\xe9"));
    for ([_][]const u8{ "a\r\nb", "\n", "\x00", "\x1b[0m", "\x7f" }) |value| try std.testing.expect(!is_value(value));
}
