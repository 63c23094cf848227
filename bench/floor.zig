//! The floor: a server on the same ring and the same worker as pyuring's, without Python. It echoes,
//! or answers every HTTP request alike without reading it (floor_http.zig).
//! What it costs a message is what no handler can go below; the difference to pyuring's server is
//! Python's share. Prints `listening on 127.0.0.1:PORT`, serves until it is killed.
//!
//!   floor [--http]

const std = @import("std");
const engine = @import("pyuring");
const kernel = engine.kernel;
const linux = kernel.linux;

pub const max_connections = 16384;

/// Answers each message with its own bytes, copied once as Python copies them into an object.
const Echo = struct {
    pub fn received(_: *Echo, worker: anytype, connection: *engine.Connection, data: []const u8) void {
        const copy = allocate(data.len) orelse return;
        @memcpy(copy, data);
        send(worker, connection, copy);
    }
};

/// A worker's handler around an `Answer`, which only receives: the rest is the same for all.
fn HandlerType(comptime Answer: type) type {
    return struct {
        const Handler = @This();
        const Worker = engine.WorkerType(engine.Ring, Handler);

        answer: Answer = .{},

        pub fn before_wait(_: *Handler) void {}
        pub fn after_wait(_: *Handler) void {}
        pub fn connected(self: *Handler, _: *Worker, connection: *engine.Connection, _: ?u32) void {
            connection.user = connection;
            if (@hasDecl(Answer, "connected")) self.answer.connected(connection);
        }
        pub fn connect_failed(_: *Handler, _: *Worker, _: *engine.Connection, _: i32) void {}
        pub fn accept_failed(_: *Handler, _: *Worker, _: u32, _: i32) void {}
        pub fn close_failed(_: *Handler, _: *Worker, _: i32) void {}
        pub fn deaf(_: *Handler, _: *Worker, _: i32) void {}
        pub fn block(_: *Handler, _: *Worker, _: *engine.Connection) ?engine.Target {
            return null;
        }

        pub fn target(_: *Handler, _: *Worker, _: *engine.Connection) ?engine.Target {
            return null;
        }
        pub fn expired(_: *Handler, _: *Worker, _: *engine.Connection) void {}

        pub fn received(self: *Handler, worker: *Worker, connection: *engine.Connection, data: []const u8) void {
            self.answer.received(worker, connection, data);
        }

        pub fn hold(_: *Handler, _: []const u8, _: *engine.Piece) bool {
            return false; // never pauses
        }
        pub fn received_held(_: *Handler, _: *Worker, _: *engine.Connection, _: *const engine.Piece) void {}
        pub fn ended(_: *Handler, _: *Worker, _: *engine.Connection) bool {
            return false;
        }
        pub fn congested(_: *Handler, _: *Worker, _: *engine.Connection) void {}
        pub fn drained(_: *Handler, _: *Worker, _: *engine.Connection) void {}
        pub fn lost(_: *Handler, _: *Worker, connection: *engine.Connection, _: i32) void {
            connection.user = null;
        }
        pub fn release(_: *Handler, owner: usize) void {
            free(@ptrFromInt(owner));
        }
    };
}

/// Room for `len` bytes whose length stands before them, where `free` finds it.
pub fn allocate(len: usize) ?[]u8 {
    const whole = std.heap.smp_allocator.alloc(u8, len + @sizeOf(usize)) catch return null;
    std.mem.writeInt(usize, whole[0..@sizeOf(usize)], whole.len, .little);
    return whole[@sizeOf(usize)..];
}

fn free(start: [*]u8) void {
    std.heap.smp_allocator.free(start[0..std.mem.readInt(usize, start[0..@sizeOf(usize)], .little)]);
}

/// Queues what `allocate` gave; it is freed when it has gone out.
pub fn send(worker: anytype, connection: *engine.Connection, data: []u8) void {
    const start = data.ptr - @sizeOf(usize);
    if (!engine.send.append(worker, connection, data, @intFromPtr(start))) free(start);
}

pub fn main(init: std.process.Init.Minimal) !void {
    var args = init.args.iterate();
    _ = args.skip();
    const mode = args.next() orelse return serve(Echo);
    if (!std.mem.eql(u8, mode, "--http")) return error.UnknownMode;
    return serve(@import("floor_http.zig").Hello);
}

fn serve(comptime Answer: type) !void {
    const Handler = HandlerType(Answer);
    const State = struct {
        var worker: Handler.Worker = undefined;
    };
    const listener = try listen();
    var failure: i32 = 0;
    const flags = linux.IORING_SETUP_SUBMIT_ALL | linux.IORING_SETUP_SINGLE_ISSUER |
        linux.IORING_SETUP_DEFER_TASKRUN;
    var ring = try engine.Ring.init(.{ .entries = 1024, .cq_entries = 4096, .flags = flags }, &failure);
    _ = ring.register_ring_fd();
    try State.worker.init(ring, Handler{}, .{
        .buffer_count = 256,
        .max_connections = max_connections,
        .write_timeout_ns = 60 * std.time.ns_per_s,
    }, &failure);
    _ = engine.accept.add(&State.worker, listener);
    while (true) {
        const result, _ = State.worker.turn(null);
        if (result < 0) return error.RingFailed;
    }
}

fn listen() !i32 {
    const fd = kernel.result_of(linux.socket(linux.AF.INET, linux.SOCK.STREAM | linux.SOCK.CLOEXEC, 0));
    const one: i32 = 1;
    _ = linux.setsockopt(fd, linux.SOL.SOCKET, linux.SO.REUSEADDR, @ptrCast(&one), @sizeOf(i32));
    _ = linux.setsockopt(fd, linux.IPPROTO.TCP, linux.TCP.NODELAY, @ptrCast(&one), @sizeOf(i32));
    var address = linux.sockaddr.in{
        .port = 0,
        .addr = std.mem.nativeToBig(u32, 0x7f000001),
    };
    var length: u32 = @sizeOf(linux.sockaddr.in);
    if (kernel.result_of(linux.bind(fd, @ptrCast(&address), length)) < 0) return error.Bind;
    if (kernel.result_of(linux.listen(fd, 4096)) < 0) return error.Listen;
    _ = linux.getsockname(fd, @ptrCast(&address), &length);
    var line: [64]u8 = undefined;
    const text = try std.fmt.bufPrint(&line, "listening on 127.0.0.1:{d}\n", .{std.mem.bigToNative(u16, address.port)});
    _ = linux.write(1, text.ptr, text.len);
    return fd;
}
