//! The floor: an echo server on the same ring and the same worker as pyuring's, without Python.
//! What it costs a message is what no handler can go below; the difference to pyuring's echo is
//! Python's share. Prints `listening on 127.0.0.1:PORT`, serves until it is killed.
//!
//!   floor [PORT]

const std = @import("std");
const engine = @import("pyuring");
const kernel = engine.kernel;
const linux = kernel.linux;

const Worker = engine.WorkerType(engine.Ring, Echo);

/// Answers each message with its own bytes, copied once as Python copies them into an object.
const Echo = struct {
    pub fn before_wait(_: *Echo) void {}
    pub fn after_wait(_: *Echo) void {}
    pub fn connected(_: *Echo, _: *Worker, connection: *engine.Connection, _: ?u32) void {
        connection.user = connection;
    }
    pub fn connect_failed(_: *Echo, _: *Worker, _: *engine.Connection, _: i32) void {}
    pub fn accept_failed(_: *Echo, _: *Worker, _: u32, _: i32) void {}
    pub fn close_failed(_: *Echo, _: *Worker, _: i32) void {}
    pub fn expired(_: *Echo, _: *Worker, _: *engine.Connection) void {}

    pub fn received(_: *Echo, worker: *Worker, connection: *engine.Connection, data: []const u8) void {
        const copy = std.heap.smp_allocator.alloc(u8, data.len + @sizeOf(usize)) catch return;
        std.mem.writeInt(usize, copy[0..@sizeOf(usize)], copy.len, .little);
        @memcpy(copy[@sizeOf(usize)..], data);
        if (!engine.send.append(worker, connection, copy[@sizeOf(usize)..], @intFromPtr(copy.ptr))) {
            std.heap.smp_allocator.free(copy);
        }
    }

    pub fn hold(_: *Echo, _: []const u8, _: *engine.Piece) bool {
        return false; // never pauses
    }
    pub fn received_held(_: *Echo, _: *Worker, _: *engine.Connection, _: *const engine.Piece) void {}
    pub fn ended(_: *Echo, _: *Worker, _: *engine.Connection) bool {
        return false;
    }
    pub fn congested(_: *Echo, _: *Worker, _: *engine.Connection) void {}
    pub fn drained(_: *Echo, _: *Worker, _: *engine.Connection) void {}
    pub fn lost(_: *Echo, _: *Worker, connection: *engine.Connection, _: i32) void {
        connection.user = null;
    }

    pub fn release(_: *Echo, owner: usize) void {
        const start: [*]u8 = @ptrFromInt(owner);
        std.heap.smp_allocator.free(start[0..std.mem.readInt(usize, start[0..@sizeOf(usize)], .little)]);
    }
};

var the_worker: Worker = undefined;

pub fn main(init: std.process.Init.Minimal) !void {
    var args = init.args.iterate();
    _ = args.skip();
    const wanted: u16 = if (args.next()) |text| try std.fmt.parseInt(u16, text, 10) else 0;
    const listener = try listen(wanted);
    var failure: i32 = 0;
    const flags = linux.IORING_SETUP_SUBMIT_ALL | linux.IORING_SETUP_SINGLE_ISSUER |
        linux.IORING_SETUP_DEFER_TASKRUN;
    var ring = try engine.Ring.init(.{ .entries = 1024, .cq_entries = 4096, .flags = flags }, &failure);
    _ = ring.register_ring_fd();
    try the_worker.init(ring, .{}, .{
        .buffer_count = 256,
        .max_connections = 16384,
        .write_timeout_ns = 60 * std.time.ns_per_s,
    }, &failure);
    _ = engine.accept.add(&the_worker, listener);
    while (true) {
        const result, _ = the_worker.turn(null);
        if (result < 0) return error.RingFailed;
    }
}

fn listen(wanted: u16) !i32 {
    const fd = kernel.result_of(linux.socket(linux.AF.INET, linux.SOCK.STREAM | linux.SOCK.CLOEXEC, 0));
    const one: i32 = 1;
    _ = linux.setsockopt(fd, linux.SOL.SOCKET, linux.SO.REUSEADDR, @ptrCast(&one), @sizeOf(i32));
    _ = linux.setsockopt(fd, linux.IPPROTO.TCP, linux.TCP.NODELAY, @ptrCast(&one), @sizeOf(i32));
    var address = linux.sockaddr.in{
        .port = std.mem.nativeToBig(u16, wanted),
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
