//! The model peers: clients at the far end of every stream, each with a plan.
//! Owns what each has sent and got; checks that the bytes it gets are its stream's, in order.
//! A peer acts when the model kernel's clock says so, also while the engine waits.

const std = @import("std");
const Kernel = @import("fake_kernel.zig").Kernel;
const network_module = @import("fake_network.zig");
const pattern = @import("model_application.zig").pattern;
const Socket = network_module.Socket;
const Listener = network_module.Listener;

pub const Plan = enum {
    /// Sends all, says its end, reads until the other end is said.
    half_close,
    /// Sends all, waits until as much has come back, then says its end.
    wait_for_echo,
    /// Closes in the middle, whatever is on its way.
    quit,
    reset,
    /// Falls silent in the middle and stays.
    vanish,
    /// Sends and never reads.
    no_read,
};

pub const Peer = struct {
    plan: Plan,
    listener: ?*Listener,
    socket: ?*Socket = null,
    to_send: u64,
    sent: u64 = 0,
    received: u64 = 0,
    /// Bytes after which the plan does what it is named for.
    turning_point: u64,
    attempts: u32 = 0,
    done: bool = false,
    saw_end: bool = false,
    slowest_ns: u64 = 2 * std.time.ns_per_ms,
    piece_most: usize = 2000,
    /// What it had sent and got when it last looked, and how often that was nothing new.
    did: u64 = 0,
    idle: u6 = 0,
};

pub const Peers = struct {
    kernel: *Kernel,
    list: std.ArrayList(Peer) = .empty,
    left: u32 = 0,
    /// Everyone behaves and comes to an end.
    calm: bool = false,

    pub fn add(self: *Peers, peer: Peer, delay_ns: u64) *Peer {
        const allocator = self.kernel.arena.allocator();
        self.list.append(allocator, peer) catch @panic("out of memory");
        self.left += 1;
        self.kernel.schedule_world(@intCast(self.list.items.len - 1), delay_ns);
        return &self.list.items[self.list.items.len - 1];
    }

    pub fn random_peer(self: *Peers, listener: ?*Listener) Peer {
        const random = self.kernel.random();
        const size: u64 = if (random.uintLessThan(u8, 4) == 0) 20_000 else 3_000;
        const to_send = random.uintLessThan(u64, size);
        return .{
            .plan = random.enumValue(Plan),
            .listener = listener,
            .to_send = to_send,
            .turning_point = random.uintAtMost(u64, to_send),
            .slowest_ns = if (random.boolean()) 200_000 else 4_000_000,
        };
    }

    pub fn act(self: *Peers, index: u32) void {
        const peer = &self.list.items[index];
        if (peer.done) return;
        const socket = peer.socket orelse {
            self.connect(peer);
            return self.again(peer, index);
        };
        if (!socket.connected) {
            if (socket.closed) return self.leave(peer);
            return self.again(peer, index);
        }
        if (socket.taint.never_accepted) return self.leave(peer);
        self.read(peer, socket);
        if (self.kernel.network.peer_sees_end(socket)) return self.see_end(peer, socket);
        self.write(peer, socket);
        self.follow_plan(peer, socket);
        self.again(peer, index);
    }

    pub fn reset_vanished(self: *Peers) void {
        for (self.list.items) |*peer| {
            const socket = peer.socket orelse continue;
            if (socket.taint.peer_vanished) self.kernel.network.peer_reset(socket);
        }
        self.kernel.settle();
    }

    /// Who had nothing to do looks again later and later: half a second is the longest.
    fn again(self: *Peers, peer: *Peer, index: u32) void {
        if (peer.done) return;
        const did = peer.sent + peer.received;
        peer.idle = if (did == peer.did) @min(peer.idle + 1, 7) else 0;
        peer.did = did;
        const longest = peer.slowest_ns << peer.idle;
        self.kernel.schedule_world(index, 1000 + self.kernel.random().uintLessThan(u64, longest));
    }

    fn leave(self: *Peers, peer: *Peer) void {
        if (peer.done) return;
        peer.done = true;
        self.left -= 1;
    }

    fn connect(self: *Peers, peer: *Peer) void {
        peer.socket = self.kernel.network.connect(peer.listener.?);
        peer.attempts += 1;
        if (peer.socket == null and peer.attempts > 20) self.leave(peer);
    }

    fn read(self: *Peers, peer: *Peer, socket: *Socket) void {
        if (peer.plan == .no_read) {
            socket.taint.stopped_reading = true;
            if (!self.calm) return;
        }
        if (socket.outbound.length() == 0) return;
        var buffer: [2048]u8 = undefined;
        const most = 1 + self.kernel.random().uintLessThan(usize, @min(buffer.len, 2 * peer.piece_most));
        const count = self.kernel.network.peer_read(socket, buffer[0..most]);
        for (buffer[0..count], 0..) |byte, i| {
            if (byte == pattern(socket.id, peer.received + i)) continue;
            self.kernel.violated("a peer got another's bytes, or out of order", socket.id);
            break;
        }
        peer.received += count;
    }

    fn write(self: *Peers, peer: *Peer, socket: *Socket) void {
        const left = peer.to_send - peer.sent;
        const space = if (socket.closed) 1 else socket.inbound.space();
        if (left == 0 or space == 0) return;
        var buffer: [2048]u8 = undefined;
        const most = @min(left, space, peer.piece_most, buffer.len);
        const bytes = buffer[0 .. 1 + self.kernel.random().uintLessThan(usize, most)];
        for (bytes, 0..) |*byte, i| byte.* = pattern(socket.id, peer.sent + i);
        peer.sent += self.kernel.network.peer_write(socket, bytes);
    }

    fn see_end(self: *Peers, peer: *Peer, socket: *Socket) void {
        peer.saw_end = !socket.reset_to_peer;
        self.kernel.network.peer_close(socket);
        self.leave(peer);
    }

    fn follow_plan(self: *Peers, peer: *Peer, socket: *Socket) void {
        const network = &self.kernel.network;
        const sent_all = peer.sent == peer.to_send;
        const turned = peer.sent >= peer.turning_point;
        switch (peer.plan) {
            .half_close => if (sent_all and !socket.peer_ended) network.peer_end(socket),
            .wait_for_echo, .no_read => {
                const enough = peer.received >= peer.sent or self.calm;
                if (sent_all and enough and !socket.peer_ended) network.peer_end(socket);
            },
            .quit => if (turned) {
                socket.taint.stopped_reading = true;
                network.peer_close(socket);
                self.leave(peer);
            },
            .reset => if (turned) {
                network.peer_reset(socket);
                self.leave(peer);
            },
            .vanish => if (turned) {
                if (self.calm) network.peer_reset(socket);
                socket.taint.peer_vanished = true;
                self.leave(peer);
            },
        }
    }
};
