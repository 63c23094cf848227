//! What the HTTP parser costs a request, without a socket: nanoseconds for the head, in one piece,
//! the best and the median of many batches. Prints one line a request; asserts no bar.
//!
//!   parse [BATCHES]

const std = @import("std");
const http1 = @import("http1");
const net = @import("net.zig");

const Case = struct { name: []const u8, request: []const u8 };

const cases = [_]Case{
    .{ .name = "small", .request = "GET / HTTP/1.1\r\nHost: localhost:8000\r\n\r\n" },
    .{ .name = "curl", .request = "GET /hello HTTP/1.1\r\nHost: localhost:8000\r\n" ++
        "User-Agent: curl/8.5.0\r\nAccept: */*\r\n\r\n" },
    .{ .name = "browser", .request = "GET /wiki/HTTP?action=view&section=2 HTTP/1.1\r\n" ++
        "Host: en.example.org\r\n" ++
        "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:125.0) Gecko/20100101 Firefox/125.0\r\n" ++
        "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp," ++
        "image/png,image/svg+xml,*/*;q=0.8\r\n" ++
        "Accept-Language: en-US,en;q=0.5\r\n" ++
        "Accept-Encoding: gzip, deflate, br, zstd\r\n" ++
        "Connection: keep-alive\r\n" ++
        "Referer: https://en.example.org/wiki/Main_Page?from=somewhere\r\n" ++
        "Cookie: session=0123456789abcdef0123456789abcdef; theme=dark; consent=yes; " ++
        "tracking=GA1.2.1234567890.1234567890; lang=en\r\n\r\n" },
    .{ .name = "post", .request = "POST /api/items HTTP/1.1\r\nHost: api.example.org\r\n" ++
        "Content-Type: application/json\r\nContent-Length: 17\r\nConnection: keep-alive\r\n" ++
        "Accept: application/json\r\n\r\n{\"name\": \"value\"}" },
};

const requests_a_batch = 20_000;

var parser: http1.HeadParser = undefined;

pub fn main(init: std.process.Init.Minimal) !u8 {
    var args = init.args.iterate();
    _ = args.skip();
    const wanted: usize = if (args.next()) |text| try std.fmt.parseInt(usize, text, 10) else 25;
    var times: [1000]u64 = undefined;
    const batches = times[0..@max(1, @min(wanted, times.len))];
    for (cases) |case| {
        for (batches) |*time| time.* = batch(case.request);
        std.mem.sort(u64, batches, {}, std.sort.asc(u64));
        std.debug.print("{s:>8}: {d:>4} bytes  best {d:>6.1} ns  median {d:>6.1} ns\n", .{
            case.name, case.request.len, nanoseconds(batches[0]), nanoseconds(batches[batches.len / 2]),
        });
    }
    return 0;
}

fn batch(request: []const u8) u64 {
    const limits: http1.Limits = .{ .body = 1 << 20 };
    const begun = net.monotonic_ns();
    for (0..requests_a_batch) |_| {
        parser.reset();
        const result = parser.feed(request, &limits);
        if (result != .done) @panic("a good request was refused");
        std.mem.doNotOptimizeAway(&parser);
    }
    return net.monotonic_ns() - begun;
}

fn nanoseconds(time: u64) f64 {
    return @as(f64, @floatFromInt(time)) / requests_a_batch;
}
