//! Runs seeds of the simulator for as long as one likes; the smoke seeds are in `zig build test`.
//! Prints each seed that fails with the command that plays it again, also when it trips an assertion,
//! crashes or never ends, and what was done to the worker meanwhile. Ends with 1 when one failed.
//!
//!   zig build simulate -- [SEED [COUNT [CANARY]]]
//!
//! CANARY is a planted bug's name, which only the copy of the sources has that tests/canaries.py makes.

const std = @import("std");
const canary = @import("testing/canary.zig");
const simulator = @import("testing/simulator.zig");
const Faults = @import("testing/fake_faults.zig").Faults;
const linux = std.os.linux;

/// A seed takes a few milliseconds.
const longest_s = 20;

/// For those who end the process in the middle of it.
var current_seed: u64 = 0;

pub const panic = std.debug.FullPanic(panicked);
pub const std_options: std.Options = .{ .enable_segfault_handler = false };

fn panicked(text: []const u8, _: ?usize) noreturn {
    fail(current_seed, text, 0);
    linux.exit_group(1);
}

fn signalled(signal: linux.SIG) callconv(.c) void {
    panicked(if (signal == .ALRM) "it never ends" else "it crashes", null);
}

fn fail(seed: u64, text: []const u8, user_data: u64) void {
    const program = if (canary.name.len > 0) "zig-out/canaries/simulate" else "zig build simulate --";
    std.debug.print("seed {d}: {s} ({x}); again: {s} {d} 1 {s}\n", .{ seed, text, user_data, program, seed, canary.name });
}

pub fn main(init: std.process.Init.Minimal) !u8 {
    var args = init.args.iterate();
    _ = args.skip();
    const first: u64 = if (args.next()) |text| try std.fmt.parseInt(u64, text, 10) else 0;
    const count: u64 = if (args.next()) |text| try std.fmt.parseInt(u64, text, 10) else 1;
    if (args.next()) |name| if (!canary.plant(name)) {
        std.debug.print("{s} is not planted here: see tests/canaries.py\n", .{name});
        return 2;
    };
    listen_for_signals();
    simulator.Simulator.verbose = count == 1;
    var total = Total{};
    for (first..first + count) |seed| {
        current_seed = seed;
        alarm(longest_s);
        const verdict = try simulator.Simulator.run(seed, .none);
        total.add(&verdict);
        const text = verdict.violation orelse continue;
        fail(seed, text, verdict.user_data);
        if (canary.name.len > 0) return 1; // one is enough
    }
    alarm(0);
    total.print();
    return @intFromBool(total.failed > 0);
}

const Total = struct {
    seeds: u64 = 0,
    failed: u64 = 0,
    connections: u64 = 0,
    turns: u64 = 0,
    completions: u64 = 0,
    bytes: u64 = 0,
    struck: @FieldType(simulator.Verdict, "struck") = .initFill(0),

    fn add(self: *Total, verdict: *const simulator.Verdict) void {
        self.seeds += 1;
        self.failed += @intFromBool(verdict.violation != null);
        self.connections += verdict.connections;
        self.turns += verdict.turns;
        self.completions += verdict.completions;
        self.bytes += verdict.bytes;
        for (std.enums.values(Faults.Kind)) |kind| self.struck.getPtr(kind).* += verdict.struck.get(kind);
    }

    fn print(self: *const Total) void {
        std.debug.print("{d} seeds, {d} connections, {d} turns, {d} completions, {d} bytes, {d} failed\n", .{
            self.seeds, self.connections, self.turns, self.completions, self.bytes, self.failed,
        });
        if (self.seeds == 1) return;
        std.debug.print("faults:", .{});
        for (std.enums.values(Faults.Kind)) |kind| std.debug.print(" {s} {d}", .{ @tagName(kind), self.struck.get(kind) });
        std.debug.print("\n", .{});
    }
};

fn listen_for_signals() void {
    const action = linux.Sigaction{
        .handler = .{ .handler = signalled },
        .mask = linux.sigemptyset(),
        .flags = linux.SA.RESETHAND,
    };
    for ([_]linux.SIG{ .ALRM, .SEGV, .BUS, .ILL, .FPE }) |signal| _ = linux.sigaction(signal, &action, null);
}

fn alarm(seconds: isize) void {
    const timer = linux.itimerspec{
        .it_interval = .{ .sec = 0, .nsec = 0 },
        .it_value = .{ .sec = seconds, .nsec = 0 },
    };
    _ = linux.setitimer(@intFromEnum(linux.ITIMER.REAL), &timer, null);
}

test {
    _ = @import("testing/all.zig");
}
