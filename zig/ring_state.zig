//! What a Python ring is inside: the kernel's ring, the SQEs handed out, the operations in flight.
//! Submits SQEs, translates completions back, waits without the interpreter lock. Owns every loan
//! until its last completion. Knows nothing of Python's call conventions: ring_object.zig does.
//!
//! Rule for re-entrancy: a signal handler, or a buffer's release, may run Python code that uses this
//! ring. So state is whole before anything that can run Python code, and is read again after it.

const std = @import("std");
const python = @import("python.zig");
const kernel = @import("kernel.zig");
const ring_module = @import("ring.zig");
const sqe_object = @import("sqe_object.zig");
const cqe_object = @import("cqe_object.zig");
const flights = @import("flights.zig");
const Provided = @import("provided.zig").Provided;
const Pins = @import("pins.zig").Pins;
const linux = kernel.linux;
const Object = python.Object;
const Ring = ring_module.Ring;
const Cqe = ring_module.Cqe;
const Flight = flights.Flight;

pub const Error = error{PythonRaised};

const cancel_by_other_keys: u32 = 1 << 1 | 1 << 2 | 1 << 5; // FD, ANY, OP
const cancel_by_user_data: u32 = 1 << 4;

pub const State = struct {
    ring: Ring,
    open: bool,
    /// close() has begun: what a buffer's release runs finds the ring closed.
    ending: bool,
    /// The thread the ring belongs to; 0 until enable() where R_DISABLED was asked for.
    owner: c_ulong,
    /// Which process, as fork_marker.zig tells them apart (F20).
    epoch: u64,
    table: flights.Table,
    /// SQEs handed out by get_sqe, oldest first, a ring of sq.entries places.
    queue: [*]?*Object,
    queue_head: u32,
    queue_length: u32,
    groups: ?*Provided,
    /// Completions to come with a token that no operation has: cancels of our own.
    voids: u32,
    /// SQEs of the ring's own that the kernel has yet to take.
    own_pending: u32,
    /// Memory of PROVIDE_BUFFERS operations: lent until the ring closes.
    lent: ?*Lent,
    /// run_batch is under way: Python code that runs meanwhile must leave the ring alone.
    busy: bool = false,

    const Lent = struct { pins: *Pins, next: ?*Lent };

    /// Room for one more SQE from get_sqe: queued and unconsumed ones together fill the SQ.
    pub fn has_room(self: *const State) bool {
        return self.queue_length + self.ring.sq_pending() < self.ring.sq.entries;
    }

    pub fn enqueue(self: *State, object: *Object) void {
        const place = (self.queue_head +% self.queue_length) & self.ring.sq.mask;
        self.queue[place] = python.incref(object);
        self.queue_length += 1;
    }

    fn push_queue(self: *State) Error!u32 {
        var pushed: u32 = 0;
        while (self.queue_length > 0) {
            const object = self.queue[self.queue_head].?;
            if (!try self.launch(object)) break;
            self.queue_head = (self.queue_head + 1) & self.ring.sq.mask;
            self.queue_length -= 1;
            pushed += @intFromBool(sqe_object.body(object).prepared);
            sqe_object.body(object).state = .spent;
            python.decref(object);
        }
        return pushed;
    }

    /// Copies one SQE into the kernel's queue. False: the queue is full.
    pub fn launch(self: *State, object: *Object) Error!bool {
        const source = sqe_object.body(object);
        source.lock();
        defer source.unlock();
        if (!source.prepared) return true; // its prep_* raised, or was never called: left out
        if (self.ring.sq_space_left() == 0) return false;
        const named = try self.name_target(source) orelse return false;
        const flight = try self.table.take();
        const sqe = self.copy_image(source);
        const token = self.table.token_of(flight);
        sqe.user_data = token;
        if (named.token) |other| sqe.addr = other;
        self.fill_flight(flight, source, sqe, named);
        return true;
    }

    /// As Ring.get_sqe, but filled from an image at once: no zeroing first, for nothing stays (F10).
    pub fn copy_image(self: *State, source: *sqe_object.Body) *ring_module.Sqe {
        const sq = &self.ring.sq;
        const place = self.ring.sqes[@as(usize, sq.local_tail & sq.mask) * sq.sqe_size ..];
        sq.local_tail +%= 1;
        const halves: [*][64]u8 = @ptrCast(place.ptr);
        halves[0] = source.image[0..64].*;
        if (sq.sqe_size == 128) halves[1] = source.image[64..128].*;
        return @ptrCast(@alignCast(place.ptr));
    }

    fn fill_flight(self: *State, flight: *Flight, source: *sqe_object.Body, sqe: *ring_module.Sqe, named: Named) void {
        if (source.user_data) |data| {
            flight.user_data = python.incref(data);
            flight.key = source.key;
        }
        if (source.collected.pins) |pins| {
            if (source.state == .batched) {
                flight.pins = pins.share();
            } else {
                flight.pins = pins; // moved: a spent SQE lends nothing
                source.collected.pins = null;
            }
        }
        flight.found = named.extra;
        if (sqe.flags & linux.IOSQE_CQE_SKIP_SUCCESS != 0) {
            sqe.flags &= ~@as(u8, linux.IOSQE_CQE_SKIP_SUCCESS);
            self.table.hide(flight, false);
        }
        flight.traits.lends = sqe.opcode == .PROVIDE_BUFFERS;
        flight.group = sqe.buf_index;
        if (sqe.flags & linux.IOSQE_BUFFER_SELECT != 0) {
            flight.traits.picks_buffers = true;
            flight.traits.bundle = sqe.ioprio & 1 << 4 != 0 and (sqe.opcode == .RECV or sqe.opcode == .SEND);
        }
        if (source.collected.new_data) |data| {
            // The poll keeps its token; the table gives it its new name when the update succeeds.
            if (sqe.len & linux.IORING_POLL_UPDATE_USER_DATA != 0) {
                flight.renames = sqe.addr;
                flight.new_data = python.incref(data);
                sqe.off = sqe.addr;
            }
        }
    }

    const Named = struct { token: ?u64 = null, extra: i32 = 0 };

    /// The token of the operation that an SQE names by user_data. A cancel of ALL that share one is
    /// preceded by a cancel of our own for each of the others. Null: no room for those.
    fn name_target(self: *State, source: *sqe_object.Body) Error!?Named {
        const target = source.collected.target orelse return Named{};
        const sqe = source.sqe();
        const cancels = sqe.opcode == .ASYNC_CANCEL;
        if (cancels and sqe.rw_flags & cancel_by_other_keys != 0 and sqe.rw_flags & cancel_by_user_data == 0) return Named{};
        const first = self.table.look_up(target, 0) orelse return Named{ .token = self.table.void_token() };
        const token = self.table.token_of(first);
        if (!cancels or sqe.rw_flags & linux.IORING_ASYNC_CANCEL_ALL == 0) return Named{ .token = token };
        var extra: i32 = 0;
        var last = first.sequence;
        while (self.table.look_up(target, last)) |other| : (extra += 1) {
            if (self.ring.sq_space_left() < 2) break; // the rest may be cancelled by a second call
            last = other.sequence;
            self.cancel_one(self.table.token_of(other), sqe.rw_flags);
        }
        return Named{ .token = token, .extra = extra };
    }

    /// A cancel that nobody sees: its completion carries a token that no operation has.
    pub fn cancel_one(self: *State, token: u64, flags: u32) void {
        const sqe = self.ring.get_sqe() orelse return;
        sqe.opcode = .ASYNC_CANCEL;
        sqe.fd = -1;
        sqe.addr = token;
        sqe.rw_flags = flags;
        sqe.user_data = self.table.void_token();
        self.voids += 1;
        self.own_pending += 1;
    }

    /// Submits an operation of the ring's own (legacy buffer groups). Null: no room in the SQ.
    pub fn launch_own(self: *State, image: *const ring_module.Sqe) Error!?u64 {
        if (self.ring.sq_space_left() == 0) return null;
        const flight = try self.table.take();
        const sqe = self.ring.get_sqe().?;
        sqe.* = image.*;
        sqe.user_data = self.table.token_of(flight);
        self.table.hide(flight, true);
        self.own_pending += 1;
        flight.group = sqe.buf_index;
        flight.traits.lends = sqe.opcode == .PROVIDE_BUFFERS;
        return sqe.user_data;
    }

    /// Submits everything handed out, and waits for `count` visible completions. Returns the number
    /// of SQEs that the kernel took. Raises OSError only if it took none.
    pub fn submit(self: *State, count: u32, deadline_ns: ?u64) Error!u32 {
        return self.submit_min(count, deadline_ns, 0);
    }

    /// As submit; when `min_wait_us` are over (not 0), one completion is enough.
    pub fn submit_min(self: *State, count: u32, deadline_ns: ?u64, min_wait_us: u32) Error!u32 {
        var submitted: u32 = 0;
        while (true) {
            const pushed = try self.push_queue();
            const before = self.ring.sq_pending();
            const wanted = if (self.queue_length > 0) 0 else self.still_wanted(count);
            const result = self.enter_min(wanted, deadline_ns, min_wait_us);
            const progress = before != self.ring.sq_pending();
            submitted += if (self.ring.is_sqpoll()) pushed else self.users_own(before - self.ring.sq_pending());
            try self.check_signals();
            if (result < 0) {
                const errno = kernel.errno_of(result);
                if (errno == .TIME or errno == .INTR) return submitted;
                if (progress) return submitted;
                return raise_os(errno, "io_uring_enter");
            }
            if (self.ring.is_sqpoll() or !progress) return submitted;
            if (self.queue_length == 0 and self.ring.sq_pending() == 0) return submitted;
        }
    }

    /// How many of the SQEs that the kernel took were the caller's, not the ring's own.
    fn users_own(self: *State, taken: u32) u32 {
        const own = @min(taken, self.own_pending);
        self.own_pending -= own;
        return taken - own;
    }

    /// Waits until `count` visible completions are there. False: the deadline passed first.
    /// A signal whose handler does not raise lets the wait go on (PEP 475).
    pub fn wait(self: *State, count: u32, deadline_ns: ?u64) Error!bool {
        while (true) {
            const wanted = self.still_wanted(count);
            if (wanted == 0) return true;
            if (self.ring.cq_ready() == self.ring.cq.entries) return true; // no room for more
            if (deadline_ns) |deadline| if (kernel.monotonic_ns() >= deadline) {
                _ = self.ring.run_task_work();
                return self.still_wanted(count) == 0;
            };
            const result = self.enter(wanted, deadline_ns);
            try self.check_signals();
            if (result >= 0) continue;
            switch (kernel.errno_of(result)) {
                .TIME, .INTR, .AGAIN, .BUSY => {},
                else => |errno| return raise_os(errno, "io_uring_enter"),
            }
        }
    }

    /// Completions, in the kernel's count, until `count` visible ones are there; 0: they are.
    fn still_wanted(self: *State, count: u32) u32 {
        if (count == 0) return 0;
        const ready = self.ring.cq_ready();
        const visible = self.visible_ready();
        if (visible >= count) return 0;
        return @min(ready + (count - visible), self.ring.cq.entries);
    }

    /// Whether any completion to come may be one that is not shown.
    fn may_hide(self: *const State) bool {
        return self.table.hiding > 0 or self.voids > 0 or
            self.ring.features & linux.IORING_FEAT_EXT_ARG == 0;
    }

    pub fn visible_ready(self: *State) u32 {
        const ready = self.ring.cq_ready();
        if (!self.may_hide()) return ready;
        var visible: u32 = 0;
        for (0..ready) |i| visible += @intFromBool(!self.is_hidden(self.ring.cqe_at(@intCast(i))));
        return visible;
    }

    /// One system call, without the interpreter lock (F47).
    pub fn enter(self: *State, wait_count: u32, deadline_ns: ?u64) i32 {
        return self.enter_min(wait_count, deadline_ns, 0);
    }

    fn enter_min(self: *State, wait_count: u32, deadline_ns: ?u64, min_wait_us: u32) i32 {
        var timeout: ?u64 = null;
        if (deadline_ns) |deadline| timeout = deadline -| kernel.monotonic_ns();
        const saved = python.c.PyEval_SaveThread();
        const result = self.ring.submit_and_wait_min(wait_count, timeout, min_wait_us);
        python.c.PyEval_RestoreThread(saved);
        return result;
    }

    /// Runs Python's signal handlers after every return of enter, not only on EINTR (F8, F48).
    fn check_signals(self: *State) Error!void {
        if (python.c.PyErr_CheckSignals() != 0) return error.PythonRaised;
        if (!self.open) {
            sqe_object.raise_ours("RingClosedError", "the ring was closed by a signal handler");
            return error.PythonRaised;
        }
    }

    fn is_hidden(self: *const State, cqe: *const Cqe) bool {
        if (cqe.user_data == self.table.void_token()) return true;
        if (cqe.user_data == ring_module.timeout_user_data) {
            return self.ring.features & linux.IORING_FEAT_EXT_ARG == 0;
        }
        const flight = self.table.find(cqe.user_data) orelse return false;
        return flight.traits.internal or (flight.traits.hide_success and cqe.res >= 0);
    }

    /// Consumes hidden completions at the front. True: a visible one is at the front then.
    pub fn settle(self: *State) bool {
        while (true) {
            if (self.ring.cq_ready() == 0) {
                _ = self.ring.run_task_work(); // F5, F6
                if (self.ring.cq_ready() == 0) return false;
            }
            if (!self.may_hide() or !self.is_hidden(self.ring.cqe_at(0))) return true;
            self.consume();
            if (!self.open) return false; // closed by what a buffer's release ran
        }
    }

    /// Fills a Cqe from the completion at the front, which stays there. False: MemoryError.
    pub fn describe(self: *State, place: *cqe_object.Body) bool {
        const cqe = self.ring.cqe_at(0);
        place.* = .{ .user_data = null, .res = cqe.res, .flags = cqe.flags, .buffer_offset = 0, .extra = .{ 0, 0 } };
        if (self.ring.cq.cqe_size == 32) {
            const words: [*]const u64 = @ptrCast(@alignCast(cqe));
            place.extra = .{ words[2], words[3] };
        }
        const flight = self.table.find(cqe.user_data) orelse {
            // Another ring's message: its number as it came.
            place.user_data = python.c.PyLong_FromUnsignedLongLong(cqe.user_data);
            return place.user_data != null;
        };
        if (flight.user_data) |data| place.user_data = python.incref(data);
        if (flight.found > 0 and cqe.flags & linux.IORING_CQE_F_MORE == 0) {
            place.res = @max(cqe.res, 0) + flight.found;
        }
        if (flight.traits.picks_buffers and cqe.flags & linux.IORING_CQE_F_BUFFER != 0) {
            if (self.find_group(flight.group)) |group| {
                const bid: u16 = @truncate(cqe.flags >> linux.IORING_CQE_BUFFER_SHIFT);
                if (bid < group.group.count) place.buffer_offset = group.slots[bid].offset;
            }
        }
        return true;
    }

    /// Gives the completion at the front back to the kernel, and with an operation's last one
    /// everything the operation held.
    pub fn consume(self: *State) void {
        const cqe = self.ring.cqe_at(0).*;
        self.ring.advance_cq(1);
        if (cqe.user_data == self.table.void_token()) self.voids -|= 1;
        const flight = self.table.find(cqe.user_data) orelse return;
        if (flight.traits.picks_buffers and cqe.flags & linux.IORING_CQE_F_BUFFER != 0) {
            if (self.find_group(flight.group)) |group| {
                const bid: u16 = @truncate(cqe.flags >> linux.IORING_CQE_BUFFER_SHIFT);
                _ = group.completed(bid, cqe.res, cqe.flags, flight.traits.bundle);
            }
        }
        if (flight.traits.internal and flight.traits.lends and cqe.res < 0) {
            if (self.find_group(flight.group)) |group| group.failure = cqe.res;
        }
        if (cqe.flags & linux.IORING_CQE_F_MORE != 0) return;
        const user_data = flight.user_data;
        const pins = flight.pins;
        const new_data = flight.new_data;
        const renames = flight.renames;
        const lends = flight.traits.lends;
        self.table.give_back(flight);
        if (new_data) |data| self.rename(renames, data, cqe.res);
        if (user_data) |data| python.decref(data);
        const lent = pins orelse return;
        if (lends and cqe.res >= 0 and self.keep_lent(lent)) return;
        lent.release(); // last: may run Python code
    }

    fn rename(self: *State, token: u64, data: *Object, res: i32) void {
        const poll = self.table.find(token);
        if (poll == null or res < 0) return python.decref(data);
        if (poll.?.user_data) |old| python.decref(old);
        poll.?.user_data = data;
        poll.?.key = python.c.PyLong_AsUnsignedLongLongMask(data);
    }

    fn keep_lent(self: *State, pins: *Pins) bool {
        const raw = python.c.PyMem_Malloc(@sizeOf(Lent)) orelse return true; // leaked, never freed early
        const lent: *Lent = @ptrCast(@alignCast(raw));
        lent.* = .{ .pins = pins, .next = self.lent };
        self.lent = lent;
        return true;
    }

    pub fn find_group(self: *const State, id: u16) ?*Provided {
        var next = self.groups;
        while (next) |group| : (next = group.next) {
            if (!group.retired and group.group.group_id == id) return group;
        }
        return null;
    }
};

pub fn raise_os(errno: linux.E, what: [*:0]const u8) Error {
    python.raise_errno(@intFromEnum(errno), what);
    return error.PythonRaised;
}
