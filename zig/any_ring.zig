//! The ring that a worker in the library runs on: the kernel's, or the one over epoll where
//! io_uring is refused. Chosen once, when the worker is made; owns whichever it is.

const kernel = @import("kernel.zig");
const linux = kernel.linux;
const EpollRing = @import("epoll_ring.zig").EpollRing;
const Ring = @import("ring.zig").Ring;

pub const AnyRing = union(enum) {
    kernel: Ring,
    epoll: EpollRing,

    pub fn deinit(self: *AnyRing) void {
        switch (self.*) {
            inline else => |*ring| ring.deinit(),
        }
    }

    /// IORING_SETUP_* in force; none over epoll.
    pub fn setup_flags(self: *const AnyRing) u32 {
        return switch (self.*) {
            inline else => |*ring| ring.setup_flags,
        };
    }

    pub fn get_sqe(self: *AnyRing) ?*linux.io_uring_sqe {
        return switch (self.*) {
            inline else => |*ring| ring.get_sqe(),
        };
    }

    pub fn submit(self: *AnyRing) i32 {
        return switch (self.*) {
            inline else => |*ring| ring.submit(),
        };
    }

    pub fn submit_and_wait(self: *AnyRing, count: u32, timeout_ns: ?u64) i32 {
        return switch (self.*) {
            inline else => |*ring| ring.submit_and_wait(count, timeout_ns),
        };
    }

    pub fn cq_ready(self: *const AnyRing) u32 {
        return switch (self.*) {
            inline else => |*ring| ring.cq_ready(),
        };
    }

    pub fn cqe_at(self: *const AnyRing, index: u32) *const linux.io_uring_cqe {
        return switch (self.*) {
            inline else => |*ring| ring.cqe_at(index),
        };
    }

    pub fn advance_cq(self: *AnyRing, count: u32) void {
        switch (self.*) {
            inline else => |*ring| ring.advance_cq(count),
        }
    }

    pub fn flush_overflow(self: *AnyRing) bool {
        return switch (self.*) {
            inline else => |*ring| ring.flush_overflow(),
        };
    }

    pub fn register(self: *AnyRing, opcode: linux.IORING_REGISTER, arg: ?*const anyopaque, count: u32) i32 {
        return switch (self.*) {
            inline else => |*ring| ring.register(opcode, arg, count),
        };
    }

    /// A connection that waits in a listener's queue, or -EAGAIN; never blocks.
    pub fn accept_now(self: *AnyRing, listener: i32) i32 {
        return switch (self.*) {
            inline else => |*ring| ring.accept_now(listener),
        };
    }

    // What is no operation of a ring is the same under both.

    /// The clock that a worker on this ring goes by.
    pub fn now_ns(_: *const AnyRing) u64 {
        return kernel.monotonic_ns();
    }

    /// Closes a descriptor that no operation names, at once.
    pub fn close_descriptor(_: *AnyRing, fd: i32) void {
        kernel.close(fd);
    }

    /// Receives what lies in a socket: how much it was, 0 at its end, or -errno. Never blocks.
    pub fn receive_now(_: *AnyRing, socket: i32, memory: []u8) i32 {
        return kernel.receive(socket, @intFromPtr(memory.ptr), memory.len);
    }

    /// Sends a part of a file on a socket: how many bytes the socket took, or -errno.
    pub fn send_file(_: *AnyRing, socket: i32, file: i32, offset: u64, count: usize) i32 {
        return kernel.send_file(socket, file, offset, count);
    }
};
