//! HTTP/1.1, for tests only: what must hold for whatever bytes the parser is given: one verdict for
//! all cuts, bodies as a plain second decoder has them, no accepted head that its bytes contradict.

const std = @import("std");
const http1 = @import("http1.zig");
const Drive = @import("http1_drive.zig").Drive;
const Verdict = @import("http1_drive.zig").Verdict;
const Generator = @import("http1_generate.zig").Generator;

pub const Wrong = error{ CutsDiffer, BodyDiffers, HeadDiffers, PrefixDiffers };

/// What was seen, so that a generator which only makes rubbish is noticed.
pub var counts: struct {
    accepted: u64 = 0,
    refused: u64 = 0,
    incomplete: u64 = 0,
    body_bytes: u64 = 0,
} = .{};

var buffer: [4096]u8 = undefined;
var input: []u8 = buffer[0..0];
var drive: Drive = .{};
var data: [4096]u8 = undefined;

pub fn last_input() []const u8 {
    return input;
}

/// Generate the request of `seed` and look at every invariant.
pub fn check_seed(seed: u64) Wrong!void {
    var prng = std.Random.DefaultPrng.init(seed);
    const random = prng.random();
    var generator: Generator = .{ .random = random, .buffer = &buffer };
    input = generator.request();
    drive.limits = .{ .body = if (random.boolean()) std.math.maxInt(u64) else 20 };
    if (random.uintLessThan(u8, 4) == 0) tighten(random);
    drive.sink.buffer = &data;
    const whole = drive.run(input, .whole);
    try check_accepted(whole);
    try check_cuts(random, whole);
    if (whole.accepted()) {
        counts.accepted += 1;
        counts.body_bytes += whole.body_len;
    } else if (whole.status == 1) {
        counts.incomplete += 1;
    } else counts.refused += 1;
}

fn tighten(random: std.Random) void {
    const limits = &drive.limits;
    limits.request_line = random.uintLessThan(u32, 64);
    limits.field_line = random.uintLessThan(u32, 96);
    limits.head = 1 + random.uintLessThan(u32, 400);
    limits.field_count = random.uintLessThan(u32, 6);
    limits.chunk_extensions = random.uintLessThan(u32, 8);
    limits.trailers = random.uintLessThan(u32, 32);
}

fn check_cuts(random: std.Random, whole: Verdict) Wrong!void {
    drive.sink.buffer = &.{};
    if (!same(whole, drive.run(input, .bytes))) return error.CutsDiffer;
    if (!same(whole, drive.run(input, .{ .random = random.int(u64) }))) return error.CutsDiffer;
    for (0..8) |_| {
        const at = random.uintAtMost(usize, input.len);
        if (!same(whole, drive.run(input, .{ .at = at }))) return error.CutsDiffer;
        // A prefix has the same verdict, or none yet.
        const prefix = drive.run(input[0..at], .whole);
        if (prefix.status == 1) continue;
        if (!same(whole, prefix)) return error.PrefixDiffers;
    }
}

/// Public for the canary, which shows that a difference is noticed.
pub fn same(left: Verdict, right: Verdict) bool {
    return std.meta.eql(left, right);
}

fn check_accepted(verdict: Verdict) Wrong!void {
    if (verdict.head_len == 0) return;
    const head = input[0..verdict.head_len];
    if (!std.mem.endsWith(u8, head, "\r\n\r\n")) return error.HeadDiffers;
    if (lone(head)) return error.HeadDiffers;
    const parsed = &drive.parser.head;
    const colons = std.mem.count(u8, head, "\r\n");
    // Every line but the request line, the empty ones before it and the last is a field.
    const skipped = parsed.method.start / 2;
    if (colons != parsed.field_count + skipped + 2) return error.HeadDiffers;
    if (!verdict.accepted()) return;
    const body = input[verdict.head_len..verdict.consumed];
    const got = data[0..verdict.body_len];
    switch (parsed.framing) {
        .none => if (body.len != 0) return error.BodyDiffers,
        .length => {
            const text = parsed.find(input, "content-length") orelse return error.HeadDiffers;
            const length = std.fmt.parseInt(u64, text, 10) catch return error.HeadDiffers;
            if (length != body.len or !std.mem.eql(u8, body, got)) return error.BodyDiffers;
        },
        .chunked => try check_chunked(body, got),
    }
}

/// A CR or LF without the other, or another control byte.
pub fn lone(head: []const u8) bool {
    for (head, 0..) |byte, at| {
        if (byte == '\r' and head[at + 1] != '\n') return true;
        if (byte == '\n' and head[at - 1] != '\r') return true;
        if (byte < 0x20 and byte != '\r' and byte != '\n' and byte != '\t') return true;
    }
    return false;
}

/// Decode with all of the body at hand, by searching for line ends; trusts what was accepted.
fn check_chunked(body: []const u8, got: []const u8) Wrong!void {
    var rest = body;
    var decoded: usize = 0;
    while (true) {
        const end = std.mem.indexOf(u8, rest, "\r\n") orelse return error.BodyDiffers;
        const line = rest[0..end];
        const digits = line[0 .. std.mem.indexOfScalar(u8, line, ';') orelse line.len];
        const size = std.fmt.parseInt(u64, digits, 16) catch return error.BodyDiffers;
        rest = rest[end + 2 ..];
        if (size == 0) break;
        if (rest.len < size + 2 or got.len < decoded + size) return error.BodyDiffers;
        if (!std.mem.eql(u8, rest[0..size], got[decoded..][0..size])) return error.BodyDiffers;
        decoded += size;
        if (!std.mem.eql(u8, rest[size..][0..2], "\r\n")) return error.BodyDiffers;
        rest = rest[size + 2 ..];
    }
    if (decoded != got.len) return error.BodyDiffers;
    // Trailers, and the empty line that ends the body, the first one there is.
    const last = if (std.mem.startsWith(u8, rest, "\r\n")) 2 else blk: {
        break :blk (std.mem.indexOf(u8, rest, "\r\n\r\n") orelse return error.BodyDiffers) + 4;
    };
    if (last != rest.len) return error.BodyDiffers;
}

test "http1 fuzz smoke: fixed seeds keep every invariant, and are not all rubbish" {
    counts = .{};
    for (0..4000) |seed| {
        check_seed(seed) catch |wrong| {
            std.debug.print("seed {d}: {f}\n", .{ seed, std.ascii.hexEscape(input, .lower) });
            return wrong;
        };
    }
    try std.testing.expect(counts.accepted > 300 and counts.refused > 300 and counts.body_bytes > 500);
    try std.testing.expect(counts.incomplete > 50);
}

test "http1 fuzz canary: what the invariants are for is noticed" {
    try std.testing.expect(lone("GET / HTTP/1.1\nHost: a\r\n\r\n"));
    try std.testing.expect(!same(.{ .status = 400 }, .{ .status = 431 }));
    const text = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    @memcpy(buffer[0..text.len], text);
    input = buffer[0..text.len];
    drive = .{};
    drive.sink.buffer = &data;
    const verdict = drive.run(input, .whole);
    try check_accepted(verdict);
    data[1] ^= 1;
    try std.testing.expectError(error.BodyDiffers, check_accepted(verdict));
    data[1] ^= 1;
    var longer = verdict;
    longer.consumed -= 1;
    try std.testing.expectError(error.BodyDiffers, check_accepted(longer));
    drive.parser.head.field_count += 1;
    try std.testing.expectError(error.HeadDiffers, check_accepted(verdict));
}
