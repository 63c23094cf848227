//! Sockets in memory: descriptors, listeners with their backlogs, and both ends of each stream.
//! Owns every byte on its way. The engine's end has non-blocking calls that say -EAGAIN; the peer's
//! end has its own. Carries out no operation: whoever waits for a socket leaves a number with it
//! and finds that number in `woken` when the socket has changed.

const std = @import("std");
const kernel = @import("../kernel.zig");
const assert = std.debug.assert;

pub const first_fd = 1000;

/// A bounded queue of bytes.
pub const Bytes = struct {
    items: std.ArrayList(u8) = .empty,
    start: usize = 0,
    capacity: usize,

    pub fn length(self: *const Bytes) usize {
        return self.items.items.len - self.start;
    }

    pub fn space(self: *const Bytes) usize {
        return self.capacity -| self.length();
    }

    fn put(self: *Bytes, allocator: std.mem.Allocator, data: []const u8) void {
        if (self.start > 4096 and self.start * 2 > self.items.items.len) {
            const left = self.length();
            std.mem.copyForwards(u8, self.items.items[0..left], self.items.items[self.start..]);
            self.items.shrinkRetainingCapacity(left);
            self.start = 0;
        }
        self.items.appendSlice(allocator, data) catch @panic("out of memory");
    }

    fn get(self: *Bytes, out: []u8) usize {
        const count = @min(out.len, self.length());
        @memcpy(out[0..count], self.items.items[self.start..][0..count]);
        self.start += count;
        if (self.length() == 0) self.clear();
        return count;
    }

    fn clear(self: *Bytes) void {
        self.items.clearRetainingCapacity();
        self.start = 0;
    }
};

/// Why a stream's bytes may be missing at its end: what was done to it on purpose.
pub const Taint = packed struct(u16) {
    injected_error: bool = false,
    peer_reset: bool = false,
    peer_vanished: bool = false,
    aborted: bool = false,
    timed_out: bool = false,
    never_accepted: bool = false,
    stopped_reading: bool = false,
    /// A file ended before the part of it that was to be sent.
    file_shrank: bool = false,
    _: u8 = 0,

    pub fn any(self: Taint) bool {
        return @as(u16, @bitCast(self)) != 0;
    }
};

pub const Socket = struct {
    /// Never used twice, unlike the descriptor.
    id: u64,
    fd: i32 = -1,
    inbound: Bytes,
    outbound: Bytes,
    connected: bool = true,
    /// What becomes of connecting it.
    outcome: enum { succeed, refuse, silent } = .succeed,
    peer_ended: bool = false,
    peer_closed: bool = false,
    /// The engine's end has seen a reset: nothing goes in or out any more.
    broken: bool = false,
    shut: bool = false,
    shut_at_ns: u64 = 0,
    /// When the engine said it would linger no longer.
    linger_until_ns: u64 = 0,
    closed: bool = false,
    /// The peer sees a reset in place of what it has not read.
    reset_to_peer: bool = false,
    taint: Taint = .{},
    /// The numbers of who waits, one a direction: two receives or sends would mix bytes.
    receiver: ?u32 = null,
    sender: ?u32 = null,
    connector: ?u32 = null,
    /// Operations in flight that name this socket.
    operations: u32 = 0,
    /// Bytes that a test's own client has taken.
    peer_got: u64 = 0,
    /// When bytes last went in or out at the engine's end, or it was made; and out only.
    moved_ns: u64 = 0,
    sent_ns: u64 = 0,
    /// When a receive last found no buffer.
    starved_ns: u64 = 0,
    /// The errnos that were injected here.
    errnos: [4]i32 = @splat(0),

    /// Notes an error that is done to this stream on purpose.
    pub fn inject(self: *Socket, result: i32) i32 {
        self.taint.injected_error = true;
        for (&self.errnos) |*errno| {
            if (errno.* != 0 and errno.* != -result) continue;
            errno.* = -result;
            break;
        }
        return result;
    }
};

pub const Listener = struct {
    fd: i32,
    backlog: std.ArrayList(*Socket) = .empty,
    acceptor: ?u32 = null,
    closed: bool = false,
    /// -errno of every accept from here on.
    dead: i32 = 0,
    /// When an accept last failed for want of descriptors or memory, and how many the engine knew to
    /// be closed by then: accepting again at once would spin (F21).
    short_at_ns: ?u64 = null,
    short_closes: usize = 0,
};

const Descriptor = union(enum) { free, socket: *Socket, listener: *Listener };

pub const Network = struct {
    allocator: std.mem.Allocator,
    descriptors: std.ArrayList(Descriptor) = .empty,
    lowest_free: usize = 0,
    open: usize = 0,
    /// Open descriptors at most, listeners included.
    limit: usize = std.math.maxInt(usize),
    backlog_most: usize = 4096,
    inbound_capacity: usize = 4096,
    outbound_capacity: usize = 4096,
    next_id: u64 = 1,
    woken: std.ArrayList(u32) = .empty,
    clock_ns: *const u64,

    pub fn find(self: *const Network, fd: i32) Descriptor {
        if (fd < first_fd or fd - first_fd >= self.descriptors.items.len) return .free;
        return self.descriptors.items[@intCast(fd - first_fd)];
    }

    pub fn listen(self: *Network) *Listener {
        const listener = self.create(Listener, .{ .fd = -1 });
        listener.fd = self.install(.{ .listener = listener });
        return listener;
    }

    /// A socket of ours that is not connected yet.
    pub fn outgoing(self: *Network) *Socket {
        const socket = self.new_socket();
        socket.connected = false;
        socket.fd = self.install(.{ .socket = socket });
        return socket;
    }

    /// Like a kernel, the lowest number that is free (F39).
    fn install(self: *Network, descriptor: Descriptor) i32 {
        while (self.lowest_free < self.descriptors.items.len) : (self.lowest_free += 1) {
            if (self.descriptors.items[self.lowest_free] == .free) break;
        } else self.descriptors.append(self.allocator, .free) catch @panic("out of memory");
        self.descriptors.items[self.lowest_free] = descriptor;
        self.open += 1;
        return @intCast(first_fd + self.lowest_free);
    }

    // The engine's end: >= 0 or -errno, -EAGAIN where a kernel would wait.

    pub fn accept(self: *Network, listener: *Listener) i32 {
        // The descriptor is looked for first, as Linux does: EMFILE comes with an empty queue too.
        if (self.open >= self.limit) return kernel.negative(.MFILE);
        if (listener.backlog.items.len == 0) return kernel.negative(.AGAIN);
        const socket = listener.backlog.orderedRemove(0);
        socket.fd = self.install(.{ .socket = socket });
        return socket.fd;
    }

    pub fn receive(self: *Network, socket: *Socket, out: []u8) i32 {
        if (socket.broken) return kernel.negative(.CONNRESET);
        const count = socket.inbound.get(out);
        if (count > 0) socket.moved_ns = self.clock_ns.*;
        if (count > 0) return @intCast(count);
        return if (socket.peer_ended) 0 else kernel.negative(.AGAIN);
    }

    pub fn send(self: *Network, socket: *Socket, data: []const u8) i32 {
        if (socket.broken or socket.shut) return kernel.negative(.PIPE);
        if (socket.peer_closed) {
            self.break_off(socket);
            return kernel.negative(.PIPE);
        }
        const count = @min(data.len, socket.outbound.space());
        if (count == 0) return kernel.negative(.AGAIN);
        socket.outbound.put(self.allocator, data[0..count]);
        socket.moved_ns = self.clock_ns.*;
        socket.sent_ns = socket.moved_ns;
        return @intCast(count);
    }

    pub fn shutdown(self: *Network, socket: *Socket) i32 {
        if (socket.broken) return kernel.negative(.NOTCONN);
        if (!socket.shut) socket.shut_at_ns = self.clock_ns.*;
        socket.shut = true;
        return 0;
    }

    pub fn close(self: *Network, fd: i32) i32 {
        const index: usize = @intCast(fd - first_fd);
        switch (self.find(fd)) {
            .free => return kernel.negative(.BADF),
            .listener => |listener| {
                listener.closed = true;
                for (listener.backlog.items) |socket| {
                    socket.taint.never_accepted = true;
                    self.reset_peer(socket);
                }
                listener.backlog.clearRetainingCapacity();
            },
            .socket => |socket| {
                socket.closed = true;
                socket.fd = -1;
                // Unread input: the peer gets a reset, and what it has not read is lost (F40).
                if (socket.inbound.length() > 0) self.reset_peer(socket);
            },
        }
        self.descriptors.items[index] = .free;
        self.lowest_free = @min(self.lowest_free, index);
        self.open -= 1;
        return 0;
    }

    /// The first who waits is turned away.
    pub fn abandon(_: *Network, listener: *Listener) void {
        const socket = listener.backlog.orderedRemove(0);
        socket.taint.never_accepted = true;
        socket.reset_to_peer = true;
    }

    /// From here the engine's end fails, as after a reset.
    pub fn break_off(self: *Network, socket: *Socket) void {
        socket.broken = true;
        self.reset_peer(socket);
        self.wake(socket.receiver);
        self.wake(socket.sender);
    }

    fn reset_peer(_: *Network, socket: *Socket) void {
        socket.reset_to_peer = true;
        socket.outbound.clear();
    }

    // The peer's end.

    pub fn connect(self: *Network, listener: *Listener) ?*Socket {
        if (listener.closed or listener.dead != 0 or listener.backlog.items.len >= self.backlog_most) return null;
        const socket = self.new_socket();
        listener.backlog.append(self.allocator, socket) catch @panic("out of memory");
        self.wake(listener.acceptor);
        return socket;
    }

    /// How much went in; less than there was when the way is full.
    pub fn peer_write(self: *Network, socket: *Socket, data: []const u8) usize {
        if (socket.reset_to_peer or socket.peer_ended) return 0;
        if (socket.closed) {
            self.reset_peer(socket);
            return 0;
        }
        const count = @min(data.len, socket.inbound.space());
        socket.inbound.put(self.allocator, data[0..count]);
        if (count > 0) self.wake(socket.receiver);
        return count;
    }

    pub fn peer_read(self: *Network, socket: *Socket, out: []u8) usize {
        const count = socket.outbound.get(out);
        if (count > 0) self.wake(socket.sender);
        return count;
    }

    /// Nothing more will come: the engine has said its end, or is gone.
    pub fn peer_sees_end(_: *Network, socket: *const Socket) bool {
        return socket.reset_to_peer or (socket.outbound.length() == 0 and (socket.shut or socket.closed));
    }

    pub fn peer_end(self: *Network, socket: *Socket) void {
        socket.peer_ended = true;
        self.wake(socket.receiver);
    }

    pub fn peer_close(self: *Network, socket: *Socket) void {
        socket.peer_closed = true;
        self.peer_end(socket);
        self.wake(socket.sender);
    }

    pub fn peer_reset(self: *Network, socket: *Socket) void {
        socket.taint.peer_reset = true;
        socket.inbound.clear();
        self.break_off(socket);
    }

    fn new_socket(self: *Network) *Socket {
        const socket = self.create(Socket, .{
            .id = self.next_id,
            .inbound = .{ .capacity = self.inbound_capacity },
            .outbound = .{ .capacity = self.outbound_capacity },
            .moved_ns = self.clock_ns.*,
        });
        self.next_id += 1;
        return socket;
    }

    fn create(self: *Network, comptime T: type, value: T) *T {
        const item = self.allocator.create(T) catch @panic("out of memory");
        item.* = value;
        return item;
    }

    fn wake(self: *Network, waiter: ?u32) void {
        const number = waiter orelse return;
        self.woken.append(self.allocator, number) catch @panic("out of memory");
    }
};

test "the lowest descriptor is used again at once" {
    var arena = std.heap.ArenaAllocator.init(std.testing.allocator);
    defer arena.deinit();
    const clock_ns: u64 = 0;
    var network = Network{ .allocator = arena.allocator(), .clock_ns = &clock_ns };
    const listener = network.listen();
    _ = network.connect(listener).?;
    _ = network.connect(listener).?;
    const first = network.accept(listener);
    try std.testing.expectEqual(0, network.close(first));
    try std.testing.expectEqual(first, network.accept(listener));
    try std.testing.expectEqual(kernel.negative(.AGAIN), network.accept(listener));
}
