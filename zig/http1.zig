//! HTTP/1.1 requests: bytes in, a head and a body's data out, strict as RFC 9112 lets a server be.
//! No I/O, no Python, no allocation, no libc. The verdict is the same however the input is cut: what
//! decides is the first byte at which a prefix of the request is known to be bad.

const std = @import("std");
const builtin = @import("builtin");
const body = @import("http1_body.zig");
const fields = @import("http1_fields.zig");
const scan = @import("http1_scan.zig");
const target = @import("http1_target.zig");
const types = @import("http1_types.zig");

pub const fields_max = types.fields_max;
pub const Limits = types.Limits;
pub const Span = types.Span;
pub const Field = types.Field;
pub const Framing = types.Framing;
pub const TargetForm = types.TargetForm;
pub const Head = types.Head;
pub const Failure = types.Failure;
pub const Reason = types.Reason;
pub const BodyDecoder = body.BodyDecoder;
pub const Step = body.Step;

/// Empty lines that are skipped before a request line (RFC 9112 §2.2).
pub const empty_lines_max = 4;

pub const HeadParser = struct {
    head: Head,
    facts: fields.Facts,
    phase: Phase,
    empty_lines: u8,
    /// Where the line under way begins, and up to where it was looked at.
    line_start: u32,
    scanned: u32,

    const Phase = enum(u8) { empty_lines, request_line, fields, over };

    pub const Result = union(enum) {
        more,
        /// Length of the head, skipped empty lines and the last CRLF included.
        done: usize,
        failed: Failure,
    };

    /// Make ready for a request's first byte.
    pub fn reset(self: *HeadParser) void {
        self.head.reset();
        self.facts = .{};
        self.phase = .empty_lines;
        self.empty_lines = 0;
        self.line_start = 0;
        self.scanned = 0;
    }

    /// Whether a byte of the request itself has been seen, not only empty lines before it.
    pub fn started(self: *const HeadParser) bool {
        return self.phase != .empty_lines;
    }

    /// Copy without the fields that are not in use.
    pub noinline fn copy_from(self: *HeadParser, other: *const HeadParser) void {
        self.head.copy_from(&other.head);
        inline for (std.meta.fields(HeadParser)) |member| {
            if (comptime std.mem.eql(u8, member.name, "head")) continue;
            @field(self, member.name) = @field(other, member.name);
        }
    }

    /// `bytes` is everything since the request began, contiguous; an earlier call saw a prefix of it,
    /// under the same limits. No byte is looked at twice, but for one CR. Not to be called once it
    /// has said `done` or `failed`.
    pub fn feed(self: *HeadParser, bytes: []const u8, limits: *const Limits) Result {
        std.debug.assert(self.phase != .over);
        const window = bytes[0..@min(bytes.len, limits.head)];
        std.debug.assert(self.scanned <= window.len);
        const result = self.advance(window, limits);
        if (result == .more and window.len == limits.head) return self.fail(self.too_large());
        return result;
    }

    fn advance(self: *HeadParser, window: []const u8, limits: *const Limits) Result {
        if (self.phase == .empty_lines) {
            if (self.skip_empty_lines(window)) |result| return result;
        }
        if (self.phase == .request_line) {
            const end = self.line_end(.request_line, window, limits.request_line) orelse
                return self.unended(.request_line, window, limits.request_line);
            if (target.parse(&self.head, window, self.line_start, end)) |reason| return self.fail(reason);
            self.begin_line(end + 2);
            self.phase = .fields;
        }
        return self.advance_fields(window, limits);
    }

    fn advance_fields(self: *HeadParser, window: []const u8, limits: *const Limits) Result {
        const count_max = @min(limits.field_count, fields_max);
        while (true) {
            const end = self.line_end(.field_line, window, limits.field_line) orelse
                return self.unended(.field_line, window, limits.field_line);
            if (end == self.line_start) {
                if (fields.finish(&self.head, &self.facts)) |reason| return self.fail(reason);
                self.phase = .over;
                return .{ .done = end + 2 };
            }
            if (self.head.field_count >= count_max) return self.fail(.fields_too_many);
            const wrong = fields.add(&self.head, &self.facts, window, self.line_start, end);
            if (wrong) |reason| return self.fail(reason);
            self.begin_line(end + 2);
        }
    }

    /// Where the CRLF of the line under way is; null: `unended` says what there is instead.
    inline fn line_end(
        self: *HeadParser,
        comptime class: scan.Class,
        window: []const u8,
        len_max: u32,
    ) ?u32 {
        const stop: u32 = @intCast(scan.find(class, window, self.scanned));
        self.scanned = stop;
        if (stop - self.line_start > len_max or window.len - stop < 2) return null;
        const crlf = comptime std.mem.readInt(u16, "\r\n", builtin.cpu.arch.endian());
        return if (@as(u16, @bitCast(window[stop..][0..2].*)) == crlf) stop else null;
    }

    noinline fn unended(self: *HeadParser, class: scan.Class, window: []const u8, len_max: u32) Result {
        const stop = self.scanned;
        if (stop - self.line_start > len_max) {
            return self.fail(if (class == .request_line) .request_line_too_long else .field_line_too_long);
        }
        if (stop == window.len) return .more;
        if (window[stop] != '\r') return self.fail(fault_of(window[stop]));
        return if (stop + 1 == window.len) .more else self.fail(.bare_cr);
    }

    inline fn begin_line(self: *HeadParser, at: u32) void {
        self.line_start = at;
        self.scanned = at;
    }

    /// Null once a request line begins.
    noinline fn skip_empty_lines(self: *HeadParser, window: []const u8) ?Result {
        while (self.scanned < window.len) {
            const rest = window[self.scanned..];
            if (rest[0] != '\r') {
                self.begin_line(self.scanned);
                self.phase = .request_line;
                return null;
            }
            if (self.empty_lines == empty_lines_max) return self.fail(.too_many_empty_lines);
            if (rest.len == 1) return .more;
            if (rest[1] != '\n') return self.fail(.bare_cr);
            self.empty_lines += 1;
            self.scanned += 2;
        }
        return .more;
    }

    fn too_large(self: *const HeadParser) Reason {
        return if (self.phase == .fields) .head_too_large else .request_line_too_long;
    }

    fn fail(self: *HeadParser, reason: Reason) Result {
        @branchHint(.cold);
        self.phase = .over;
        return .{ .failed = .of(reason) };
    }
};

fn fault_of(byte: u8) Reason {
    @branchHint(.cold);
    if (byte == '\n') return .bare_lf;
    return if (byte >= 0x80) .target_byte else .control_byte;
}
