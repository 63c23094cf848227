//! Latencies in buckets whose width is at most 0.4 % of their value: 256 steps per power of two.
//! Owns a fixed table; never allocates and never loses a sample (the last bucket takes the rest).

const std = @import("std");

const steps_log2 = 8;
const steps = 1 << steps_log2;
/// Up to 2^40 ns, eighteen minutes.
const powers = 40 - steps_log2 + 1;

pub const Histogram = struct {
    counts: [powers * steps]u64 = @splat(0),
    total: u64 = 0,

    pub fn add(histogram: *Histogram, ns: u64) void {
        histogram.counts[bucket_of(ns)] += 1;
        histogram.total += 1;
    }

    /// The value that `fraction` of the samples do not exceed, in ns; 0 without samples.
    pub fn quantile(histogram: *const Histogram, fraction: f64) u64 {
        if (histogram.total == 0) return 0;
        const samples: f64 = @floatFromInt(histogram.total);
        const wanted: u64 = @max(1, @as(u64, @intFromFloat(@ceil(samples * fraction))));
        var seen: u64 = 0;
        for (histogram.counts, 0..) |count, bucket| {
            seen += count;
            if (seen >= wanted) return value_of(bucket);
        }
        unreachable;
    }
};

fn bucket_of(ns: u64) usize {
    if (ns < steps) return @intCast(ns);
    const power: usize = 63 - @clz(ns) - steps_log2;
    const step: usize = @intCast((ns >> @intCast(power)) - steps);
    return @min((power + 1) * steps + step, powers * steps - 1);
}

fn value_of(bucket: usize) u64 {
    if (bucket < steps) return bucket;
    const power = bucket / steps - 1;
    return @as(u64, steps + bucket % steps) << @intCast(power);
}

test "a value lands in the bucket that starts at most 0.4 % below it" {
    var ns: u64 = 1;
    while (ns < 1 << 38) : (ns = ns * 3 / 2 + 1) {
        const low = value_of(bucket_of(ns));
        try std.testing.expect(low <= ns);
        try std.testing.expect(ns - low <= ns / steps);
    }
}

test "quantiles of the numbers 1 to 100" {
    var histogram: Histogram = .{};
    for (1..101) |ns| histogram.add(ns);
    try std.testing.expectEqual(@as(u64, 50), histogram.quantile(0.5));
    try std.testing.expectEqual(@as(u64, 99), histogram.quantile(0.99));
}
