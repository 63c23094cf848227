//! One connection's state, and the slab they all live in.
//! Owns the send queue's pieces until their owner is released. Issues no operation itself:
//! worker.zig's neighbours (receive, send, closing) read and change the state here.
//!
//! Life of a slot:   free -> connecting -> open -> flushing -> lingering -> releasing -> free
//!                                   \______________ abort ______________/
//! A slot leaves `releasing` only when no operation names it any more (F38), and its generation
//! goes up then, so that whatever still comes with the old one is known to be stale (F12).

const std = @import("std");
const kernel = @import("kernel.zig");
const PoolType = @import("pool.zig").PoolType;
const assert = std.debug.assert;

pub const Phase = enum(u8) {
    free,
    /// The connect operation is in flight; the application knows nothing yet.
    connecting,
    /// The application may read and write.
    open,
    /// Closed by the application or by the peer's end: the queue still goes out.
    flushing,
    /// Everything sent and our end said (FIN); waiting a while for the peer's, reading into the
    /// void, because a close with unread input would reset what we just sent (F40).
    lingering,
    /// Cancelling what is in flight; then the descriptor is closed.
    releasing,
};

/// What the kernel holds of one kind of operation: never two of a kind at once (F32, F35).
pub const InFlight = enum(u8) { none, armed, cancelling };

/// Bytes to send. The owner (for Python: a bytes object) is kept until the kernel is done.
pub const Piece = struct {
    next: ?*Piece,
    data: []const u8,
    owner: usize,
    /// A part of a file instead: the descriptor, which the owner keeps open. `data` has the part's
    /// length then, and an address that nobody reads.
    file: i32 = -1,
    offset: u64 = 0,

    pub fn of_file(file: i32, offset: u64, count: usize, owner: usize) Piece {
        const nowhere: [*]const u8 = @ptrFromInt(1);
        return .{ .next = null, .data = nowhere[0..count], .owner = owner, .file = file, .offset = offset };
    }
};

pub const gather_max = 64;

/// A vectored send's message header and vectors: lent to the kernel while the send is in flight.
pub const Gather = struct {
    header: kernel.linux.msghdr_const,
    vectors: [gather_max]std.posix.iovec_const,
};

/// Where an outgoing connection goes: lent to the kernel while the connect is in flight.
pub const Address = struct {
    bytes: [128]u8 align(8),
    length: u32,
};

/// Memory of the handler's that a receive goes into, instead of a buffer of the worker's: lent to
/// the kernel from the receive's submission to its completion, and released then. One for a receive
/// in bulk (bulk.zig) is made and released within the completion that it is received in.
pub const Target = struct {
    memory: []u8,
    owner: usize,
};

pub const Connection = struct {
    generation: u32,
    slot: u32,
    fd: i32,
    phase: Phase,
    receive: InFlight,
    send: InFlight,
    flags: Flags,
    /// Operations naming this slot that the kernel has not finished, cancels included.
    ops: u32,
    /// The handler's object for this connection, or null before and after its life there.
    user: ?*anyopaque,

    // To send. The first piece's first `sent` bytes are gone already.
    queue_first: ?*Piece,
    queue_last: ?*Piece,
    sent: usize,
    queued_bytes: usize,
    /// Those of them that lie in files, and so in nobody's memory.
    queued_in_files: usize,
    /// The turn (its number's low half) that has sent as much of a file as one may.
    file_turn: u32,
    gather: ?*Gather,
    write_high: usize,
    write_low: usize,

    // Received while the application had paused: kept in order (F33).
    held_first: ?*Piece,
    held_last: ?*Piece,
    held_bytes: usize,

    /// The receive buffer of a connection in a tier without provided buffers, in a poison build.
    own_buffer: ?[*]u8,
    address: ?*Address,
    target: ?Target,

    last_receive_ns: u64,
    /// When the send in flight last made progress.
    send_progress_ns: u64,
    /// End of the present phase: connecting, lingering.
    phase_until_ns: u64,
    /// When the handler wants to be told (`expired`) that the time is over; 0: not at all.
    handler_until_ns: u64,
    /// What goes to connection_lost: an errno, or 0 for an orderly end.
    reason: i32,
    dirty_next: u32,
    free_next: u32,

    pub const Flags = packed struct(u32) {
        /// In the worker's list of connections to look at before the next wait.
        dirty: bool = false,
        /// The application asked for no more data.
        paused: bool = false,
        /// We stopped reading because the peer does not take our replies.
        choked: bool = false,
        /// The application was told that its queue is above the high-water mark.
        congested: bool = false,
        /// The peer has said its end.
        peer_ended: bool = false,
        /// ... and the application knows.
        end_told: bool = false,
        /// The application will write no more: shut down once the queue is empty.
        write_end: bool = false,
        shutdown_in_flight: bool = false,
        shutdown_done: bool = false,
        close_in_flight: bool = false,
        connect_cancelled: bool = false,
        /// Writing failed: what is queued will never go out.
        send_broken: bool = false,
        /// The connection was made: the application has heard of it, or was meant to.
        connected: bool = false,
        /// The application has heard of its end.
        lost_told: bool = false,
        /// The send in flight, or the last one, is a wait for room to send a file's part into, and
        /// nothing has gone out since.
        polling: bool = false,
        /// The handler is at work for this connection: neither idle nor quiet, whatever its bytes.
        busy: bool = false,
        /// The connection speaks HTTP: its events go to the HTTP handler.
        http: bool = false,
        /// Its bytes are received in blocks of the handler's (bulk.zig).
        bulk: bool = false,
        /// ... and never are: the handler has no use for them, or has none.
        no_bulk: bool = false,
        /// What is in flight in a receive's place is a wait for bytes.
        awaits_bytes: bool = false,
        /// Small receives in a row, in bulk.
        bulk_shorts: u4 = 0,
        _: u8 = 0,
    };

    pub fn queue(self: *Connection, piece: *Piece) void {
        piece.next = null;
        if (self.queue_last) |last| last.next = piece else self.queue_first = piece;
        self.queue_last = piece;
        self.queued_bytes += piece.data.len;
        if (piece.file >= 0) self.queued_in_files += piece.data.len;
    }

    /// What the queue keeps in memory.
    pub fn queued_in_memory(self: *const Connection) usize {
        return self.queued_bytes - self.queued_in_files;
    }

    /// Takes the first piece off the send queue; its bytes have gone out or never will.
    pub fn unqueue(self: *Connection) ?*Piece {
        const piece = self.queue_first orelse return null;
        self.queue_first = piece.next;
        if (piece.next == null) self.queue_last = null;
        return piece;
    }

    pub fn hold(self: *Connection, piece: *Piece) void {
        piece.next = null;
        if (self.held_last) |last| last.next = piece else self.held_first = piece;
        self.held_last = piece;
        self.held_bytes += piece.data.len;
    }

    /// In front of what is held already: the rest of bytes that were on their way up.
    pub fn hold_first(self: *Connection, piece: *Piece) void {
        piece.next = self.held_first;
        self.held_first = piece;
        if (self.held_last == null) self.held_last = piece;
        self.held_bytes += piece.data.len;
    }

    pub fn unhold(self: *Connection) ?*Piece {
        const piece = self.held_first orelse return null;
        self.held_first = piece.next;
        if (piece.next == null) self.held_last = null;
        self.held_bytes -= piece.data.len;
        return piece;
    }
};

/// Every connection of a worker. Addresses are reserved at once and touched when first used, so
/// memory follows the largest number of connections there ever were, and pointers stay good.
pub const Slab = struct {
    memory: []align(std.heap.page_size_min) u8,
    connections: []Connection,
    /// Slots touched so far; those below that are free stand in a list.
    used: u32 = 0,
    free: u32 = none,
    active: u32 = 0,

    pub const none = std.math.maxInt(u32);

    pub fn init(capacity: u32) error{OutOfMemory}!Slab {
        const memory = kernel.map_anonymous(@as(usize, capacity) * @sizeOf(Connection)) orelse
            return error.OutOfMemory;
        const pointer: [*]Connection = @ptrCast(@alignCast(memory.ptr));
        return .{ .memory = memory, .connections = pointer[0..capacity] };
    }

    pub fn deinit(self: *Slab) void {
        assert(self.active == 0);
        kernel.unmap(self.memory);
        self.* = undefined;
    }

    /// A slot for a descriptor, which it owns from here; null when all are taken.
    pub fn take(self: *Slab, fd: i32, phase: Phase) ?*Connection {
        const slot = if (self.free != none) self.free else self.used;
        if (slot == self.connections.len) return null;
        const connection = &self.connections[slot];
        if (self.free != none) self.free = connection.free_next else self.used += 1;
        const generation = connection.generation; // zero in a page never touched
        assert(connection.phase == .free);
        connection.* = std.mem.zeroInit(Connection, .{
            .generation = generation,
            .slot = slot,
            .fd = fd,
            .phase = phase,
            .dirty_next = none,
            .free_next = none,
        });
        self.active += 1;
        return connection;
    }

    pub fn give(self: *Slab, connection: *Connection) void {
        assert(connection.ops == 0 and connection.phase == .releasing);
        assert(connection.user == null and connection.queue_first == null);
        assert(connection.held_first == null and connection.gather == null);
        assert(connection.own_buffer == null and connection.address == null);
        assert(connection.target == null);
        assert(!connection.flags.dirty);
        connection.generation +%= 1;
        connection.phase = .free;
        connection.fd = -1;
        connection.free_next = self.free;
        self.free = connection.slot;
        self.active -= 1;
    }

    /// The connection an operation was issued for, or null when that one is gone (F12, F42).
    pub fn find(self: *Slab, slot: u32, generation: u32) ?*Connection {
        if (slot >= self.used) return null;
        const connection = &self.connections[slot];
        if (connection.generation != generation or connection.phase == .free) return null;
        return connection;
    }

    /// Slots in use so far: walking them by index is safe whatever is closed meanwhile (F43).
    pub fn slots(self: *Slab) []Connection {
        return self.connections[0..self.used];
    }
};

test "test_f12 a slot's new owner is not found by its former owner's generation" {
    var slab = try Slab.init(4);
    defer slab.deinit();
    const first = slab.take(10, .open).?;
    const old = first.generation;
    first.phase = .releasing;
    slab.give(first);
    const second = slab.take(11, .open).?;
    try std.testing.expectEqual(first, second);
    try std.testing.expectEqual(null, slab.find(second.slot, old));
    try std.testing.expectEqual(second, slab.find(second.slot, second.generation).?);
    second.phase = .releasing;
    slab.give(second);
}

test "a slab gives every slot once" {
    var slab = try Slab.init(3);
    defer slab.deinit();
    for (0..3) |_| _ = slab.take(1, .open).?;
    try std.testing.expectEqual(null, slab.take(1, .open));
    for (slab.slots()) |*connection| {
        connection.phase = .releasing;
        slab.give(connection);
    }
}
