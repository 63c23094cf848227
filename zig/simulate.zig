//! Runs seeds of the simulator for as long as one likes; the smoke seeds are in `zig build test`.
//! Prints the seeds that fail and ends with 1 when there were any.
//!
//!   zig build simulate -- [SEED [COUNT]]

const std = @import("std");
const simulator = @import("testing/simulator.zig");

pub fn main(init: std.process.Init.Minimal) !u8 {
    var args = init.args.iterate();
    _ = args.skip();
    const first: u64 = if (args.next()) |text| try std.fmt.parseInt(u64, text, 10) else 0;
    const count: u64 = if (args.next()) |text| try std.fmt.parseInt(u64, text, 10) else 1;
    simulator.Simulator.verbose = count == 1;
    var failed: u64 = 0;
    var turns: u64 = 0;
    var bytes: u64 = 0;
    for (first..first + count) |seed| {
        const verdict = try simulator.Simulator.run(seed, .none);
        turns += verdict.turns;
        bytes += verdict.bytes;
        const text = verdict.violation orelse continue;
        std.debug.print("seed {d}: {s} ({x})\n", .{ seed, text, verdict.user_data });
        failed += 1;
    }
    std.debug.print("{d} seeds, {d} turns, {d} bytes, {d} failed\n", .{ count, turns, bytes, failed });
    return @intFromBool(failed > 0);
}

test {
    _ = @import("testing/all.zig");
}
