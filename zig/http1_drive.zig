//! HTTP/1.1, for tests only: drives the parser over one request that arrives in pieces, and keeps
//! what came of it in a form that two manners of feeding can be compared by.
//! Has no rule of its own; holds the invariants that every run must keep.

const std = @import("std");
const http1 = @import("http1.zig");

/// What came of one request.
pub const Verdict = struct {
    /// 0: accepted whole; 1: more input was wanted; else the status it is refused with.
    status: u16 = 1,
    reason: ?http1.Reason = null,
    /// Bytes of head and body together, when accepted.
    consumed: usize = 0,
    head_len: usize = 0,
    /// Of the body's data.
    body_len: usize = 0,
    body_hash: u64 = 0,

    pub fn accepted(self: Verdict) bool {
        return self.status == 0;
    }
};

/// How the input is cut into what arrives at once.
pub const Cuts = union(enum) {
    whole,
    bytes,
    /// In two, before this index.
    at: usize,
    /// In pieces of random lengths from this seed.
    random: u64,
};

/// Sink for body data, for those who want to see it.
pub const Sink = struct {
    buffer: []u8 = &.{},
    len: usize = 0,
    hash: std.hash.Fnv1a_64 = .init(),

    fn put(self: *Sink, data: []const u8) void {
        if (self.len < self.buffer.len) {
            const room = @min(self.buffer.len - self.len, data.len);
            @memcpy(self.buffer[self.len..][0..room], data[0..room]);
        }
        self.len += data.len;
        self.hash.update(data);
    }
};

pub const Drive = struct {
    limits: http1.Limits = .{ .body = std.math.maxInt(u64) },
    parser: http1.HeadParser = undefined,
    sink: Sink = .{},
    random: std.Random.DefaultPrng = .init(0),

    /// Feed `input`, one request and perhaps what follows it.
    pub fn run(self: *Drive, input: []const u8, cuts: Cuts) Verdict {
        self.parser.reset();
        self.sink.len = 0;
        self.sink.hash = .init();
        if (cuts == .random) self.random = .init(cuts.random);
        var verdict: Verdict = .{};
        var seen: usize = 0;
        while (true) {
            switch (self.parser.feed(input[0..seen], &self.limits)) {
                .failed => |failure| return refuse(verdict, failure),
                .done => |length| {
                    std.debug.assert(length <= seen);
                    verdict.head_len = length;
                    self.check_spans(input[0..length]);
                    return self.run_body(input, seen, cuts, verdict);
                },
                .more => if (seen == input.len) return verdict,
            }
            seen = self.cut(seen, input.len, cuts);
        }
    }

    fn run_body(self: *Drive, input: []const u8, first: usize, cuts: Cuts, so_far: Verdict) Verdict {
        var verdict = so_far;
        var decoder = switch (http1.BodyDecoder.init(&self.parser.head, &self.limits)) {
            .failed => |failure| return refuse(verdict, failure),
            .ok => |decoder| decoder,
        };
        var used = verdict.head_len;
        var seen = first;
        while (!decoder.is_done()) {
            if (used == seen) {
                if (seen == input.len) return verdict;
                seen = self.cut(seen, input.len, cuts);
            }
            const step = switch (decoder.next(input[used..seen], &self.limits)) {
                .failed => |failure| return refuse(verdict, failure),
                .step => |step| step,
            };
            std.debug.assert(step.consumed > 0 and step.consumed <= seen - used);
            std.debug.assert(step.data.len <= step.consumed);
            std.debug.assert((step.state == .done) == decoder.is_done());
            used += step.consumed;
            self.sink.put(step.data);
        }
        verdict.status = 0;
        verdict.consumed = used;
        verdict.body_len = self.sink.len;
        verdict.body_hash = self.sink.hash.final();
        return verdict;
    }

    fn cut(self: *Drive, seen: usize, len: usize, cuts: Cuts) usize {
        return switch (cuts) {
            .whole => len,
            .bytes => @min(seen + 1, len),
            .at => |index| if (seen < index) @min(index, len) else len,
            .random => @min(len, seen + 1 + self.random.random().uintLessThan(usize, 24)),
        };
    }

    /// Every span lies within the head.
    fn check_spans(self: *const Drive, bytes: []const u8) void {
        const head = &self.parser.head;
        const spans = [_]http1.Span{ head.method, head.target, head.path, head.query, head.authority };
        for (spans) |span| _ = span.of(bytes);
        for (head.fields[0..head.field_count]) |field| {
            std.debug.assert(field.name.len > 0);
            _ = field.name.of(bytes);
            _ = field.value.of(bytes);
        }
    }
};

fn refuse(so_far: Verdict, failure: http1.Failure) Verdict {
    var verdict = so_far;
    verdict.status = failure.status;
    verdict.reason = failure.reason;
    return verdict;
}
