//! The ring's interface where io_uring is refused: the same entries, carried out by readiness.
//! Owns the epoll descriptor and both queues, in memory of this process. What waits for which
//! descriptor is in epoll_interest.zig. Never keeps memory beyond the completion it was lent for.
//!
//! A send, a close, a connect is tried when it is submitted; what would block, and everything that
//! receives, waits for its descriptor and is carried out when epoll_wait(2) reports it. So the
//! memory lent with an entry is only ever touched within `submit` and `submit_and_wait`.
//!
//! Only what the worker asks for is known here; any other operation completes with -EINVAL.
//! Source: epoll(7), epoll_ctl(2), epoll_wait(2); io_uring_enter(2) for what each entry means.

const std = @import("std");
const kernel = @import("kernel.zig");
const linux = kernel.linux;
const Interest = @import("epoll_interest.zig").Interest;
const Descriptor = @import("epoll_interest.zig").Descriptor;
const Pending = @import("epoll_interest.zig").Pending;
const assert = std.debug.assert;

const Sqe = linux.io_uring_sqe;
const Cqe = linux.io_uring_cqe;
const EPOLL = linux.EPOLL;

/// What one wait reports at most.
const events_max = 256;

/// What one event completes at most: a receive and a send.
const completions_an_event = 2;

/// Times that a multishot operation goes on within one event, so that one descriptor with much to
/// read does not hold up the others (F61).
const shots_max = 16;

pub const EpollRing = struct {
    interest: Interest,
    /// Both queues: entries, then completions; and behind them what epoll_wait(2) reports. That is
    /// not on the stack: safe builds fill what is undefined, 3 KiB at every wait.
    memory: []align(std.heap.page_size_min) u8,
    sqes: []Sqe,
    sq_head: u32 = 0,
    sq_tail: u32 = 0,
    cqes: []Cqe,
    cq_head: u32 = 0,
    cq_tail: u32 = 0,
    events: *[events_max]linux.epoll_event,
    /// The registered buffers, read as the kernel reads them.
    buffers: ?Buffers = null,
    /// Completions that may be posted beside those that the events at hand may come to.
    spare: usize = 0,
    /// None is in force.
    setup_flags: u32 = 0,

    const Buffers = struct { entries: [*]kernel.BufferEntry, count: u16, head: u16 = 0 };

    /// Sets a ring up; both sizes are rounded up to a power of two. On failure nothing is left
    /// behind, and the result is -errno in `failure`.
    pub fn init(entries: u32, cq_entries: u32, failure: *i32) error{SetupFailed}!EpollRing {
        const sq_count = std.math.ceilPowerOfTwoAssert(u32, entries);
        const cq_count = std.math.ceilPowerOfTwoAssert(u32, @max(cq_entries, 2 * entries));
        var interest = try Interest.init(failure);
        errdefer interest.deinit();
        failure.* = kernel.negative(.NOMEM);
        const sq_size = sq_count * @sizeOf(Sqe);
        const both = sq_size + cq_count * @sizeOf(Cqe);
        const events_size = events_max * @sizeOf(linux.epoll_event);
        const memory = kernel.map_anonymous(both + events_size) orelse return error.SetupFailed;
        const sqes: [*]Sqe = @ptrCast(memory.ptr);
        const cqes: [*]Cqe = @ptrCast(@alignCast(memory.ptr + sq_size));
        return .{
            .interest = interest,
            .memory = memory,
            .sqes = sqes[0..sq_count],
            .cqes = cqes[0..cq_count],
            .events = @ptrCast(@alignCast(memory.ptr + both)),
        };
    }

    pub fn deinit(self: *EpollRing) void {
        kernel.unmap(self.memory);
        self.interest.deinit();
        self.* = undefined;
    }

    pub fn get_sqe(self: *EpollRing) ?*Sqe {
        if (self.sq_tail -% self.sq_head == self.sqes.len) return null;
        const sqe = &self.sqes[self.sq_tail & (self.sqes.len - 1)];
        self.sq_tail +%= 1;
        sqe.* = std.mem.zeroes(Sqe);
        return sqe;
    }

    pub fn submit(self: *EpollRing) i32 {
        return self.enter(0);
    }

    /// As ring.zig's, but for the wait's grain: epoll's milliseconds, rounded up.
    pub fn submit_and_wait(self: *EpollRing, count: u32, timeout_ns: ?u64) i32 {
        assert(count == 1);
        const ns = timeout_ns orelse return self.enter(-1);
        const ms = (ns +| (std.time.ns_per_ms - 1)) / std.time.ns_per_ms;
        return self.enter(std.math.cast(i32, ms) orelse std.math.maxInt(i32));
    }

    fn enter(self: *EpollRing, timeout_ms: i32) i32 {
        const taken = self.take_entries();
        const waits = timeout_ms != 0 and self.cq_ready() == 0;
        const polled = self.poll(if (waits) timeout_ms else 0);
        if (taken > 0) return taken;
        if (polled < 0) return polled;
        return if (waits and self.cq_ready() == 0) kernel.negative(.TIME) else 0;
    }

    /// Carries entries out while their completions have room: so the queue never runs over.
    fn take_entries(self: *EpollRing) i32 {
        var taken: i32 = 0;
        while (self.sq_head != self.sq_tail and self.room() >= 2) : (taken += 1) {
            const sqe = &self.sqes[self.sq_head & (self.sqes.len - 1)];
            self.sq_head +%= 1;
            self.carry_out(sqe);
        }
        return taken;
    }

    /// Looks which descriptors are ready and goes on with what waits for them. The number of
    /// events, or -errno.
    fn poll(self: *EpollRing, timeout_ms: i32) i32 {
        const most = self.room() / completions_an_event;
        if (most == 0) return 0;
        const count = self.interest.wait(self.events[0..@min(most, events_max)], timeout_ms);
        if (count <= 0) return count;
        const ready: usize = @intCast(count);
        self.spare = self.room() - ready * completions_an_event;
        for (self.events[0..ready]) |*event| self.happened(event.data.fd, event.events);
        return count;
    }

    fn happened(self: *EpollRing, fd: i32, events: u32) void {
        const descriptor = self.interest.find(fd).?;
        // An error or a hang-up is for whoever waits: the call that is tried names it.
        const either = events & (EPOLL.ERR | EPOLL.HUP);
        const before = self.cq_tail;
        const nobody = descriptor.is_unwanted(events);
        if (descriptor.reader.is_there() and events & EPOLL.IN | either != 0) self.read(fd, &descriptor.reader, events);
        if (descriptor.writer.is_there() and events & EPOLL.OUT | either != 0) {
            self.write(fd, &descriptor.writer, events);
            // A socket has room nearly always: the next wait would end for nothing.
            if (!descriptor.writer.is_there()) _ = self.interest.update(fd, descriptor);
        }
        // What receives is mostly armed anew before the next wait, so its end alone changes nothing.
        if (nobody) _ = self.interest.update(fd, descriptor);
        self.interest.happened(fd, descriptor, events, self.cq_tail != before);
    }

    fn carry_out(self: *EpollRing, sqe: *const Sqe) void {
        if (sqe.opcode == .CONNECT) self.interest.renew(sqe.fd);
        const result = switch (sqe.opcode) {
            .RECV, .ACCEPT, .READ, .POLL_ADD => kernel.negative(.AGAIN),
            .SEND, .SENDMSG => send(sqe.fd, &Pending.of(sqe)),
            .CONNECT => kernel.connect(sqe.fd, sqe.addr, @intCast(sqe.off)),
            .SHUTDOWN => kernel.shutdown(sqe.fd, @intCast(sqe.len)),
            .CLOSE => self.close(sqe.fd),
            .ASYNC_CANCEL => return self.cancel(sqe),
            else => kernel.negative(.INVAL),
        };
        // A connect says AGAIN when a Unix listener's queue is full: that is never reported ready.
        const waits: kernel.E = if (sqe.opcode == .CONNECT) .INPROGRESS else .AGAIN;
        if (result != kernel.negative(waits)) return self.post(sqe.user_data, result, 0);
        self.wait_for(sqe);
    }

    fn wait_for(self: *EpollRing, sqe: *const Sqe) void {
        const no_place = kernel.negative(if (sqe.fd < 0) .BADF else .NOMEM);
        const place = self.interest.place_of(sqe) orelse return self.post(sqe.user_data, no_place, 0);
        // Who waits there already waits for a file that the application has closed.
        if (place.is_there()) self.finish(place, kernel.negative(.BADF));
        const result = self.interest.await_ready(sqe, place);
        if (result < 0) self.post(sqe.user_data, result, 0);
    }

    fn send(fd: i32, pending: *const Pending) i32 {
        const flags = pending.rw_flags | linux.MSG.DONTWAIT;
        if (pending.opcode == .SENDMSG) return kernel.send_message(fd, pending.addr, flags);
        return kernel.send(fd, pending.addr, pending.len, flags);
    }

    /// Nothing may wait for the descriptor any more; the worker closes in that order (F38).
    fn close(self: *EpollRing, fd: i32) i32 {
        self.interest.forget(fd);
        return kernel.result_of(linux.close(fd));
    }

    /// The entry's descriptor says where to look; the operation is known by its user_data (F38).
    /// As with io_uring the cancel's own completion comes first.
    fn cancel(self: *EpollRing, sqe: *const Sqe) void {
        if (self.interest.find(sqe.fd)) |descriptor| {
            inline for (.{ &descriptor.reader, &descriptor.writer }) |pending| {
                if (pending.is_there() and pending.user_data == sqe.addr) {
                    self.post(sqe.user_data, 0, 0);
                    self.finish(pending, kernel.negative(.CANCELED));
                    // A listener that is left alone may be closed by whoever owns it.
                    _ = self.interest.update(sqe.fd, descriptor);
                    return;
                }
            }
        }
        self.post(sqe.user_data, kernel.negative(.NOENT), 0);
    }

    fn read(self: *EpollRing, fd: i32, pending: *Pending, events: u32) void {
        if (pending.opcode == .POLL_ADD) {
            return self.finish(pending, @intCast(events & (EPOLL.IN | EPOLL.ERR | EPOLL.HUP)));
        }
        var shots: u32 = 0;
        while (shots < shots_max) : (shots += 1) {
            if (shots > 0) {
                if (self.spare == 0) return;
                self.spare -= 1;
            }
            const goes_on = switch (pending.opcode) {
                .RECV => self.receive(fd, pending),
                .ACCEPT => self.accept(fd, pending),
                else => goes_on: {
                    const result = kernel.read(fd, pending.addr, pending.len);
                    if (result != kernel.negative(.AGAIN)) self.finish(pending, result);
                    break :goes_on false;
                },
            };
            if (!goes_on) return;
        }
    }

    /// True when there may be more to receive at once.
    fn receive(self: *EpollRing, fd: i32, pending: *Pending) bool {
        if (!pending.selects_buffer) {
            const result = kernel.receive(fd, pending.addr, pending.len);
            if (result != kernel.negative(.AGAIN)) self.finish(pending, result);
            return false;
        }
        const buffers = &self.buffers.?;
        const entry = &buffers.entries[buffers.head & (buffers.count - 1)];
        const tail = @atomicLoad(u16, &buffers.entries[0].tail, .acquire);
        if (buffers.head == tail) {
            self.finish(pending, kernel.negative(.NOBUFS));
            return false;
        }
        const size = if (pending.len == 0) entry.len else @min(pending.len, entry.len);
        const result = kernel.receive(fd, entry.addr, size);
        if (result == kernel.negative(.AGAIN)) return false;
        if (result <= 0) {
            self.finish(pending, result);
            return false;
        }
        // The buffer is the worker's from here until it recycles it.
        buffers.head +%= 1;
        const more: u32 = if (result == size and kernel.has_bytes(fd)) linux.IORING_CQE_F_SOCK_NONEMPTY else 0;
        const bid = @as(u32, entry.bid) << linux.IORING_CQE_BUFFER_SHIFT;
        self.shot(pending, result, linux.IORING_CQE_F_BUFFER | bid | more);
        return pending.is_there() and result == size;
    }

    fn accept(self: *EpollRing, listener: i32, pending: *Pending) bool {
        const result = kernel.result_of(linux.accept4(listener, null, null, pending.rw_flags));
        if (result == kernel.negative(.AGAIN)) return false;
        if (result >= 0) self.interest.renew(result);
        if (result >= 0) self.shot(pending, result, 0) else self.finish(pending, result);
        if (pending.is_there()) return true;
        // Whoever shares the listener is next: armed anew, we stand behind them (decision 0008).
        _ = self.interest.update(listener, self.interest.find(listener).?);
        return false;
    }

    fn write(self: *EpollRing, fd: i32, pending: *Pending, events: u32) void {
        const result = switch (pending.opcode) {
            .POLL_ADD => @as(i32, @intCast(events & (EPOLL.OUT | EPOLL.ERR | EPOLL.HUP))),
            .CONNECT => kernel.socket_error(fd),
            else => send(fd, pending),
        };
        if (result != kernel.negative(.AGAIN)) self.finish(pending, result);
    }

    /// A multishot operation's completion, or the only one of another.
    fn shot(self: *EpollRing, pending: *Pending, result: i32, flags: u32) void {
        const more: u32 = if (pending.multishot) linux.IORING_CQE_F_MORE else 0;
        self.post(pending.user_data, result, flags | more);
        if (!pending.multishot) pending.* = .{};
    }

    fn finish(self: *EpollRing, pending: *Pending, result: i32) void {
        self.post(pending.user_data, result, 0);
        pending.* = .{};
    }

    fn post(self: *EpollRing, user_data: u64, result: i32, flags: u32) void {
        assert(self.room() > 0);
        self.cqes[self.cq_tail & (self.cqes.len - 1)] = .{ .user_data = user_data, .res = result, .flags = flags };
        self.cq_tail +%= 1;
    }

    fn room(self: *const EpollRing) usize {
        return self.cqes.len - self.cq_ready();
    }

    /// Receives what lies in a socket: how much it was, 0 at its end, or -errno. Never blocks.
    pub fn receive_now(_: *EpollRing, socket: i32, memory: []u8) i32 {
        return kernel.receive(socket, @intFromPtr(memory.ptr), memory.len);
    }

    /// A connection that waits in a listener's queue, or -EAGAIN; never blocks.
    pub fn accept_now(self: *EpollRing, listener: i32) i32 {
        const result = kernel.accept_nonblocking(listener);
        if (result >= 0) self.interest.renew(result);
        return result;
    }

    pub fn cq_ready(self: *const EpollRing) u32 {
        return self.cq_tail -% self.cq_head;
    }

    pub fn cqe_at(self: *const EpollRing, index: u32) *const Cqe {
        return &self.cqes[(self.cq_head +% index) & (self.cqes.len - 1)];
    }

    pub fn advance_cq(self: *EpollRing, count: u32) void {
        assert(count <= self.cq_ready());
        self.cq_head +%= count;
    }

    /// Nothing runs over here: entries wait while the completions have no room.
    pub fn flush_overflow(_: *EpollRing) bool {
        return false;
    }

    /// Knows buffer groups alone, one at a time.
    pub fn register(self: *EpollRing, opcode: linux.IORING_REGISTER, arg: ?*const anyopaque, _: u32) i32 {
        const asked: *const kernel.BufferRegistration = @ptrCast(@alignCast(arg.?));
        switch (opcode) {
            .REGISTER_PBUF_RING => {
                if (self.buffers != null) return kernel.negative(.EXIST);
                const entries: [*]kernel.BufferEntry = @ptrFromInt(asked.ring_addr);
                self.buffers = .{ .entries = entries, .count = @intCast(asked.ring_entries) };
                return 0;
            },
            .UNREGISTER_PBUF_RING => {
                self.buffers = null;
                return 0;
            },
            else => return kernel.negative(.INVAL),
        }
    }
};
