//! HTTP/1.1: a request's body as it comes off the wire: by length, or chunked with its trailers.
//! Never copies: data are slices of the input. Never holds trailers: they are checked and dropped.

const std = @import("std");
const scan = @import("http1_scan.zig");
const types = @import("http1_types.zig");
const Failure = types.Failure;
const Head = types.Head;
const Limits = types.Limits;
const Reason = types.Reason;

/// What one call of `next` did.
pub const Step = struct {
    /// Bytes of the input that belong to the body, its data and framing.
    consumed: usize,
    /// Body data, a part of the consumed input; may be empty.
    data: []const u8,
    state: State,

    pub const State = enum { more, done };
};

const size_digits_max = 16;
/// The longest of the names that no trailer may have.
const forbidden_max = "transfer-encoding".len;

pub const BodyDecoder = struct {
    phase: Phase = .done,
    /// The rest of the body, or of the chunk.
    left: u64 = 0,
    /// Sum of the chunks' sizes.
    sum: u64 = 0,
    size_digits: u8 = 0,
    extensions: u32 = 0,
    trailers: u32 = 0,
    name_len: u32 = 0,
    /// A trailer's name so far, in lower case, as long as it may be a forbidden one.
    name: [forbidden_max]u8 = undefined,
    reason: Reason = .chunk_size_invalid,

    const Phase = enum(u8) {
        length,
        size,
        extension,
        size_lf,
        data,
        data_cr,
        data_lf,
        trailer_start,
        trailer_name,
        trailer_value,
        trailer_lf,
        last_lf,
        done,
        failed,
    };

    pub const Init = union(enum) { ok: BodyDecoder, failed: Failure };
    pub const Next = union(enum) { step: Step, failed: Failure };

    /// A decoder for the body that follows `head`; refused when its length is over the limit.
    pub fn init(head: *const Head, limits: *const Limits) Init {
        return switch (head.framing) {
            .none => .{ .ok = .{} },
            .chunked => .{ .ok = .{ .phase = .size } },
            .length => {
                if (head.content_length > limits.body) return .{ .failed = .of(.body_too_large) };
                const phase: Phase = if (head.content_length > 0) .length else .done;
                return .{ .ok = .{ .phase = phase, .left = head.content_length } };
            },
        };
    }

    pub fn is_done(self: *const BodyDecoder) bool {
        return self.phase == .done;
    }

    /// Bytes of data still to come, null when chunks will tell.
    pub fn remaining(self: *const BodyDecoder) ?u64 {
        return switch (self.phase) {
            .done => 0,
            .length => self.left,
            else => null,
        };
    }

    /// One step over `input`, up to the end of the first piece of data in it. Call again with the rest
    /// until it is used up, or the state is `done`: what follows the body is not consumed.
    pub fn next(self: *BodyDecoder, input: []const u8, limits: *const Limits) Next {
        var at: usize = 0;
        while (at < input.len) {
            switch (self.phase) {
                .length, .data => return self.take(input, at),
                .done => break,
                .failed => return .{ .failed = .of(self.reason) },
                else => if (self.framing_byte(input[at], limits)) |reason| {
                    self.phase = .failed;
                    self.reason = reason;
                    return .{ .failed = .of(reason) };
                },
            }
            at += 1;
        }
        return .{ .step = .{ .consumed = at, .data = input[at..at], .state = self.state() } };
    }

    fn state(self: *const BodyDecoder) Step.State {
        return if (self.phase == .done) .done else .more;
    }

    fn take(self: *BodyDecoder, input: []const u8, at: usize) Next {
        const count: usize = @intCast(@min(input.len - at, self.left));
        self.left -= count;
        if (self.left == 0) self.phase = if (self.phase == .data) .data_cr else .done;
        const data = input[at..][0..count];
        return .{ .step = .{ .consumed = at + count, .data = data, .state = self.state() } };
    }

    /// RFC 9112 §7.1: everything in a chunked body but the data.
    noinline fn framing_byte(self: *BodyDecoder, byte: u8, limits: *const Limits) ?Reason {
        switch (self.phase) {
            .size => return self.size_byte(byte, limits),
            .extension => return self.extension_byte(byte, limits),
            .size_lf => {
                if (byte != '\n') return .bare_cr;
                self.phase = if (self.left > 0) .data else .trailer_start;
                self.size_digits = 0;
            },
            .data_cr => {
                if (byte != '\r') return if (byte == '\n') .bare_lf else .chunk_end_missing;
                self.phase = .data_lf;
            },
            .data_lf => {
                if (byte != '\n') return .bare_cr;
                self.phase = .size;
            },
            .last_lf => {
                if (byte != '\n') return .bare_cr;
                self.phase = .done;
            },
            else => return self.trailer_byte(byte, limits),
        }
        return null;
    }

    fn size_byte(self: *BodyDecoder, byte: u8, limits: *const Limits) ?Reason {
        const digit: u64 = switch (byte) {
            '0'...'9' => byte - '0',
            'a'...'f' => byte - 'a' + 10,
            'A'...'F' => byte - 'A' + 10,
            '\r', ';' => return self.size_end(byte, limits),
            '\n' => return .bare_lf,
            else => return .chunk_size_invalid,
        };
        if (self.size_digits == size_digits_max) return .chunk_size_too_long;
        self.size_digits += 1;
        self.left = self.left << 4 | digit;
        return null;
    }

    fn size_end(self: *BodyDecoder, byte: u8, limits: *const Limits) ?Reason {
        if (self.size_digits == 0) return .chunk_size_invalid;
        // The sum is within the limit so far, whatever the limit is: no overflow.
        if (self.left > limits.body -| self.sum) return .body_too_large;
        self.sum += self.left;
        if (byte == ';') {
            self.phase = .extension;
            return self.extension_byte(byte, limits);
        }
        self.phase = .size_lf;
        return null;
    }

    /// RFC 9112 §7.1.1: ignored, but for what could be taken for a line's end.
    fn extension_byte(self: *BodyDecoder, byte: u8, limits: *const Limits) ?Reason {
        if (byte == '\r') {
            self.phase = .size_lf;
            return null;
        }
        if (line_fault(byte)) |reason| return reason;
        if (self.extensions >= limits.chunk_extensions) return .chunk_extensions_too_long;
        self.extensions += 1;
        return null;
    }

    /// RFC 9112 §7.1.2: field lines under the rules of the head's, one byte at a time.
    fn trailer_byte(self: *BodyDecoder, byte: u8, limits: *const Limits) ?Reason {
        if (self.phase == .trailer_start and byte == '\r') {
            self.phase = .last_lf;
            return null;
        }
        if (self.phase == .trailer_lf) {
            if (byte != '\n') return .bare_cr;
            self.phase = .trailer_start;
        } else if (byte == '\r') {
            if (self.phase != .trailer_value) return .colon_missing;
            self.phase = .trailer_lf;
        } else if (line_fault(byte)) |reason| {
            return reason;
        } else if (self.phase != .trailer_value) {
            if (self.trailer_name_byte(byte)) |reason| return reason;
        }
        if (self.trailers >= limits.trailers) return .trailers_too_large;
        self.trailers += 1;
        return null;
    }

    fn trailer_name_byte(self: *BodyDecoder, byte: u8) ?Reason {
        if (self.phase == .trailer_start) {
            if (scan.is_space(byte)) return .obs_fold;
            if (byte == ':') return .name_empty;
            self.name_len = 0;
            self.phase = .trailer_name;
        }
        if (byte == ':') {
            if (self.name_len <= forbidden_max and forbidden(self.name[0..self.name_len])) {
                return .trailer_forbidden;
            }
            self.phase = .trailer_value;
            return null;
        }
        if (scan.is_space(byte)) return .space_before_colon;
        if (!scan.token[byte]) return .name_invalid;
        if (self.name_len < forbidden_max) self.name[self.name_len] = byte;
        self.name_len +|= 1;
        return null;
    }
};

fn forbidden(name: []const u8) bool {
    return scan.is(name, "host") or scan.is(name, "content-length") or
        scan.is(name, "transfer-encoding");
}

/// What may not stand in a line, CR apart.
fn line_fault(byte: u8) ?Reason {
    if (byte == '\n') return .bare_lf;
    return if ((byte < 0x20 and byte != '\t') or byte == 0x7f) .control_byte else null;
}
