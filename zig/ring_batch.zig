//! run_batch: every operation of a Batch once, waited for, its results in the batch's order.
//! No object is made per operation: tokens count positions, results go into one list. Owns a share
//! of each operation's memory until its last completion, as every loan (F51). While it runs the
//! ring is busy: Python code that a signal handler runs cannot use it.

const std = @import("std");
const python = @import("python.zig");
const kernel = @import("kernel.zig");
const arguments = @import("arguments.zig");
const batch_object = @import("batch_object.zig");
const sqe_object = @import("sqe_object.zig");
const flights = @import("flights.zig");
const python_errors = @import("python_errors.zig");
const ring_state = @import("ring_state.zig");
const Pins = @import("pins.zig").Pins;
const linux = kernel.linux;
const Object = python.Object;
const State = ring_state.State;
const Error = ring_state.Error;

const Entry = struct {
    result: i32,
    state: enum(u8) { waiting, in_flight, done },
    pins: ?*Pins,
};

const Run = struct {
    state: *State,
    batch: *batch_object.Body,
    entries: []Entry,
    next: u32 = 0,
    live: u32 = 0,
    /// A signal handler raised: no more is started, what is in flight is cancelled.
    interrupted: bool = false,

    fn token(self: *const Run, position: u32) u64 {
        return @as(u64, self.state.table.tag) << 48 | @as(u64, position) << 24 | flights.batch_slot;
    }

    /// The position behind one of our tokens, or null for another's completion.
    fn position_of(self: *const Run, user_data: u64) ?u32 {
        if (user_data >> 48 != self.state.table.tag) return null;
        if (@as(u24, @truncate(user_data)) != flights.batch_slot) return null;
        const position: u32 = @as(u24, @truncate(user_data >> 24));
        return if (position < self.entries.len) position else null;
    }

    /// Copies SQEs into the kernel's queue while there is room.
    fn fill(self: *Run) void {
        while (self.next < self.entries.len and self.state.ring.sq_space_left() > 0) {
            // As many in flight as the CQ holds: none overflows.
            if (self.live == self.state.ring.cq.entries) return;
            const source = sqe_object.body(self.batch.sqes[self.next]);
            const entry = &self.entries[self.next];
            source.lock();
            defer source.unlock();
            entry.pins = if (source.collected.pins) |pins| pins.share() else null;
            entry.state = .in_flight;
            self.state.copy_image(source).user_data = self.token(self.next);
            self.next += 1;
            self.live += 1;
        }
    }

    fn reap(self: *Run) void {
        const ring = &self.state.ring;
        var others: u32 = 0; // completions at the front that are not ours to take
        while (others < ring.cq_ready()) {
            const cqe = ring.cqe_at(others).*;
            const position = self.position_of(cqe.user_data) orelse {
                others += 1;
                continue;
            };
            self.move_back(others);
            ring.advance_cq(1);
            self.record(position, &cqe);
        }
    }

    /// Moves the oldest `count` completions (another ring's messages) one place back, in order, over
    /// the one behind them. Their places are ours until the head is advanced past them.
    fn move_back(self: *Run, count: u32) void {
        const ring = &self.state.ring;
        var index = count;
        while (index > 0) : (index -= 1) {
            const from: [*]const u8 = @ptrCast(ring.cqe_at(index - 1));
            const to: [*]u8 = @ptrCast(@constCast(ring.cqe_at(index)));
            @memcpy(to[0..ring.cq.cqe_size], from[0..ring.cq.cqe_size]);
        }
    }

    fn record(self: *Run, position: u32, cqe: *const linux.io_uring_cqe) void {
        const entry = &self.entries[position];
        // The first completion is the result; a notification (SEND_ZC) only gives memory back.
        if (entry.state == .in_flight and cqe.flags & linux.IORING_CQE_F_NOTIF == 0) {
            entry.result = cqe.res;
            entry.state = .done;
        }
        if (cqe.flags & linux.IORING_CQE_F_MORE != 0) return;
        self.live -= 1;
        const pins = entry.pins orelse return;
        entry.pins = null;
        pins.release(); // may run Python code, which finds the ring busy
    }

    fn wait(self: *Run) Error!void {
        const ring = &self.state.ring;
        const foreign = ring.cq_ready();
        const wanted = @min(foreign + self.live, ring.cq.entries);
        const result = self.state.enter(wanted, null);
        if (result >= 0) return;
        switch (kernel.errno_of(result)) {
            .INTR, .AGAIN, .BUSY, .TIME => {},
            else => |errno| return ring_state.raise_os(errno, "io_uring_enter"),
        }
    }

    /// Cancels what is in flight, once; its completions are waited for all the same.
    fn interrupt(self: *Run) void {
        self.interrupted = true;
        for (self.entries, 0..) |*entry, position| {
            if (entry.state != .in_flight) continue;
            if (self.state.ring.sq_space_left() == 0) _ = self.state.enter(0, null);
            self.state.cancel_one(self.token(@intCast(position)), 0);
        }
    }

    fn all(self: *Run) Error!void {
        var failure: ?*Object = null;
        while (self.live > 0 or (self.next < self.entries.len and !self.interrupted)) {
            if (!self.interrupted) self.fill();
            try self.wait();
            self.reap();
            if (self.interrupted or python.c.PyErr_CheckSignals() == 0) continue;
            failure = python_errors.take();
            self.interrupt();
        }
        if (failure) |object| {
            defer python.decref(object);
            python_errors.raise_object(object);
            return error.PythonRaised;
        }
    }

    /// Raises the first failure, naming its position.
    fn raise_failed(self: *const Run) Error!void {
        for (self.entries, 0..) |*entry, index| {
            if (entry.result >= 0) continue;
            var text: [64]u8 = undefined;
            const what = std.fmt.bufPrintZ(&text, "operation {d} of the batch", .{index}) catch unreachable;
            return ring_state.raise_os(kernel.errno_of(entry.result), what);
        }
    }

    fn results(self: *const Run) ?*Object {
        const list = python.c.PyList_New(@intCast(self.entries.len)) orelse return null;
        for (self.entries, 0..) |*entry, index| {
            const number = python.c.PyLong_FromLong(entry.result) orelse {
                python.decref(list);
                return null;
            };
            _ = python.c.PyList_SetItem(list, @intCast(index), number);
        }
        return list;
    }
};

/// The results of the batch's operations, or null with an exception set: with `raises`, also when
/// one of them failed.
pub fn run(state: *State, batch: *batch_object.Body, raises: bool) ?*Object {
    check(state, batch) catch return null;
    const raw = python.c.PyMem_Malloc(batch.length * @sizeOf(Entry)) orelse return python.c.PyErr_NoMemory();
    const entries: [*]Entry = @ptrCast(@alignCast(raw));
    var self = Run{ .state = state, .batch = batch, .entries = entries[0..batch.length] };
    @memset(self.entries, .{ .result = 0, .state = .waiting, .pins = null });
    state.busy = true;
    defer state.busy = false;
    self.all() catch {
        // The ring itself failed with operations in flight: their memory stays lent for ever (F50).
        if (self.live == 0) python.c.PyMem_Free(raw);
        return null;
    };
    defer python.c.PyMem_Free(raw);
    if (raises) self.raise_failed() catch return null;
    return self.results();
}

fn check(state: *State, batch: *batch_object.Body) Error!void {
    if (state.table.live > 0 or state.queue_length > 0 or state.ring.sq_pending() > 0) {
        return arguments.raise(
            python.exc.PyExc_RuntimeError,
            "run_batch() wants the ring to itself: submit, and consume what is in flight, first",
        );
    }
    for (batch.sqes[0..batch.length]) |object| {
        const source = sqe_object.body(object);
        if (!source.prepared) return refuse("run_batch(): an SQE of the batch is not prepared");
        const special = linux.IOSQE_BUFFER_SELECT | linux.IOSQE_CQE_SKIP_SUCCESS;
        const sqe = source.sqe();
        if (sqe.flags & special != 0 or source.collected.target != null or sqe.opcode == .PROVIDE_BUFFERS) {
            return refuse("run_batch() takes operations that complete by themselves: no buffer " ++
                "selection, CQE_SKIP_SUCCESS, cancels or updates; use submit_batch()");
        }
        if (repeats(sqe)) return refuse("run_batch() takes no multishot operation; use submit_batch()");
    }
}

fn repeats(sqe: *const linux.io_uring_sqe) bool {
    return switch (sqe.opcode) {
        .ACCEPT => sqe.ioprio & linux.IORING_ACCEPT_MULTISHOT != 0,
        .RECV, .RECVMSG => sqe.ioprio & linux.IORING_RECV_MULTISHOT != 0,
        .POLL_ADD => sqe.len & linux.IORING_POLL_ADD_MULTI != 0,
        .TIMEOUT => sqe.rw_flags & timeout_multishot != 0,
        else => @intFromEnum(sqe.opcode) == read_multishot,
    };
}

const timeout_multishot: u32 = 1 << 6; // IORING_TIMEOUT_MULTISHOT, 6.4
const read_multishot: u8 = 49; // IORING_OP_READ_MULTISHOT, 6.7

fn refuse(message: [*:0]const u8) Error {
    return arguments.raise(python.exc.PyExc_ValueError, message);
}
