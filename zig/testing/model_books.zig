//! The worker's books against the model kernel's, after each turn: no operation is lost, each buffer
//! has one owner, each connection's queue is what it says it is, and memory stays within its bounds.
//! Owns nothing, changes nothing.

const std = @import("std");
const kernel_abi = @import("../kernel.zig");
const linux = kernel_abi.linux;
const Connection = @import("../connection.zig").Connection;
const Piece = @import("../connection.zig").Piece;
const Token = @import("../token.zig").Token;
const Operation = @import("fake_operation.zig").Operation;
const time = @import("model_time.zig");
const strays = @import("fake_strays.zig");

/// More slots than a simulated worker has: tests with more of them look at what they are about.
const slots_most = 512;

pub fn compare(model: anytype) void {
    if (model.worker.slab.used > slots_most) return;
    var counted = Counted{ .slots = model.worker.slab.slots() };
    count_operations(model, &counted);
    const worker = model.worker;
    const kernel = model.kernel;
    if (worker.metrics.ops_in_flight != counted.all)
        kernel.violated("the worker counts other operations in flight than the kernel", counted.all);
    var totals = Totals{};
    for (worker.slab.slots()) |*connection| {
        if (connection.ops != counted.by_slot[connection.slot])
            kernel.violated("a connection counts other operations than the kernel", connection.slot);
        check_connection(model, connection, &totals);
        time.check_linger(&model.app, connection);
    }
    compare_totals(model, &totals);
    compare_buffers(model, counted.buffers);
}

const Counted = struct {
    slots: []const Connection,
    all: u64 = 0,
    by_slot: [slots_most]u32 = @splat(0),
    /// Buffers that are on their way to the engine.
    buffers: u32 = 0,

    fn add(self: *Counted, user_data: u64) void {
        if (strays.is_unknown(user_data)) return;
        self.all += 1;
        const token = Token.from_user_data(user_data);
        switch (token.operation) {
            .connect, .receive, .send, .cancel, .shutdown, .close => {},
            else => return,
        }
        // A former owner's is nobody's (F12).
        const known = token.slot < self.slots.len and self.slots[token.slot].generation == token.generation;
        if (known) self.by_slot[token.slot] += 1;
    }

    fn add_completion(self: *Counted, cqe: *const linux.io_uring_cqe) void {
        if (cqe.flags & linux.IORING_CQE_F_MORE == 0) self.add(cqe.user_data);
        self.buffers += @intFromBool(cqe.flags & linux.IORING_CQE_F_BUFFER != 0);
    }
};

/// What the kernel has, what waits to be submitted, and what has ended and was not reaped.
fn count_operations(model: anytype, counted: *Counted) void {
    const kernel = model.kernel;
    for (kernel.operations.items) |*operation| {
        if (operation.state == .free) continue;
        counted.add(operation.sqe.user_data);
        const flags = if (operation.state == .over) operation.flags else 0;
        counted.buffers += @intFromBool(flags & linux.IORING_CQE_F_BUFFER != 0);
    }
    const ring = &model.worker.ring;
    for (0..ring.sq_pending()) |i| counted.add(ring.pending_at(@intCast(i)).user_data);
    const completions = &kernel.completions;
    for (0..completions.ready()) |i| counted.add_completion(completions.at(@intCast(i)));
    for (completions.overflow.items) |*cqe| counted.add_completion(cqe);
}

const Totals = struct { active: u32 = 0, pieces: u64 = 0, gathers: u64 = 0, addresses: u64 = 0 };

fn check_connection(model: anytype, connection: *const Connection, totals: *Totals) void {
    const kernel = model.kernel;
    const config = &model.worker.config;
    if (connection.phase == .free) return;
    totals.active += 1;
    totals.gathers += @intFromBool(connection.gather != null);
    totals.addresses += @intFromBool(connection.address != null);
    const queued = sum(connection.queue_first, &totals.pieces) - connection.sent;
    if (queued != connection.queued_bytes) kernel.violated("queued bytes are counted wrong", connection.slot);
    const in_memory = sum_in_memory(connection);
    if (in_memory != connection.queued_in_memory()) kernel.violated("queued memory is counted wrong", connection.slot);
    const limit = config.send_queue_limit;
    if (limit != 0 and in_memory > limit and connection.phase != .releasing)
        kernel.violated("a queue grows beyond its limit", connection.slot);
    const held = sum(connection.held_first, &totals.pieces);
    if (connection.phase == .open and held != connection.held_bytes)
        kernel.violated("held bytes are counted wrong", connection.slot);
    // What was on its way when reading was paused; a cancel may have to wait for a place.
    const group = @as(u64, config.buffer_count) * config.buffer_size;
    if (held > held_groups_most * group + held_least) kernel.violated("what is held grows without bound", connection.slot);
}

/// So many times all the buffers there are may be held by one connection that has paused.
const held_groups_most = 8;
const held_least = 16 * 1024;

fn sum(first: ?*const Piece, pieces: *u64) u64 {
    var total: u64 = 0;
    var piece = first;
    while (piece) |p| : (piece = p.next) {
        total += p.data.len;
        pieces.* += 1;
    }
    return total;
}

/// What is queued but for files.
fn sum_in_memory(connection: *const Connection) u64 {
    var total: u64 = 0;
    var skip = connection.sent;
    var piece = connection.queue_first;
    while (piece) |p| : (piece = p.next) {
        if (p.file < 0) total += p.data.len - skip;
        skip = 0;
    }
    return total;
}

/// Nothing is taken from a pool that no connection has; nobody is counted twice.
fn compare_totals(model: anytype, totals: *const Totals) void {
    const worker = model.worker;
    const kernel = model.kernel;
    const metrics = &worker.metrics;
    if (worker.slab.active != totals.active) kernel.violated("connections are counted wrong", totals.active);
    if (worker.pieces.taken != totals.pieces) kernel.violated("pieces that no queue has", worker.pieces.taken);
    if (worker.gathers.taken != totals.gathers) kernel.violated("gathers that no send has", worker.gathers.taken);
    if (worker.addresses.taken != totals.addresses) kernel.violated("addresses that no connect has", 0);
    if (metrics.accepted + metrics.connected != metrics.closed + metrics.active)
        kernel.violated("opened and closed do not add up", metrics.active);
    if (metrics.active < model.app.live) kernel.violated("sessions outlive their connections", model.app.live);
    if (metrics.unknown_completions > kernel.counts.unknown) kernel.violated("an unknown completion too many", 0);
    if (metrics.stale_completions > kernel.counts.stale) kernel.violated("a late completion of a former owner", 0);
}

/// Each buffer is the kernel's, or on its way to the worker: it keeps none beyond a turn.
fn compare_buffers(model: anytype, on_their_way: u32) void {
    const group = &(model.worker.group orelse return);
    const kernel = model.kernel;
    kernel.buffers.observe(&kernel.report, kernel.now_ns);
    if (kernel.buffers.available() + on_their_way != kernel.buffers.count)
        kernel.violated("a buffer has no owner", on_their_way);
    if (group.available != kernel.buffers.count) kernel.violated("buffers are counted wrong", group.available);
}
