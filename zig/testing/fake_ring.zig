//! A ring whose kernel lives in memory: what WorkerType needs of ring.zig, served by fake_kernel.zig.
//! Owns the submission queue; io_uring_enter with its short submissions, refusals, signals and late
//! wake-ups is here. Never talks to Linux, but for the mailbox's eventfd. One seed decides it all.

const std = @import("std");
const kernel_abi = @import("../kernel.zig");
const linux = kernel_abi.linux;
const negative = kernel_abi.negative;
const Kernel = @import("fake_kernel.zig").Kernel;
const errnos = @import("fake_errnos.zig");
const strays = @import("fake_strays.zig");
const fake_files = @import("fake_files.zig");
const fake_receive = @import("fake_receive.zig");
const Sqe = linux.io_uring_sqe;
const Cqe = linux.io_uring_cqe;
const assert = std.debug.assert;

/// What one call of io_uring_enter costs on the virtual clock, and each entry it takes.
const enter_ns = 1_000;
const entry_ns = 200;

pub const FakeRing = struct {
    /// Says that completions of operations nobody knows may come: the worker counts them (F11).
    pub const sends_unknown_completions = true;

    kernel: *Kernel,
    sqes: []Sqe,
    head: u32 = 0,
    tail: u32 = 0,

    pub fn init(kernel: *Kernel, entries: u32) FakeRing {
        assert(std.math.isPowerOfTwo(entries));
        const sqes = kernel.arena.allocator().alloc(Sqe, entries) catch @panic("out of memory");
        return .{ .kernel = kernel, .sqes = sqes };
    }

    pub fn deinit(self: *FakeRing) void {
        if (self.sq_pending() > 0) self.kernel.violated("entries were never submitted", 0);
        if (self.kernel.in_flight > 0) self.kernel.violated("the ring was closed with operations in flight", 0);
    }

    pub fn get_sqe(self: *FakeRing) ?*Sqe {
        if (self.sq_pending() == self.sqes.len) return null;
        const sqe = &self.sqes[self.tail & (self.sqes.len - 1)];
        self.tail +%= 1;
        sqe.* = std.mem.zeroes(Sqe);
        return sqe;
    }

    pub fn sq_pending(self: *const FakeRing) u32 {
        return self.tail -% self.head;
    }

    /// An entry that waits to be submitted.
    pub fn pending_at(self: *const FakeRing, index: u32) *const Sqe {
        return &self.sqes[(self.head +% index) & (self.sqes.len - 1)];
    }

    pub fn sq_space_left(self: *const FakeRing) u32 {
        return @as(u32, @intCast(self.sqes.len)) - self.sq_pending();
    }

    pub fn submit(self: *FakeRing) i32 {
        return self.enter(false, null);
    }

    pub fn submit_and_wait(self: *FakeRing, count: u32, timeout_ns: ?u64) i32 {
        assert(count == 1);
        return self.enter(true, timeout_ns);
    }

    fn enter(self: *FakeRing, waits: bool, timeout_ns: ?u64) i32 {
        const kernel = self.kernel;
        kernel.counts.enters += 1;
        kernel.pass(enter_ns);
        kernel.buffers.observe(&kernel.report, kernel.now_ns);
        if (kernel.enter_failure != 0) {
            defer kernel.enter_failure = 0;
            return kernel.fail_enter(kernel.enter_failure);
        }
        if (kernel.strikes(.fail_enter)) return kernel.fail_enter(kernel.one_of(&errnos.enter));
        strays.post(kernel);
        const pending = self.sq_pending();
        if (waits or pending == 0) kernel.poll_reader();
        kernel.run_due();
        const taken = self.take_entries(pending);
        if (taken < 0) return taken;
        kernel.settle();
        kernel.run_due();
        // Linux waits only when it took everything.
        if (!waits or taken < pending) return taken;
        const waited = self.wait(timeout_ns);
        return if (taken > 0) taken else waited;
    }

    fn take_entries(self: *FakeRing, pending: u32) i32 {
        const kernel = self.kernel;
        if (pending == 0) return 0;
        const overflowed = kernel.completions.overflow.items.len > 0;
        if (overflowed and kernel.strikes(.busy_enter)) return negative(.BUSY);
        if (kernel.strikes(.refuse_enter)) return negative(.AGAIN);
        const short = kernel.strikes(.short_submit);
        const most = if (short) 1 + kernel.random().uintLessThan(u32, pending) else pending;
        var taken: u32 = 0;
        while (taken < most) {
            // A copy: the engine may fill the entry anew as soon as the head has moved.
            const sqe = self.sqes[self.head & (self.sqes.len - 1)];
            self.head +%= 1;
            taken += 1;
            kernel.pass(entry_ns);
            if (kernel.sabotages(.drop_submission)) continue;
            if (sqe.opcode == .RECV and kernel.sabotages(.receive_twice)) _ = kernel.submit(&sqe);
            if (!kernel.submit(&sqe)) break;
        }
        return @intCast(taken);
    }

    fn wait(self: *FakeRing, timeout_ns: ?u64) i32 {
        const kernel = self.kernel;
        const completions = &kernel.completions;
        kernel.counts.waits += 1;
        const gives_up_ns = kernel.now_ns + endless_ns;
        const until = if (timeout_ns) |ns| kernel.now_ns + ns else std.math.maxInt(u64);
        if (until > kernel.wake_by_ns +| wake_slack_ns +| kernel.clock_step_ns) kernel.violated("a wait goes beyond the next deadline", 0);
        if (kernel.strikes(.interrupt)) return negative(.INTR);
        if (completions.ready() == 0 and completions.overflow.items.len == 0) {
            if (kernel.world) |world| world.sleeps(world.context);
        }
        while (true) {
            completions.flush(completions.ring.len);
            if (completions.ready() > 0) return 0;
            const next = kernel.next_event_ns() orelse std.math.maxInt(u64);
            if (next <= until and next < gives_up_ns) {
                kernel.run_one();
                kernel.run_due();
                continue;
            }
            if (next < until or until == std.math.maxInt(u64)) {
                kernel.stuck = true;
                return negative(.INTR);
            }
            kernel.now_ns = @max(kernel.now_ns, until);
            if (kernel.strikes(.oversleep)) kernel.jump(3 * std.time.ns_per_s);
            return negative(.TIME);
        }
    }

    /// Peers that only look again and again would keep a wait without end going.
    const endless_ns = 100 * std.time.ns_per_s;

    /// The worker counts its wait from the turn's start, and submitting takes time too.
    const wake_slack_ns = 2 * std.time.ns_per_ms;

    pub fn cq_ready(self: *const FakeRing) u32 {
        return self.kernel.completions.ready();
    }

    pub fn cqe_at(self: *const FakeRing, index: u32) *const Cqe {
        assert(index < self.cq_ready());
        return self.kernel.completions.at(index);
    }

    /// Places given back are overwritten: a completion must not be read after that.
    pub fn advance_cq(self: *FakeRing, count: u32) void {
        assert(count <= self.cq_ready());
        const completions = &self.kernel.completions;
        for (0..count) |_| {
            strays.remember(self.kernel, completions.at(0));
            completions.at(0).* = .{ .user_data = 0xdddd_dddd_dddd_dddd, .res = -4095, .flags = 0xdddd_dddd };
            completions.head +%= 1;
        }
    }

    /// At times only some of what overflowed is moved: several calls are needed (F6).
    pub fn flush_overflow(self: *FakeRing) bool {
        const completions = &self.kernel.completions;
        if (completions.overflow.items.len == 0) return false;
        self.kernel.pass(enter_ns);
        completions.flush(1 + self.kernel.random().uintLessThan(usize, completions.ring.len));
        return true;
    }

    pub fn register(self: *FakeRing, opcode: linux.IORING_REGISTER, arg: ?*const anyopaque, _: u32) i32 {
        const Registration = extern struct { ring_addr: u64, ring_entries: u32, bgid: u16, flags: u16 };
        const kernel = self.kernel;
        switch (opcode) {
            .REGISTER_PBUF_RING => {
                const asked: *const Registration = @ptrCast(@alignCast(arg.?));
                kernel.buffers.register(kernel.arena.allocator(), asked.ring_addr, asked.ring_entries);
                return 0;
            },
            .UNREGISTER_PBUF_RING => {
                kernel.buffers.observe(&kernel.report, kernel.now_ns);
                if (kernel.buffers.available() != kernel.buffers.count)
                    kernel.violated("buffers are missing at the end", 0);
                kernel.buffers = .{};
                return 0;
            },
            else => return negative(.INVAL),
        }
    }

    pub fn now_ns(self: *const FakeRing) u64 {
        return self.kernel.now_ns;
    }

    pub fn close_descriptor(self: *FakeRing, fd: i32) void {
        const kernel = self.kernel;
        for (0..self.sq_pending()) |i| {
            const sqe = &self.sqes[(self.head +% i) & (self.sqes.len - 1)];
            if (sqe.fd == fd) kernel.violated("a descriptor is closed that a queued entry names", sqe.user_data);
        }
        switch (kernel.network.find(fd)) {
            .socket => |socket| {
                socket.taint.never_accepted = true;
                if (socket.operations > 0) kernel.violated("a descriptor is closed under an operation", 0);
            },
            // Its group would have a member that nobody serves (F23).
            .listener => |listener| if (listener.acceptor != null) {
                kernel.violated("a listener is closed under an accept", 0);
            },
            .free => {},
        }
        kernel.counts.closes += 1;
        if (kernel.network.close(fd) < 0) kernel.violated("a descriptor is closed twice", 0);
    }

    /// Before the entries that are queued: one of them that sends on the socket would come after.
    pub fn send_file(self: *FakeRing, socket: i32, file: i32, offset: u64, count: usize) i32 {
        for (0..self.sq_pending()) |i| {
            const sqe = &self.sqes[(self.head +% i) & (self.sqes.len - 1)];
            const sends = sqe.opcode == .SEND or sqe.opcode == .SENDMSG or sqe.opcode == .SHUTDOWN or sqe.opcode == .CLOSE;
            if (sends and sqe.fd == socket) self.kernel.violated("a file overtakes a queued entry", sqe.user_data);
        }
        return fake_files.send(self.kernel, socket, file, offset, count);
    }

    /// Between two receives: one in flight, or queued, would take bytes that come after or before.
    pub fn receive_now(self: *FakeRing, fd: i32, memory: []u8) i32 {
        for (0..self.sq_pending()) |i| {
            const sqe = self.pending_at(@intCast(i));
            if ((sqe.opcode == .RECV or sqe.opcode == .CLOSE) and sqe.fd == fd)
                self.kernel.violated("a receive overtakes a queued entry", sqe.user_data);
        }
        return fake_receive.receive(self.kernel, fd, memory);
    }

    pub fn accept_now(self: *FakeRing, fd: i32) i32 {
        const kernel = self.kernel;
        switch (kernel.network.find(fd)) {
            .listener => |listener| {
                if (listener.dead != 0) return listener.dead;
                if (listener.backlog.items.len == 0) return negative(.AGAIN);
                const aborted = kernel.aborted_accepts > 0;
                if (aborted or kernel.strikes(.accept_error)) {
                    kernel.aborted_accepts -|= 1;
                    kernel.network.abandon(listener);
                    return negative(.CONNABORTED);
                }
                return kernel.network.accept(listener);
            },
            else => return negative(.BADF),
        }
    }
};
