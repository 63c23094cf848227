//! One small ring to ask the kernel questions on, and the sockets and buffers the questions need.
//! Owns what a question opened until the question is over; decides nothing about capabilities.
//!
//! A question that fails says why in `failure`: -errno as the kernel answered, or one of the codes
//! below, which are positive so that they can never be an errno.

const std = @import("std");
const kernel = @import("kernel.zig");
const ring_module = @import("ring.zig");
const linux = kernel.linux;
const Ring = ring_module.Ring;
const Sqe = ring_module.Sqe;
pub const Cqe = ring_module.Cqe;

/// The kernel took the operation and did something else.
pub const answered_wrongly: i32 = 1;
/// No completion came within `patience_ns`.
pub const no_answer: i32 = 2;
/// The question was not asked: what it stands on is missing.
pub const not_asked: i32 = 3;
/// The question needs a loopback interface, and there is none that is up.
pub const no_loopback: i32 = 4;

/// Answers come at once, but for a machine so busy that we do not run: 100 ms were too few on one.
/// This bounds the wait for an answer that never comes; no kernel from 5.10 to 7.3 has shown one.
const patience_ns = std.time.ns_per_s;

/// A group's memory: its ring in the first part, page aligned for any page size, buffers behind.
const group_part = 64 * 1024;

pub const Error = error{Missing};

pub const Trial = struct {
    ring: *Ring,
    failure: i32 = 0,
    last_user_data: u64 = 0,

    /// A queued operation on `fd` with a user_data of its own: an answer can only be its own.
    pub noinline fn prepare(self: *Trial, opcode: linux.IORING_OP, fd: i32) Error!*Sqe {
        const sqe = self.ring.get_sqe() orelse return self.refuse(not_asked);
        self.last_user_data += 1;
        sqe.opcode = opcode;
        sqe.fd = fd;
        sqe.user_data = self.last_user_data;
        return sqe;
    }

    pub noinline fn prepare_receive(self: *Trial, fd: i32, into: []u8) Error!*Sqe {
        const sqe = try self.prepare(.RECV, fd);
        sqe.addr = @intFromPtr(into.ptr);
        sqe.len = @intCast(into.len);
        return sqe;
    }

    pub noinline fn prepare_select(self: *Trial, opcode: linux.IORING_OP, fd: i32, group_id: u16) Error!*Sqe {
        const sqe = try self.prepare(opcode, fd);
        sqe.flags |= linux.IOSQE_BUFFER_SELECT;
        sqe.buf_index = group_id;
        return sqe;
    }

    pub fn refuse(self: *Trial, reason: i32) Error {
        self.failure = reason;
        return error.Missing;
    }

    /// Passes a result on, or refuses with the error in it.
    pub fn take(self: *Trial, result: i32) Error!i32 {
        if (result < 0) return self.refuse(result);
        return result;
    }

    pub fn require(self: *Trial, holds: bool) Error!void {
        if (!holds) return self.refuse(answered_wrongly);
    }

    /// Submits, and waits for the next completion of `user_data`; others are dropped.
    pub noinline fn complete(self: *Trial, user_data: u64) Error!Cqe {
        return self.complete_either(user_data, user_data);
    }

    /// The same for whichever of two comes first.
    pub noinline fn complete_either(self: *Trial, one: u64, other: u64) Error!Cqe {
        const deadline = kernel.monotonic_ns() + patience_ns;
        while (true) {
            while (self.ring.cq_ready() > 0) {
                const cqe = self.ring.cqe_at(0).*;
                self.ring.advance_cq(1);
                if (cqe.user_data == one or cqe.user_data == other) return cqe;
            }
            const now = kernel.monotonic_ns();
            if (now >= deadline) return self.refuse(no_answer);
            const result = self.ring.submit_and_wait(1, deadline - now);
            if (result >= 0) continue;
            switch (kernel.errno_of(result)) {
                // The wait ended early; the deadline above bounds it.
                .TIME, .INTR, .AGAIN, .BUSY => {},
                else => return self.refuse(result),
            }
        }
    }

    /// The result of the operation just queued, or refuses with its error.
    pub noinline fn result_of(self: *Trial, sqe: *const Sqe) Error!i32 {
        const cqe = try self.complete(sqe.user_data);
        return self.take(cqe.res);
    }

    /// Ends an armed operation and waits until the kernel has let go of its socket and memory.
    /// What went wrong before stays in `failure`.
    pub noinline fn cancel(self: *Trial, user_data: u64) void {
        const failure = self.failure;
        defer self.failure = failure;
        const sqe = self.prepare(.ASYNC_CANCEL, -1) catch return;
        sqe.addr = user_data;
        const canceller = sqe.user_data;
        const deadline = kernel.monotonic_ns() + patience_ns;
        var ended = false;
        var answered = false;
        while (!(ended and answered)) {
            _ = self.ring.submit_and_wait(1, patience_ns);
            while (self.ring.cq_ready() > 0) {
                const cqe = self.ring.cqe_at(0).*;
                self.ring.advance_cq(1);
                if (cqe.user_data == user_data and cqe.flags & linux.IORING_CQE_F_MORE == 0) ended = true;
                if (cqe.user_data != canceller) continue;
                answered = true;
                // It was over before: its last completion has been read already.
                if (cqe.res == kernel.negative(.NOENT)) ended = true;
            }
            if (kernel.monotonic_ns() >= deadline) return;
        }
    }

    /// A NOP goes in and comes out.
    pub noinline fn nop(self: *Trial) Error!void {
        const sqe = try self.prepare(.NOP, -1);
        try self.require(try self.result_of(sqe) == 0);
    }
};

/// Two connected stream sockets.
pub const Pair = struct {
    ours: i32,
    theirs: i32,

    pub noinline fn open(trial: *Trial) Error!Pair {
        var fds: [2]i32 = undefined;
        const kind = linux.SOCK.STREAM | linux.SOCK.CLOEXEC;
        _ = try trial.take(kernel.result_of(linux.socketpair(linux.AF.UNIX, kind, 0, &fds)));
        return .{ .ours = fds[0], .theirs = fds[1] };
    }

    pub noinline fn close(self: Pair) void {
        kernel.close(self.ours);
        kernel.close(self.theirs);
    }

    /// The peer says something.
    pub noinline fn say(self: Pair, trial: *Trial, text: []const u8) Error!void {
        return send(trial, self.theirs, text);
    }

    /// The peer has received exactly `text`.
    pub noinline fn heard(self: Pair, trial: *Trial, text: []const u8) Error!void {
        var bytes: [128]u8 = undefined;
        const raw = linux.recvfrom(self.theirs, &bytes, bytes.len, linux.MSG.DONTWAIT, null, null);
        const count: usize = @intCast(try trial.take(kernel.result_of(raw)));
        try trial.require(std.mem.eql(u8, bytes[0..count], text));
    }
};

/// A listening socket nobody else can find: an abstract name that the kernel picks (unix(7),
/// autobind), so that no port, path or interface is needed.
pub const Listener = struct {
    fd: i32,
    address: linux.sockaddr.un = undefined,
    length: linux.socklen_t = @sizeOf(linux.sockaddr.un),

    pub noinline fn open(trial: *Trial) Error!Listener {
        var self = Listener{ .fd = try socket(trial) };
        errdefer kernel.close(self.fd);
        const unnamed = linux.sockaddr{ .family = linux.AF.UNIX, .data = @splat(0) };
        _ = try trial.take(kernel.result_of(linux.bind(self.fd, &unnamed, @sizeOf(u16))));
        _ = try trial.take(kernel.result_of(linux.listen(self.fd, 8)));
        _ = try trial.take(kernel.result_of(linux.getsockname(self.fd, @ptrCast(&self.address), &self.length)));
        return self;
    }

    pub noinline fn close(self: Listener) void {
        kernel.close(self.fd);
    }

    pub noinline fn connect(self: *const Listener, trial: *Trial) Error!i32 {
        const fd = try socket(trial);
        errdefer kernel.close(fd);
        _ = try trial.take(kernel.result_of(linux.connect(fd, &self.address, self.length)));
        return fd;
    }

    fn socket(trial: *Trial) Error!i32 {
        const kind = linux.SOCK.STREAM | linux.SOCK.CLOEXEC;
        return trial.take(kernel.result_of(linux.socket(linux.AF.UNIX, kind, 0)));
    }
};

/// A few small buffers provided through a ring of their own.
pub const Group = struct {
    memory: []align(std.heap.page_size_min) u8,
    id: u16,
    size: u32,

    /// `count` is a power of two, at most 16; byte i of the buffers is set to i.
    pub noinline fn open(trial: *Trial, id: u16, count: u16, size: u32, incremental: bool) Error!Group {
        const memory = kernel.map_anonymous(2 * group_part) orelse
            return trial.refuse(kernel.negative(.NOMEM));
        errdefer kernel.unmap(memory);
        for (0..count * size) |i| memory[group_part + i] = @truncate(i);
        var registration = std.mem.zeroes(linux.io_uring_buf_reg);
        registration.ring_addr = @intFromPtr(memory.ptr);
        registration.ring_entries = count;
        registration.bgid = id;
        registration.flags.inc = incremental;
        _ = try trial.take(trial.ring.register(.REGISTER_PBUF_RING, &registration, 1));

        const self = Group{ .memory = memory, .id = id, .size = size };
        const entries: [*]linux.io_uring_buf = @ptrCast(memory.ptr);
        for (0..count) |bid| {
            entries[bid].addr = @intFromPtr(self.buffer(@intCast(bid)).ptr);
            entries[bid].len = size;
            entries[bid].bid = @intCast(bid);
        }
        // 16 bits at offset 14: the tail shares entry 0's memory with that entry's bid (F28).
        const head: *linux.io_uring_buf_ring = @ptrCast(memory.ptr);
        @atomicStore(u16, &head.tail, count, .release);
        return self;
    }

    pub noinline fn close(self: Group, trial: *Trial) void {
        var registration = std.mem.zeroes(linux.io_uring_buf_reg);
        registration.bgid = self.id;
        _ = trial.ring.register(.UNREGISTER_PBUF_RING, &registration, 1);
        kernel.unmap(self.memory);
    }

    pub fn buffer(self: Group, bid: u16) []u8 {
        return self.memory[group_part + @as(usize, bid) * self.size ..][0..self.size];
    }

    /// The bytes a completion says it put into the buffer it chose.
    pub noinline fn received(self: Group, trial: *Trial, cqe: Cqe) Error![]const u8 {
        const count = try trial.take(cqe.res);
        try trial.require(cqe.flags & linux.IORING_CQE_F_BUFFER != 0);
        const bid = chosen(cqe);
        try trial.require(count <= self.size);
        return self.buffer(bid)[0..@intCast(count)];
    }
};

/// The buffer id in a completion with F_BUFFER.
pub fn chosen(cqe: Cqe) u16 {
    return @truncate(cqe.flags >> linux.IORING_CQE_BUFFER_SHIFT);
}

pub noinline fn send(trial: *Trial, fd: i32, text: []const u8) Error!void {
    const raw = linux.sendto(fd, text.ptr, text.len, linux.MSG.NOSIGNAL, null, 0);
    const count = try trial.take(kernel.result_of(raw));
    try trial.require(count == text.len);
}
