//! HTTP/1.1: classes of bytes, and the search for the first byte that may not stand in a line.
//! Sixteen bytes at a time where there are sixteen; knows nothing of lines' meaning.

const std = @import("std");

const width = 16;
const Block = @Vector(width, u8);

pub const Class = enum {
    /// Stops at anything that is not printable ASCII: the request line's end, or an error in it.
    request_line,
    /// Stops at control bytes other than HTAB: a field line's end, or an error in it.
    field_line,
    /// Stops at the end of a path, or at what no target has; for lines that passed `request_line`.
    path,
    /// Stops at what no target has; for lines that passed `request_line`.
    query,
    /// Stops at anything but letters, digits, "-" and ".": what nearly all hosts are made of.
    host,
    /// Stops at anything but letters, digits and "-": what nearly all names are made of.
    name,
    /// Stops at a percent sign.
    unescaped,

    inline fn stops_at(comptime self: Class, byte: u8) bool {
        return switch (self) {
            .request_line => byte < 0x20 or byte >= 0x7f,
            .field_line => (byte < 0x20 and byte != '\t') or byte == 0x7f,
            .path => byte == '?' or byte == '#' or byte == ' ',
            .query => byte == '#' or byte == ' ',
            .host => !std.ascii.isAlphanumeric(byte) and byte != '-' and byte != '.',
            .name => !std.ascii.isAlphanumeric(byte) and byte != '-',
            .unescaped => byte == '%',
        };
    }

    inline fn stops_in(comptime self: Class, block: Block) u16 {
        return switch (self) {
            .request_line => mask(block < splat(0x20)) | mask(block >= splat(0x7f)),
            .field_line => (mask(block < splat(0x20)) & ~mask(block == splat('\t'))) |
                mask(block == splat(0x7f)),
            .path => mask(block == splat('?')) | mask(block == splat('#')) | mask(block == splat(' ')),
            .query => mask(block == splat('#')) | mask(block == splat(' ')),
            .host => ~(letters_in(block) | digits_in(block) | mask(block == splat('-')) | mask(block == splat('.'))),
            .name => ~(letters_in(block) | digits_in(block) | mask(block == splat('-'))),
            .unescaped => mask(block == splat('%')),
        };
    }
};

/// The first index from `from` on where `class` stops, or the length when it does not.
pub inline fn find(comptime class: Class, bytes: []const u8, from: usize) usize {
    @setRuntimeSafety(false); // every index is compared with the length first; halves the time
    std.debug.assert(from <= bytes.len);
    var at = from;
    while (bytes.len - at >= width) : (at += width) {
        const found = class.stops_in(bytes[at..][0..width].*);
        if (found != 0) return at + @ctz(found);
    }
    if (bytes.len < width) {
        while (at < bytes.len and !class.stops_at(bytes[at])) at += 1;
        return at;
    }
    // The last block overlaps bytes that were looked at already, or lie before `from`: shift them out.
    const last = bytes.len - width;
    const seen = at - last;
    if (seen == width) return at;
    const found = class.stops_in(bytes[last..][0..width].*) >> @intCast(seen);
    return if (found != 0) at + @ctz(found) else bytes.len;
}

/// Whether nothing in `text` stops `class`. Short texts take one look as well.
pub inline fn passes(comptime class: Class, text: []const u8) bool {
    @setRuntimeSafety(false); // every index is compared with the length first
    if (text.len >= width) return find(class, text, 0) == text.len;
    if (text.len >= width / 2) return class.stops_in(ends_of(text, width / 2)) == 0;
    if (text.len >= width / 4) return class.stops_in(ends_of(text, width / 4)) == 0;
    for (text) |byte| if (class.stops_at(byte)) return false;
    return true;
}

/// The first and the last `count` bytes, which together are all of them, in a block of nothing else.
inline fn ends_of(text: []const u8, comptime count: usize) Block {
    const Half = std.meta.Int(.unsigned, count * 8);
    const first: Half = @bitCast(text[0..count].*);
    const last: Half = @bitCast(text[text.len - count ..][0..count].*);
    const both: [width / count]Half = @splat(first);
    var block: @Vector(width / count, Half) = both;
    block[1] = last;
    return @bitCast(block);
}

/// How many bytes at the start of `line` are a token's. One of up to fifteen letters and "-" before
/// the byte that usually follows takes one look; a loop over single bytes mispredicts its end every
/// time.
pub inline fn token_len(line: []const u8, comptime follower: u8) usize {
    @setRuntimeSafety(false); // every index is compared with the length first
    if (line.len >= width) {
        const block: Block = line[0..width].*;
        const followers = mask(block == splat(follower));
        if (followers != 0) {
            const before: u16 = (followers & (~followers +% 1)) - 1;
            if ((letters_in(block) | mask(block == splat('-'))) & before == before) return @ctz(followers);
        }
    }
    var at: usize = 0;
    while (at < line.len and token[line[at]]) at += 1;
    return at;
}

/// Whether `bytes[start..][0..len]` is a host of letters, digits, "-" and ".", with a port up to 59999
/// or none, as far as one look tells: what is not said to be one may be valid all the same.
pub inline fn is_plain_authority(bytes: []const u8, start: usize, len: usize) bool {
    @setRuntimeSafety(false); // every index is compared with the length first
    if (len == 0 or len > width or bytes.len - start < width) return false;
    const block: Block = bytes[start..][0..width].*;
    const host: usize = @ctz(@as(u32, Class.host.stops_in(block)) | 1 << width);
    if (host >= len) return true;
    const digits = len - host -% 1;
    if (host == 0 or digits > 5 or bytes[start + host] != ':') return false;
    if (digits == 5 and bytes[start + host + 1] > '5') return false;
    const port = (@as(u32, 1) << @intCast(digits)) - 1;
    return @as(u32, digits_in(block)) >> @intCast(host + 1) & port == port;
}

inline fn letters_in(block: Block) u16 {
    return mask((block | splat(0x20)) -% splat('a') <= splat('z' - 'a'));
}

inline fn digits_in(block: Block) u16 {
    return mask(block -% splat('0') <= splat(9));
}

inline fn splat(byte: u8) Block {
    return @splat(byte);
}

inline fn mask(flags: @Vector(width, bool)) u16 {
    return @bitCast(flags);
}

/// tchar of RFC 9110 §5.6.2: what names and methods are made of.
pub const token: [256]bool = table("!#$%&'*+-.^_`|~", true);

/// reg-name of RFC 3986 §3.2.2 without ",", which would make a list of the Host field.
pub const reg_name: [256]bool = table("-._~%!$&'()*+;=", true);

/// Between the brackets of an IPv6 address.
pub const address: [256]bool = blk: {
    var found: [256]bool = table(":.", false);
    for ("0123456789abcdefABCDEF") |byte| found[byte] = true;
    break :blk found;
};

fn table(comptime others: []const u8, comptime letters: bool) [256]bool {
    var found: [256]bool = @splat(false);
    for (others) |byte| found[byte] = true;
    if (letters) {
        for (0..256) |byte| {
            if (std.ascii.isAlphanumeric(byte)) found[byte] = true;
        }
    }
    return found;
}

/// Whether `name`, a token, is `lower` in whatever case. A letter's two cases differ in one bit, and
/// no other byte of a token becomes a letter or "-" by setting it.
pub inline fn is(name: []const u8, comptime lower: []const u8) bool {
    if (name.len != lower.len) return false;
    inline for (lower, 0..) |byte, at| {
        if (name[at] | 0x20 != byte) return false;
    }
    return true;
}

/// Whether the text is that word: one comparison of integers, no call.
pub inline fn equals(text: []const u8, comptime word: []const u8) bool {
    const Word = std.meta.Int(.unsigned, word.len * 8);
    return text.len == word.len and @as(Word, @bitCast(text[0..word.len].*)) == @as(Word, @bitCast(word[0..word.len].*));
}

pub inline fn is_space(byte: u8) bool {
    return byte == ' ' or byte == '\t';
}

/// The value without the white space around it.
pub inline fn trim(text: []const u8) []const u8 {
    @setRuntimeSafety(false); // every index is compared with the other end first
    var start: usize = 0;
    var end = text.len;
    while (start < end and is_space(text[start])) start += 1;
    while (end > start and is_space(text[end - 1])) end -= 1;
    return text[start..end];
}

test "http1 scan agrees with a plain loop at every length, start and place of the byte" {
    var buffer: [53]u8 = undefined;
    inline for (comptime std.enums.values(Class)) |class| {
        for (0..256) |byte| {
            @memset(&buffer, 'a');
            for (0..buffer.len) |place| {
                buffer[place] = @intCast(byte);
                for ([_]usize{ 0, 1, 5, 15, 16, 17, 31, 40 }) |from| {
                    for ([_]usize{ from, from + 3, from + 4, from + 7, from + 8, 16, 17, 40, buffer.len }) |end| {
                        if (end < from) continue;
                        var plain = from;
                        while (plain < end and !class.stops_at(buffer[plain])) plain += 1;
                        try std.testing.expectEqual(plain, find(class, buffer[0..end], from));
                        try std.testing.expectEqual(plain == end, passes(class, buffer[from..end]));
                    }
                }
                buffer[place] = 'a';
            }
        }
    }
}

test "http1 classes have the bytes of the RFCs" {
    var tokens: u32 = 0;
    for (token) |in| tokens += @intFromBool(in);
    try std.testing.expectEqual(10 + 26 + 26 + 15, tokens);
    for ("\x00\t\r\n \"(),/:;<=>?@[\\]{}\x7f\x80\xff") |byte| try std.testing.expect(!token[byte]);
    for ("/:@?,[]\\\"<>{}| ^`#\x80") |byte| try std.testing.expect(!reg_name[byte]);
}

test "http1 words equal themselves" {
    for ([_][]const u8{ "GET", "get", "GE", "GETS", "", "PUT", "\x00ET" }) |text| {
        try std.testing.expectEqual(std.mem.eql(u8, text, "GET"), equals(text, "GET"));
        try std.testing.expectEqual(std.mem.eql(u8, text, "HTTP/1.1"), equals(text, "HTTP/1.1"));
    }
}

test "http1 names compare in any case and only with themselves" {
    try std.testing.expect(is("Content-LENGTH", "content-length"));
    try std.testing.expect(!is("content_length", "content-length"));
    for (0..256) |byte| {
        if (!token[byte]) continue;
        const same = byte == 'k' or byte == 'K';
        try std.testing.expectEqual(same, is(&.{@intCast(byte)}, "k"));
        try std.testing.expectEqual(byte == '-', is(&.{@intCast(byte)}, "-"));
    }
}

test "http1 names end where a plain loop says, in lines of any length" {
    var random: std.Random.DefaultPrng = .init(1);
    const alphabet = "abzAZ-::: \t_9{@[`\x80";
    var line: [24]u8 = undefined;
    for (0..20_000) |_| {
        for (&line) |*byte| byte.* = if (random.random().uintLessThan(u8, 8) > 0)
            'x'
        else
            alphabet[random.random().uintLessThan(usize, alphabet.len)];
        const text = line[0..random.random().uintAtMost(usize, line.len)];
        var plain: usize = 0;
        while (plain < text.len and token[text[plain]]) plain += 1;
        try std.testing.expectEqual(plain, token_len(text, ':'));
    }
}
