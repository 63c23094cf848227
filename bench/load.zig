//! The load generator: `load --mode echo|churn|fixed --port P --pid SERVER …` prints one line of JSON.
//! Owns the command line and the report; load_echo.zig and load_churn.zig own the two loops.
//! The server's CPU clock is read here, at the very edges of the measured window, so that neither
//! start-up, warm-up nor scheduling of a third process is counted. Never prints while measuring.

const std = @import("std");
const linux = std.os.linux;
const net = @import("net.zig");
const echo = @import("load_echo.zig");
const churn = @import("load_churn.zig");
const fixed = @import("load_fixed.zig");
const Histogram = @import("histogram.zig").Histogram;

pub const Options = struct {
    mode: enum { echo, churn, fixed } = .echo,
    /// Where the server listens, on 127.0.0.1.
    port: u16 = 0,
    /// The server, whose CPU time is read; 0 for none.
    pid: i32 = 0,
    connections: u32 = 64,
    size: u32 = 64,
    /// The bytes of a reply (fixed), which stands behind the request on standard input.
    reply: u32 = 0,
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
    started_ns: u64 = 0,
    ended_ns: u64 = 0,
    server_cpu_ns: u64 = 0,
    load_cpu_ns: u64 = 0,
    options: *const Options,

    /// Forget the warm-up and read the clocks.
    pub fn start(report: *Report) void {
        report.messages = 0;
        report.latency = .{};
        report.server_cpu_ns = report.server_clock();
        report.load_cpu_ns = net.process_cpu_ns(linux.getpid());
        report.started_ns = net.monotonic_ns();
    }

    pub fn stop(report: *Report) void {
        report.ended_ns = net.monotonic_ns();
        report.server_cpu_ns = report.server_clock() - report.server_cpu_ns;
        report.load_cpu_ns = net.process_cpu_ns(linux.getpid()) - report.load_cpu_ns;
    }

    fn server_clock(report: *const Report) u64 {
        return if (report.options.pid == 0) 0 else net.process_cpu_ns(report.options.pid);
    }

    pub fn errors(report: *const Report) u64 {
        return report.mismatches + report.disconnects + report.refused + report.missing;
    }
};

/// When the warm-up and the window end; both loops ask it once per turn.
pub const Schedule = struct {
    warm_ns: u64,
    end_ns: u64,
    measuring: bool = false,

    pub fn init(options: *const Options) Schedule {
        const warm = net.monotonic_ns() + @as(u64, options.warmup_ms) * std.time.ns_per_ms;
        return .{ .warm_ns = warm, .end_ns = warm + @as(u64, options.window_ms) * std.time.ns_per_ms };
    }

    /// Move the report's window along; false once it is over.
    pub fn turn(schedule: *Schedule, report: *Report) bool {
        const now = net.monotonic_ns();
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
    if (options.reply == 0) net.die("--reply starts at 1", .{});
    return options;
}

fn assign(options: *Options, word: []const u8, value: []const u8) bool {
    inline for (std.meta.fields(Options)) |field| {
        if (std.mem.startsWith(u8, word, "--") and same(word[2..], field.name)) {
            @field(options, field.name) = switch (@typeInfo(field.type)) {
                .@"enum" => std.meta.stringToEnum(field.type, value) orelse return false,
                else => std.fmt.parseInt(field.type, value, 10) catch return false,
            };
            return true;
        }
    }
    return false;
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
        \\"p50_ns": {d}, "p99_ns": {d}, "mismatches": {d}, "disconnects": {d}, 
    ++
        \\"refused": {d}, "missing": {d}}}
        \\
    , .{
        result.messages,    result.ended_ns - result.started_ns, result.server_cpu_ns,
        result.load_cpu_ns, result.latency.quantile(0.5),        result.latency.quantile(0.99),
        result.mismatches,  result.disconnects,                  result.refused,
        result.missing,
    }) catch unreachable;
    _ = linux.write(1, text.ptr, text.len);
}

test {
    _ = @import("histogram.zig");
}
