//! HTTP/1.1: fuzzes the parser for as long as one likes; the smoke seeds are in `zig build test`.
//! Prints the seed of the first input that breaks an invariant, and the input, and ends with 1.
//!
//!   zig build fuzz-http1 -- [SECONDS [SEED]]

const std = @import("std");
const linux = std.os.linux;
const invariants = @import("http1_invariants.zig");

pub fn main(init: std.process.Init.Minimal) !u8 {
    var args = init.args.iterate();
    _ = args.skip();
    const seconds: u64 = if (args.next()) |text| try std.fmt.parseInt(u64, text, 10) else 10;
    const first: u64 = if (args.next()) |text| try std.fmt.parseInt(u64, text, 10) else now_ns();
    std.debug.print("first seed {d}, {d} s\n", .{ first, seconds });
    const end = now_ns() + seconds * std.time.ns_per_s;
    var seed = first;
    while (seconds == 0 or now_ns() < end) : (seed +%= 1) {
        invariants.check_seed(seed) catch |wrong| {
            std.debug.print("seed {d}: {t}\n{f}\n", .{
                seed, wrong, std.ascii.hexEscape(invariants.last_input(), .lower),
            });
            return 1;
        };
        if (seconds == 0) break; // that one seed again
    }
    const counts = invariants.counts;
    std.debug.print("{d} requests: {d} accepted, {d} refused, {d} incomplete; {d} bytes of bodies\n", .{
        counts.accepted + counts.refused + counts.incomplete, counts.accepted,   counts.refused,
        counts.incomplete,                                    counts.body_bytes,
    });
    return 0;
}

fn now_ns() u64 {
    var time: linux.timespec = undefined;
    _ = linux.clock_gettime(.MONOTONIC, &time);
    return @as(u64, @intCast(time.sec)) * std.time.ns_per_s + @as(u64, @intCast(time.nsec));
}
