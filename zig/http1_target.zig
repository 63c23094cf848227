//! HTTP/1.1: the request line, the forms of a request target, and what Host may hold.
//! Sees a line only when it is complete; never looks at other lines.

const std = @import("std");
const scan = @import("http1_scan.zig");
const types = @import("http1_types.zig");
const Head = types.Head;
const Reason = types.Reason;
const Span = types.Span;

const version_len = "HTTP/1.1".len;
/// What an HTTP/2 client says first (RFC 9113 §3.4): no request, whatever it looks like.
const preface_line = "PRI * HTTP/2.0";

/// Parse the request line `bytes[start..end]`, CRLF excluded (RFC 9112 §3). Null: it is good.
pub fn parse(head: *Head, bytes: []const u8, start: usize, end: usize) ?Reason {
    const line = bytes[start..end];
    const at = scan.token_len(line, ' ');
    if (at == 0 or at == line.len or line[at] != ' ') return method_fault(line);
    // One space each: the version is what follows the last one, and the target holds none.
    const target_at = at + 1;
    const rest = line[target_at..];
    if (rest.len < 1 + 1 + version_len or rest[rest.len - version_len - 1] != ' ') {
        return version_fault(rest);
    }
    if (parse_version(head, rest[rest.len - version_len ..][0..version_len])) |reason| {
        return if (std.mem.eql(u8, line, preface_line)) .http_2_preface else reason;
    }
    head.method = .between(start, start + at);
    head.target = .between(start + target_at, end - version_len - 1);
    return parse_target(head, bytes);
}

/// RFC 9112 §2.3: DIGIT "." DIGIT, in capitals. A higher minor version is as good as 1.1.
fn parse_version(head: *Head, text: *const [version_len]u8) ?Reason {
    if (scan.equals(text, "HTTP/1.1")) {
        head.minor = 1;
        return null;
    }
    if (!std.mem.eql(u8, text[0..5], "HTTP/") or text[6] != '.') return .version_malformed;
    if (!std.ascii.isDigit(text[5]) or !std.ascii.isDigit(text[7])) return .version_malformed;
    if (text[5] == '0' and text[7] == '9') return .http_0_9;
    if (text[5] != '1') return .version_unsupported;
    head.minor = @intFromBool(text[7] != '0');
    return null;
}

noinline fn method_fault(line: []const u8) Reason {
    @branchHint(.cold);
    const space = std.mem.indexOfScalar(u8, line, ' ') orelse return .request_line_malformed;
    return if (space == 0) .request_line_malformed else .method_invalid;
}

/// What is wrong behind the method of a line that does not end in a space and eight more bytes.
noinline fn version_fault(rest: []const u8) Reason {
    @branchHint(.cold);
    const space = std.mem.indexOfScalar(u8, rest, ' ') orelse return .http_0_9;
    return if (space == 0) .request_line_malformed else .version_malformed;
}

fn parse_target(head: *Head, bytes: []const u8) ?Reason {
    const target = head.target.of(bytes);
    const start = head.target.start;
    const method = head.method.of(bytes);
    if (scan.equals(method, "CONNECT")) {
        return if (valid_authority(target)) .connect_refused else .target_form;
    }
    if (target[0] == '/') {
        head.target_form = .origin;
        return split(head, bytes, start, start + target.len);
    }
    if (scan.find(.query, target, 0) != target.len) return .target_byte;
    if (target.len == 1 and target[0] == '*') {
        if (!std.mem.eql(u8, method, "OPTIONS")) return .target_form;
        head.target_form = .asterisk;
        head.path = head.target;
        head.query = .between(start + 1, start + 1);
        return null;
    }
    return parse_absolute(head, bytes);
}

/// RFC 9112 §3.2.2: http and https only, with an authority, which wins over Host.
noinline fn parse_absolute(head: *Head, bytes: []const u8) ?Reason {
    const target = head.target.of(bytes);
    const colon = std.mem.indexOf(u8, target, "://") orelse return .target_form;
    const scheme = target[0..colon];
    if (!scan.is(scheme, "http") and !scan.is(scheme, "https")) return .target_form;
    const from = colon + "://".len;
    const length = std.mem.indexOfAny(u8, target[from..], "/?") orelse target.len - from;
    if (!valid_authority(target[from..][0..length])) return .host_invalid;
    const base = head.target.start;
    head.target_form = .absolute;
    head.authority = .between(base + from, base + from + length);
    const rest = from + length;
    const reason = split(head, bytes, base + rest, base + target.len);
    // An empty path means "/" (RFC 3986 §6.2.3): take the one before the authority.
    if (head.path.len == 0) head.path = .between(base + from - 1, base + from);
    return reason;
}

/// Part `bytes[start..end]` into path and query. What is not visible ASCII was refused before; a space
/// would be a second one, and a fragment is never sent (RFC 9112 §3, §3.2).
fn split(head: *Head, bytes: []const u8, start: usize, end: usize) ?Reason {
    const target = bytes[0..end];
    const mark = scan.find(.path, target, start);
    head.path = .between(start, mark);
    head.query = .between(mark, mark);
    if (mark == end) return null;
    if (target[mark] != '?') return .target_byte;
    head.query = .between(mark + 1, end);
    return if (scan.find(.query, target, mark + 1) == end) null else .target_byte;
}

/// uri-host [":" port] (RFC 9112 §3.2, RFC 3986 §3.2.2): no userinfo, no path, no list, not empty.
pub noinline fn valid_authority(text: []const u8) bool {
    var at: usize = 0;
    if (text.len > 0 and text[0] == '[') {
        at = 1;
        while (at < text.len and scan.address[text[at]]) at += 1;
        if (at < "[::".len or at == text.len or text[at] != ']') return false;
        at += 1;
    } else {
        at = scan.find(.host, text, 0);
        while (at < text.len and scan.reg_name[text[at]]) : (at += 1) {
            if (text[at] == '%' and !valid_escape(text[at..])) return false;
        }
        if (at == 0) return false;
    }
    if (at == text.len) return true;
    return text[at] == ':' and valid_port(text[at + 1 ..]);
}

fn valid_escape(text: []const u8) bool {
    return text.len >= 3 and std.ascii.isHex(text[1]) and std.ascii.isHex(text[2]);
}

/// The grammar allows none after the colon; more than 16 bits name no port.
fn valid_port(text: []const u8) bool {
    if (text.len > 5) return false;
    var value: u32 = 0;
    for (text) |byte| {
        if (!std.ascii.isDigit(byte)) return false;
        value = value * 10 + (byte - '0');
    }
    return value <= std.math.maxInt(u16);
}

test "http1 authority: what Host and absolute-form may hold" {
    const good = [_][]const u8{
        "a",         "localhost:8000", "127.0.0.1", "[::1]",   "[::1]:80",     "[2001:db8::1.2.3.4]:443",
        "a_b.c-d~e", "%41b",           "a:",        "a:65535", "a!$&'()*+;=b",
    };
    for (good) |text| try std.testing.expect(valid_authority(text));
    const bad = [_][]const u8{
        "",       ":80", "a@b",  "a/b", "a,b",  "a b", "a:b",  "a:-1", "a:65536", "a:1:2", "a:123456",
        "[::1",   "[]",  "[a",   "::1", "[g:]", "a[",  "a]",   "%4",   "%zz",     "a\\b",  "a?b",
        "[::1]a", "a#b", "\x80", "a\"", "<a>",  "[:",  "a:+1",
        "a:１",
    };
    for (bad) |text| try std.testing.expect(!valid_authority(text));
}

test "http1 authority: one look takes nothing for plain that is not valid, and finds the usual ones" {
    var random: std.Random.DefaultPrng = .init(1);
    const alphabet = "az09AZ-.:56%_@[\x00\r ";
    var plain: u32 = 0;
    for (0..200_000) |_| {
        var bytes: [40]u8 = undefined;
        const spread = random.random().intRangeAtMost(usize, 4, alphabet.len);
        for (&bytes) |*byte| byte.* = alphabet[random.random().uintLessThan(usize, spread)];
        if (random.random().boolean()) {
            const colon = random.random().uintLessThan(usize, 20);
            bytes[colon] = ':';
            const digits = random.random().uintAtMost(usize, 7);
            for (bytes[colon + 1 ..][0..digits]) |*byte| byte.* = "0569"[random.random().uintLessThan(usize, 4)];
        }
        const start = random.random().uintLessThan(usize, 12);
        const len = random.random().uintAtMost(usize, 18);
        const end = random.random().intRangeAtMost(usize, start + len, bytes.len);
        if (!scan.is_plain_authority(bytes[0..end], start, len)) continue;
        plain += 1;
        try std.testing.expect(valid_authority(bytes[start..][0..len]));
    }
    try std.testing.expect(plain > 1000);
    for ([_][]const u8{ "a:65536", "a:70000", ":80", "a:b", "a/b", "" }) |text| {
        var bytes: [20]u8 = @splat('1');
        @memcpy(bytes[0..text.len], text);
        try std.testing.expect(!scan.is_plain_authority(&bytes, 0, text.len));
    }
    for ([_][]const u8{ "localhost:8000", "127.0.0.1:59999", "a", "example.org:", "A-b.c:1", "0123456789abcdef" }) |text| {
        var bytes: [20]u8 = @splat('\r');
        @memcpy(bytes[0..text.len], text);
        try std.testing.expect(scan.is_plain_authority(&bytes, 0, text.len));
    }
}
