//! The load generator: `load --mode echo|broadcast|churn|fixed --port P --pid SERVER …` prints one
//! line of JSON. Owns the command line and the report; load_echo.zig and load_churn.zig own the loops.
//! The server's CPU clocks and counters are read here, at the very edges of the measured window, so that
//! neither start-up, warm-up nor scheduling of a third process is counted. Never prints while measuring.

const std = @import("std");
const linux = std.os.linux;
const net = @import("net.zig");
const echo = @import("load_echo.zig");
const churn = @import("load_churn.zig");
const fixed = @import("load_fixed.zig");
const Histogram = @import("histogram.zig").Histogram;

pub const Options = struct {
    mode: enum { echo, broadcast, churn, fixed } = .echo,
    /// Where the server listens, on 127.0.0.1.
    port: u16 = 0,
    /// The server's processes, whose CPU time is read, divided by commas; 0 for none.
    pid: [16]i32 = @splat(0),
    /// Inherited descriptors of counters (perf_event_open(2)), read together with the CPU time.
    counters: [64]i32 = @splat(0),
    connections: u32 = 64,
    size: u32 = 64,
    /// The bytes of a reply (fixed), which stands behind the request on standard input.
    reply: u32 = 0,
    /// The part of the reply, from one place to before another, that may be anything: a date.
    vary_from: u32 = 0,
    vary_to: u32 = 0,
    /// Messages a second over all connections, sent on a schedule and timed from when they were due;
    /// 0: each as soon as an earlier one has come back (echo, fixed).
    rate: u32 = 0,
    /// Messages in flight per connection (echo, fixed).
    depth: u32 = 1,
    /// How the echo load moves its bytes: by io_uring where it may, else by epoll.
    io: enum { auto, ring, epoll } = .auto,
    /// 1: look for replies without ever sleeping, so that the server never pays for a wake-up.
    spin: u1 = 1,
    /// 0 to look at lengths only, for a peer that is known to send wrong bytes (echo).
    verify: u1 = 1,
    warmup_ms: u32 = 300,
    window_ms: u32 = 2000,
};

/// What one window gave. The loops fill `messages`, `latency` and the errors.
pub const Report = struct {
    messages: u64 = 0,
    latency: Histogram = .{},
    /// Bytes that came back wrong, connections ended or refused, replies that never came.
    mismatches: u64 = 0,
    disconnects: u64 = 0,
    refused: u64 = 0,
    missing: u64 = 0,
    /// Messages that were due by the end of the window and had not been sent by then.
    behind: u64 = 0,
    started_ns: u64 = 0,
    ended_ns: u64 = 0,
    server_cpu_ns: u64 = 0,
    load_cpu_ns: u64 = 0,
    /// The time that was spent looking for replies in vain (while never sleeping).
    idle_ns: u64 = 0,
    /// What the counters have counted.
    counted: u64 = 0,
    options: *const Options,

    /// Forget the warm-up and read the clocks.
    pub fn start(report: *Report) void {
        report.messages = 0;
        report.latency = .{};
        report.idle_ns = 0;
        report.counted = report.read_counters();
        report.server_cpu_ns = report.server_clock();
        report.load_cpu_ns = net.process_cpu_ns(linux.getpid());
        report.started_ns = net.monotonic_ns();
    }

    pub fn stop(report: *Report) void {
        report.ended_ns = net.monotonic_ns();
        report.server_cpu_ns = report.server_clock() - report.server_cpu_ns;
        report.load_cpu_ns = net.process_cpu_ns(linux.getpid()) - report.load_cpu_ns;
        report.counted = report.read_counters() - report.counted;
    }

    fn server_clock(report: *const Report) u64 {
        var sum: u64 = 0;
        for (std.mem.sliceTo(&report.options.pid, 0)) |pid| sum += net.process_cpu_ns(pid);
        return sum;
    }

    fn read_counters(report: *const Report) u64 {
        var sum: u64 = 0;
        for (std.mem.sliceTo(&report.options.counters, 0)) |fd| {
            var value: u64 = 0;
            _ = net.must(linux.read(fd, std.mem.asBytes(&value), @sizeOf(u64)), "read of a counter");
            sum += value;
        }
        return sum;
    }

    /// The load's own time at work: without looking in vain where it never sleeps.
    fn work_ns(report: *const Report) u64 {
        const sleeps = report.options.spin == 0 or report.options.mode == .churn;
        // On a busy machine the turns are also interrupted; no more than the CPU time was work.
        const at_work = report.ended_ns - report.started_ns -| report.idle_ns;
        return if (sleeps) report.load_cpu_ns else @min(report.load_cpu_ns, at_work);
    }

    pub fn errors(report: *const Report) u64 {
        return report.mismatches + report.disconnects + report.refused + report.missing;
    }
};

/// When the warm-up and the window end; both loops ask it once per turn.
pub const Schedule = struct {
    warm_ns: u64,
    end_ns: u64,
    turned_ns: u64 = 0,
    measuring: bool = false,

    pub fn init(options: *const Options) Schedule {
        const warm = net.monotonic_ns() + @as(u64, options.warmup_ms) * std.time.ns_per_ms;
        return .{ .warm_ns = warm, .end_ns = warm + @as(u64, options.window_ms) * std.time.ns_per_ms };
    }

    /// Move the report's window along; false once it is over. The turn that has just ended found
    /// nothing when it was `idle`.
    pub fn turn(schedule: *Schedule, report: *Report, idle: bool) bool {
        const now = net.monotonic_ns();
        if (idle) report.idle_ns += now - schedule.turned_ns;
        schedule.turned_ns = now;
        if (!schedule.measuring and now >= schedule.warm_ns) {
            schedule.measuring = true;
            report.start();
        } else if (schedule.measuring and now >= schedule.end_ns) {
            report.stop();
            return false;
        }
        return true;
    }
};

var pattern: net.Pattern = undefined;
var result: Report = undefined;

pub fn main(init: std.process.Init.Minimal) u8 {
    const options = parse(init.args);
    pattern.init();
    result = .{ .options = &options };
    switch (options.mode) {
        .echo => echo.run(&options, .{ .echo = &pattern }, &result),
        .broadcast => echo.run(&options, .{ .broadcast = &pattern }, &result),
        .fixed => echo.run(&options, .{ .fixed = fixed.read(&options) }, &result),
        .churn => churn.run(&options, &pattern, &result),
    }
    print();
    return if (result.errors() == 0) 0 else 3;
}

/// Every field of Options is an option of the same name with dashes.
fn parse(args: std.process.Args) Options {
    var options: Options = .{};
    var words = args.iterate();
    _ = words.skip();
    while (words.next()) |word| {
        const value = words.next() orelse net.die("{s} wants a value", .{word});
        if (!assign(&options, word, value)) net.die("what is {s} {s}?", .{ word, value });
    }
    if (options.port == 0) net.die("--port is missing", .{});
    if (options.connections == 0 or options.size == 0 or options.depth == 0) {
        net.die("--connections, --size and --depth start at 1", .{});
    }
    if (options.mode != .fixed) options.reply = options.size;
    if (options.mode == .broadcast and options.depth != 1) net.die("broadcast has a depth of 1", .{});
    if (options.reply == 0) net.die("--reply starts at 1", .{});
    return options;
}

fn assign(options: *Options, word: []const u8, value: []const u8) bool {
    inline for (std.meta.fields(Options)) |field| {
        if (std.mem.startsWith(u8, word, "--") and same(word[2..], field.name)) {
            @field(options, field.name) = switch (@typeInfo(field.type)) {
                .@"enum" => std.meta.stringToEnum(field.type, value) orelse return false,
                .array => list(field.type, value) orelse return false,
                else => std.fmt.parseInt(field.type, value, 10) catch return false,
            };
            return true;
        }
    }
    return false;
}

/// Numbers divided by commas, the rest zero; one place stays zero as their end.
fn list(comptime T: type, value: []const u8) ?T {
    var numbers: T = @splat(0);
    var words = std.mem.splitScalar(u8, value, ',');
    var count: usize = 0;
    while (words.next()) |word| : (count += 1) {
        if (count + 1 == numbers.len) return null;
        numbers[count] = std.fmt.parseInt(@TypeOf(numbers[0]), word, 10) catch return null;
    }
    return numbers;
}

fn same(word: []const u8, name: []const u8) bool {
    if (word.len != name.len) return false;
    for (word, name) |a, b| {
        if (a != b and !(a == '-' and b == '_')) return false;
    }
    return true;
}

fn print() void {
    var line: [1024]u8 = undefined;
    const text = std.fmt.bufPrint(&line,
        \\{{"messages": {d}, "window_ns": {d}, "server_cpu_ns": {d}, "load_cpu_ns": {d}, 
    ++
        \\"load_work_ns": {d}, "counted": {d}, "p50_ns": {d}, "p99_ns": {d}, "p999_ns": {d}, 
    ++
        \\"mismatches": {d}, "disconnects": {d}, "refused": {d}, "missing": {d}, "behind": {d}}}
        \\
    , .{
        result.messages,              result.ended_ns - result.started_ns, result.server_cpu_ns,
        result.load_cpu_ns,           result.work_ns(),                    result.counted,
        result.latency.quantile(0.5), result.latency.quantile(0.99),       result.latency.quantile(0.999),
        result.mismatches,            result.disconnects,                  result.refused,
        result.missing,               result.behind,
    }) catch unreachable;
    _ = linux.write(1, text.ptr, text.len);
}

test {
    _ = @import("histogram.zig");
}
