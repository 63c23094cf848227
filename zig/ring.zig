//! One io_uring: set-up, the three mappings, get_sqe, submit, wait, reap.
//! Owns the ring's descriptor and mappings. Never looks into what an SQE asks for, and never
//! touches memory that an SQE lends to the kernel: whoever filled the SQE owns that.
//!
//! One thread uses a ring at a time. Results are >= 0 or -errno, as io_uring_enter(2) gives them.
//! Source: io_uring_setup(2), io_uring_enter(2), include/uapi/linux/io_uring.h.

const std = @import("std");
const kernel = @import("kernel.zig");
const linux = kernel.linux;
const assert = std.debug.assert;

pub const Sqe = linux.io_uring_sqe;
pub const Cqe = linux.io_uring_cqe;

/// The user_data of the ring's own timeout operation, used only where the kernel cannot take a
/// timeout with the wait (before 5.11). liburing reserves the same value.
pub const timeout_user_data: u64 = std.math.maxInt(u64);

pub const Options = struct {
    /// Submission entries: rounded up to a power of two by the kernel.
    entries: u32,
    /// Completion entries; 0 lets the kernel take twice the submission entries.
    cq_entries: u32 = 0,
    /// IORING_SETUP_* besides CQSIZE, which follows from cq_entries.
    flags: u32 = 0,
    sq_thread_cpu: u32 = 0,
    sq_thread_idle_ms: u32 = 0,
    /// A ring whose worker threads are shared (IORING_SETUP_ATTACH_WQ).
    attach_fd: u32 = 0,
    /// Acts as if the kernel lacked IORING_FEAT_EXT_ARG, for the tests of that path.
    without_ext_arg: bool = false,
};

pub const Ring = struct {
    fd: i32,
    /// What io_uring_enter is called with: `fd`, or the registered ring's index.
    enter_fd: i32,
    /// IORING_ENTER_REGISTERED_RING when `enter_fd` is an index, else 0.
    enter_flags: u32 = 0,
    setup_flags: u32,
    features: u32,
    sq: SubmissionQueue,
    cq: CompletionQueue,
    rings: []align(std.heap.page_size_min) u8,
    sqes: []align(std.heap.page_size_min) u8,
    /// Where a timed wait without EXT_ARG keeps its time: lent to the kernel until submitted.
    timeout: linux.kernel_timespec = .{ .sec = 0, .nsec = 0 },
    /// Times that IORING_SQ_CQ_OVERFLOW was found set and flushed (F6).
    overflow_flushes: u64 = 0,

    const SubmissionQueue = struct {
        head: *u32,
        tail: *u32,
        flags: *u32,
        entries: u32,
        mask: u32,
        sqe_size: u32,
        /// Entries handed out, not all published yet: the kernel sees `tail.*` only (F3).
        local_tail: u32,
    };

    const CompletionQueue = struct {
        head: *u32,
        tail: *u32,
        flags: *u32,
        overflow: *u32,
        entries: u32,
        mask: u32,
        cqe_size: u32,
        cqes: [*]u8,
    };

    /// Sets a ring up. On failure nothing is left behind, and the result is -errno in `failure`.
    pub fn init(options: Options, failure: *i32) error{SetupFailed}!Ring {
        var params = std.mem.zeroes(kernel.Params);
        params.flags = options.flags;
        params.sq_thread_cpu = options.sq_thread_cpu;
        params.sq_thread_idle = options.sq_thread_idle_ms;
        params.wq_fd = options.attach_fd;
        if (options.cq_entries != 0) {
            params.flags |= linux.IORING_SETUP_CQSIZE;
            params.cq_entries = options.cq_entries;
        }
        const fd = kernel.setup(options.entries, &params);
        if (!kernel.ok(fd)) {
            failure.* = fd;
            return error.SetupFailed;
        }
        errdefer kernel.close(fd);
        if (options.without_ext_arg) params.features &= ~@as(u32, linux.IORING_FEAT_EXT_ARG);
        return map(fd, &params, failure);
    }

    fn map(fd: i32, params: *const kernel.Params, failure: *i32) error{SetupFailed}!Ring {
        // SINGLE_MMAP (5.4): one mapping holds both queues. Kernels without it are older than ours.
        if (params.features & linux.IORING_FEAT_SINGLE_MMAP == 0) {
            failure.* = kernel.negative(.NOSYS);
            return error.SetupFailed;
        }
        const sqe_size: u32 = if (params.flags & linux.IORING_SETUP_SQE128 != 0) 128 else 64;
        const cqe_size: u32 = if (params.flags & linux.IORING_SETUP_CQE32 != 0) 32 else 16;
        const no_array = params.flags & linux.IORING_SETUP_NO_SQARRAY != 0;
        const sq_end = if (no_array) 0 else params.sq_off.array + params.sq_entries * @sizeOf(u32);
        const cq_end = params.cq_off.cqes + params.cq_entries * cqe_size;

        const rings = try kernel.map_area(fd, @max(sq_end, cq_end), linux.IORING_OFF_SQ_RING, failure);
        errdefer kernel.unmap(rings);
        const sqes = try kernel.map_area(fd, params.sq_entries * sqe_size, linux.IORING_OFF_SQES, failure);
        errdefer comptime unreachable;

        const sq = SubmissionQueue{
            .head = at(rings, params.sq_off.head),
            .tail = at(rings, params.sq_off.tail),
            .flags = at(rings, params.sq_off.flags),
            .entries = params.sq_entries,
            .mask = at(rings, params.sq_off.ring_mask).*,
            .sqe_size = sqe_size,
            .local_tail = at(rings, params.sq_off.tail).*,
        };
        const cq = CompletionQueue{
            .head = at(rings, params.cq_off.head),
            .tail = at(rings, params.cq_off.tail),
            .flags = at(rings, params.cq_off.flags),
            .overflow = at(rings, params.cq_off.overflow),
            .entries = params.cq_entries,
            .mask = at(rings, params.cq_off.ring_mask).*,
            .cqe_size = cqe_size,
            .cqes = rings.ptr + params.cq_off.cqes,
        };
        assert(std.math.isPowerOfTwo(sq.entries) and sq.mask == sq.entries - 1);
        assert(std.math.isPowerOfTwo(cq.entries) and cq.mask == cq.entries - 1);
        if (!no_array) {
            // Entry i of the indirection array names SQE i, for ever.
            for (0..sq.entries) |i| at(rings, params.sq_off.array + i * @sizeOf(u32)).* = @intCast(i);
        }
        return .{
            .fd = fd,
            .enter_fd = fd,
            .setup_flags = params.flags,
            .features = params.features,
            .sq = sq,
            .cq = cq,
            .rings = rings,
            .sqes = sqes,
        };
    }

    /// Unmaps and closes. The caller has made sure that no operation is in flight, or that the
    /// memory lent to those that are outlives the process's last use of it.
    pub fn deinit(self: *Ring) void {
        kernel.unmap(self.sqes);
        kernel.unmap(self.rings);
        if (self.enter_flags != 0) _ = self.unregister_ring_fd();
        kernel.close(self.fd);
        self.* = undefined;
    }

    /// Starts a ring that was set up with R_DISABLED; the calling thread becomes its issuer.
    pub fn enable(self: *Ring) i32 {
        return kernel.register(self.fd, @intFromEnum(linux.IORING_REGISTER.REGISTER_ENABLE_RINGS), null, 0);
    }

    /// Registers the ring's own descriptor with the calling thread, which spares each enter a
    /// descriptor look-up (5.18). Belongs to the thread: only its enters may use the index.
    pub fn register_ring_fd(self: *Ring) i32 {
        var update = RingFdUpdate{ .offset = std.math.maxInt(u32), .data = @intCast(self.fd) };
        const result = kernel.register(self.fd, @intFromEnum(linux.IORING_REGISTER.REGISTER_RING_FDS), &update, 1);
        if (result != 1) return if (result < 0) result else kernel.negative(.INVAL);
        self.enter_fd = @intCast(update.offset);
        self.enter_flags = linux.IORING_ENTER_REGISTERED_RING;
        return 0;
    }

    pub fn unregister_ring_fd(self: *Ring) i32 {
        var update = RingFdUpdate{ .offset = @intCast(self.enter_fd), .data = 0 };
        self.enter_fd = self.fd;
        self.enter_flags = 0;
        return kernel.register(self.fd, @intFromEnum(linux.IORING_REGISTER.UNREGISTER_RING_FDS), &update, 1);
    }

    /// The next free SQE, zeroed (F10), or null while the queue is full. It belongs to the caller
    /// until the next submit.
    pub fn get_sqe(self: *Ring) ?*Sqe {
        const sq = &self.sq;
        const head = @atomicLoad(u32, sq.head, .acquire);
        if (sq.local_tail -% head >= sq.entries) return null;
        const offset = @as(usize, sq.local_tail & sq.mask) * sq.sqe_size;
        sq.local_tail +%= 1;
        const half = @sizeOf(Sqe); // all, but for the longer entries: a known size needs no loop
        self.sqes[offset..][0..half].* = @splat(0);
        if (sq.sqe_size > half) self.sqes[offset + half ..][0..half].* = @splat(0);
        return @ptrCast(@alignCast(self.sqes[offset..].ptr));
    }

    /// SQEs handed out that the kernel has not taken yet: read back, never counted (F1).
    pub fn sq_pending(self: *const Ring) u32 {
        return self.sq.local_tail -% @atomicLoad(u32, self.sq.head, .acquire);
    }

    pub fn sq_space_left(self: *const Ring) u32 {
        return self.sq.entries - self.sq_pending();
    }

    /// Hands the filled SQEs to the kernel. Returns how many it took, or -errno.
    pub fn submit(self: *Ring) i32 {
        return self.enter(0, null, 0);
    }

    /// Submits, and waits until `count` completions are there, a signal comes, or `timeout_ns` is
    /// over (null: no limit). Returns the number submitted, or -errno: -ETIME and -EINTR say that
    /// nothing was submitted and the wait ended early; a positive number says nothing about the
    /// wait (F8).
    pub fn submit_and_wait(self: *Ring, count: u32, timeout_ns: ?u64) i32 {
        return self.enter(count, timeout_ns, 0);
    }

    /// As submit_and_wait; when `min_wait_us` are over (not 0), one completion is enough. For
    /// rings with IORING_FEAT_MIN_TIMEOUT only: others submit, and refuse the wait silently.
    pub fn submit_and_wait_min(self: *Ring, count: u32, timeout_ns: ?u64, min_wait_us: u32) i32 {
        return self.enter(count, timeout_ns, min_wait_us);
    }

    fn enter(self: *Ring, wait_count: u32, timeout_ns: ?u64, min_wait_us: u32) i32 {
        if (wait_count > 0 and timeout_ns != null and self.features & linux.IORING_FEAT_EXT_ARG == 0) {
            if (self.queue_timeout(wait_count, timeout_ns.?) == null) return self.enter(0, null, 0);
        }
        const to_submit = self.publish();
        var flags = self.enter_flags;
        if (self.is_sqpoll()) {
            if (self.sq_flags() & linux.IORING_SQ_NEED_WAKEUP != 0) flags |= linux.IORING_ENTER_SQ_WAKEUP;
        }
        if (wait_count > 0 or self.needs_getevents()) flags |= linux.IORING_ENTER_GETEVENTS;
        if (flags == self.enter_flags and (self.is_sqpoll() or to_submit == 0)) return @intCast(to_submit);

        if (timeout_ns != null and wait_count > 0 and self.features & linux.IORING_FEAT_EXT_ARG != 0) {
            const time = timespec_of(timeout_ns.?);
            const arg = linux.io_uring_getevents_arg{
                .sigmask = 0,
                .sigmask_sz = linux.NSIG / 8,
                .pad = min_wait_us, // named so by the headers since 6.12
                .ts = @intFromPtr(&time),
            };
            flags |= linux.IORING_ENTER_EXT_ARG;
            return kernel.enter(self.enter_fd, to_submit, wait_count, flags, &arg, @sizeOf(@TypeOf(arg)));
        }
        return kernel.enter(self.enter_fd, to_submit, wait_count, flags, null, linux.NSIG / 8);
    }

    /// Makes every SQE handed out visible to the kernel. Returns how many it has yet to take.
    fn publish(self: *Ring) u32 {
        const sq = &self.sq;
        if (self.is_sqpoll()) {
            // Full barrier between the tail store and the caller's load of NEED_WAKEUP: the polling
            // thread sets the flag, then looks at the tail again; without the barrier both may
            // miss each other and the thread sleeps on work (F4). An exchange is a full barrier.
            _ = @atomicRmw(u32, sq.tail, .Xchg, sq.local_tail, .seq_cst);
        } else {
            // Release: the SQEs' contents before the tail (F3). Without SQPOLL the kernel reads in
            // our own system call, so that order is all there is to keep.
            @atomicStore(u32, sq.tail, sq.local_tail, .release);
        }
        return self.sq_pending();
    }

    /// The wait's time limit as an operation of its own, for kernels without EXT_ARG (5.10).
    fn queue_timeout(self: *Ring, wait_count: u32, timeout_ns: u64) ?*Sqe {
        const sqe = self.get_sqe() orelse return null;
        self.timeout = timespec_of(timeout_ns);
        sqe.opcode = .TIMEOUT;
        sqe.fd = -1;
        sqe.addr = @intFromPtr(&self.timeout);
        sqe.len = 1;
        sqe.off = wait_count;
        sqe.user_data = timeout_user_data;
        return sqe;
    }

    /// True when completions may wait in the kernel for an enter with GETEVENTS: deferred task
    /// work (F5), flagged task work, or a completion queue that ran over (F6).
    fn needs_getevents(self: *const Ring) bool {
        if (self.setup_flags & linux.IORING_SETUP_DEFER_TASKRUN != 0) return true;
        if (self.setup_flags & linux.IORING_SETUP_IOPOLL != 0) return true;
        return self.sq_flags() & (linux.IORING_SQ_CQ_OVERFLOW | linux.IORING_SQ_TASKRUN) != 0;
    }

    pub fn sq_flags(self: *const Ring) u32 {
        return @atomicLoad(u32, self.sq.flags, .acquire);
    }

    pub fn is_sqpoll(self: *const Ring) bool {
        return self.setup_flags & linux.IORING_SETUP_SQPOLL != 0;
    }

    /// Completions that can be read now.
    pub fn cq_ready(self: *const Ring) u32 {
        return @atomicLoad(u32, self.cq.tail, .acquire) -% self.cq.head.*;
    }

    /// The completion at `index` behind the oldest unread one; index < cq_ready().
    pub fn cqe_at(self: *const Ring, index: u32) *const Cqe {
        const slot = (self.cq.head.* +% index) & self.cq.mask;
        return @ptrCast(@alignCast(self.cq.cqes + @as(usize, slot) * self.cq.cqe_size));
    }

    /// Gives the oldest `count` completions' places back to the kernel.
    pub fn advance_cq(self: *Ring, count: u32) void {
        assert(count <= self.cq_ready());
        // Release: our reads of the CQEs before the kernel may write there again.
        @atomicStore(u32, self.cq.head, self.cq.head.* +% count, .release);
    }

    /// Lets the kernel move completions that did not fit into the CQ there. Returns true when
    /// there were such (F6); the caller reaps again.
    pub fn flush_overflow(self: *Ring) bool {
        if (self.sq_flags() & linux.IORING_SQ_CQ_OVERFLOW == 0) return false;
        _ = self.run_task_work();
        return true;
    }

    /// Lets the kernel post what it holds back, without waiting: deferred work (F5), overflow (F6).
    pub fn run_task_work(self: *Ring) i32 {
        if (!self.needs_getevents()) return 0;
        if (self.sq_flags() & linux.IORING_SQ_CQ_OVERFLOW != 0) self.overflow_flushes += 1;
        return kernel.enter(self.enter_fd, 0, 0, self.enter_flags | linux.IORING_ENTER_GETEVENTS, null, linux.NSIG / 8);
    }

    pub fn wakeup_sqpoll(self: *Ring) i32 {
        if (!self.is_sqpoll()) return 0;
        return kernel.enter(self.enter_fd, 0, 0, self.enter_flags | linux.IORING_ENTER_SQ_WAKEUP, null, linux.NSIG / 8);
    }

    /// The clock that a worker on this ring goes by.
    pub fn now_ns(_: *const Ring) u64 {
        return kernel.monotonic_ns();
    }

    /// Closes a descriptor that no operation names, at once.
    pub fn close_descriptor(_: *Ring, fd: i32) void {
        kernel.close(fd);
    }

    /// A connection that waits in a listener's queue, or -EAGAIN; never blocks.
    pub fn accept_now(_: *Ring, listener: i32) i32 {
        return kernel.accept_nonblocking(listener);
    }

    /// Receives what lies in a socket: how much it was, 0 at its end, or -errno. Never blocks.
    pub fn receive_now(_: *Ring, socket: i32, memory: []u8) i32 {
        return kernel.receive(socket, @intFromPtr(memory.ptr), memory.len);
    }

    /// Sends a part of a file on a socket: how many bytes the socket took, or -errno.
    pub fn send_file(_: *Ring, socket: i32, file: i32, offset: u64, count: usize) i32 {
        return kernel.send_file(socket, file, offset, count);
    }

    pub fn register(self: *Ring, opcode: linux.IORING_REGISTER, arg: ?*const anyopaque, count: u32) i32 {
        return kernel.register(self.fd, @intFromEnum(opcode), arg, count);
    }
};

const RingFdUpdate = extern struct { offset: u32, resv: u32 = 0, data: u64 };

fn at(area: []u8, offset: usize) *u32 {
    return @ptrCast(@alignCast(area.ptr + offset));
}

fn timespec_of(ns: u64) linux.kernel_timespec {
    return .{ .sec = @intCast(ns / std.time.ns_per_s), .nsec = @intCast(ns % std.time.ns_per_s) };
}

test "a ring takes NOPs and gives their completions back" {
    var failure: i32 = 0;
    var ring = Ring.init(.{ .entries = 8 }, &failure) catch return error.SkipZigTest;
    defer ring.deinit();
    for (0..100) |round| {
        for (0..8) |i| {
            const sqe = ring.get_sqe().?;
            sqe.opcode = .NOP;
            sqe.user_data = round * 8 + i;
        }
        try std.testing.expectEqual(null, ring.get_sqe());
        try std.testing.expectEqual(8, ring.submit_and_wait(8, null));
        try std.testing.expectEqual(8, ring.cq_ready());
        for (0..8) |i| try std.testing.expectEqual(round * 8 + i, ring.cqe_at(@intCast(i)).user_data);
        ring.advance_cq(8);
    }
}

test "a timed wait ends without EXT_ARG too" {
    for ([_]bool{ false, true }) |without| {
        var failure: i32 = 0;
        var ring = Ring.init(.{ .entries = 8, .without_ext_arg = without }, &failure) catch return error.SkipZigTest;
        defer ring.deinit();
        const result = ring.submit_and_wait(1, std.time.ns_per_ms);
        try std.testing.expect(result == kernel.negative(.TIME) or result == 1);
    }
}
