//! The ring over epoll against the kernel's: the same entries, on sockets of their own, complete
//! with the same results and flags. Where io_uring is refused there is nothing to compare with.
//! Owns the two rings and the scripts; knows nothing of a worker.

const std = @import("std");
const kernel = @import("../kernel.zig");
const linux = kernel.linux;
const BufferGroup = @import("../buffer_group.zig").BufferGroup;
const EpollRing = @import("../epoll_ring.zig").EpollRing;
const Ring = @import("../ring.zig").Ring;
const expectEqual = std.testing.expectEqual;

const Outcome = struct { user_data: u64 = 0, res: i32 = 0, flags: u32 = 0 };

/// One ring with a pair of sockets, and what has completed so far, in order.
fn StageType(comptime RingT: type) type {
    return struct {
        const Stage = @This();

        ring: RingT,
        ours: i32,
        theirs: i32,
        group: BufferGroup,
        memory: [64]u8 = undefined,
        outcomes: [64]Outcome = @splat(.{}),
        count: usize = 0,

        fn init(self: *Stage, ring: RingT) !void {
            var failure: i32 = 0;
            var pair: [2]i32 = undefined;
            const made = linux.socketpair(linux.AF.UNIX, linux.SOCK.STREAM | linux.SOCK.NONBLOCK, 0, &pair);
            try expectEqual(0, made);
            self.* = .{ .ring = ring, .ours = pair[0], .theirs = pair[1], .group = undefined };
            self.group = try BufferGroup.init(&self.ring, 0, 2, 16, &failure);
        }

        fn deinit(self: *Stage) void {
            self.group.deinit(&self.ring);
            self.ring.deinit();
            if (self.ours >= 0) kernel.close(self.ours);
            if (self.theirs >= 0) kernel.close(self.theirs);
        }

        fn entry(self: *Stage, opcode: linux.IORING_OP, fd: i32, user_data: u64) *linux.io_uring_sqe {
            const sqe = self.ring.get_sqe().?;
            sqe.opcode = opcode;
            sqe.fd = fd;
            sqe.user_data = user_data;
            return sqe;
        }

        /// Submits, and takes completions for as long as some come within a moment.
        fn settle(self: *Stage) !void {
            while (true) {
                const result = self.ring.submit_and_wait(1, 20 * std.time.ns_per_ms);
                // A process that was stopped and continued, or whose machine was, waits again (signal(7)).
                if (result == kernel.negative(.INTR)) continue;
                if (self.ring.cq_ready() == 0) {
                    // Something was submitted, or the time is over.
                    return if (result > 0) {} else expectEqual(kernel.negative(.TIME), result);
                }
                while (self.ring.cq_ready() > 0) {
                    const cqe = self.ring.cqe_at(0).*;
                    self.ring.advance_cq(1);
                    // That more lies in the socket is a hint, not every kernel's for every kind of socket.
                    const flags = cqe.flags & ~@as(u32, linux.IORING_CQE_F_SOCK_NONEMPTY);
                    self.outcomes[self.count] = .{ .user_data = cqe.user_data, .res = cqe.res, .flags = flags };
                    self.count += 1;
                }
            }
        }

        fn peer_sends(self: *Stage, text: []const u8) !void {
            try expectEqual(text.len, linux.write(self.theirs, text.ptr, text.len));
        }

        fn recv_multishot(self: *Stage, user_data: u64) void {
            const sqe = self.entry(.RECV, self.ours, user_data);
            sqe.flags = linux.IOSQE_BUFFER_SELECT;
            sqe.ioprio = linux.IORING_RECV_MULTISHOT;
        }

        fn cancel(self: *Stage, target: u64, user_data: u64) void {
            self.entry(.ASYNC_CANCEL, self.ours, user_data).addr = target;
        }
    };
}

/// Runs `script` on both rings and compares what completed.
fn both(script: anytype) !void {
    var failure: i32 = 0;
    const flags = linux.IORING_SETUP_SINGLE_ISSUER | linux.IORING_SETUP_DEFER_TASKRUN;
    const real_ring = Ring.init(.{ .entries = 8, .flags = flags }, &failure) catch return error.SkipZigTest;
    var real: StageType(Ring) = undefined;
    try real.init(real_ring);
    defer real.deinit();
    var ours: StageType(EpollRing) = undefined;
    try ours.init(try EpollRing.init(8, 16, &failure));
    defer ours.deinit();
    try script.run(&real);
    try script.run(&ours);
    try std.testing.expectEqualSlices(Outcome, real.outcomes[0..real.count], ours.outcomes[0..ours.count]);
    try std.testing.expect(real.count > 0);
    try std.testing.expectEqualStrings(&real.memory, &ours.memory);
}

test "alike: a receive waits for its bytes, and says the end" {
    try both(struct {
        fn run(stage: anytype) !void {
            @memset(&stage.memory, '.');
            const sqe = stage.entry(.RECV, stage.ours, 1);
            sqe.addr = @intFromPtr(&stage.memory);
            sqe.len = stage.memory.len;
            try stage.settle();
            try expectEqual(0, stage.count);
            try stage.peer_sends("twelve bytes");
            try stage.settle();
            kernel.close(stage.theirs);
            stage.theirs = -1;
            const last = stage.entry(.RECV, stage.ours, 2);
            last.addr = @intFromPtr(&stage.memory);
            last.len = stage.memory.len;
            try stage.settle();
        }
    });
}

test "alike: a multishot receive goes through its buffers and ends when none is left" {
    try both(struct {
        fn run(stage: anytype) !void {
            @memset(&stage.memory, 0);
            stage.recv_multishot(1);
            try stage.settle();
            try stage.peer_sends("first");
            try stage.settle();
            try stage.peer_sends("second, which is longer than one buffer is");
            try stage.settle();
            stage.group.taken();
            stage.group.recycle(1);
            stage.group.publish();
            stage.recv_multishot(2);
            try stage.settle();
            @memcpy(stage.memory[0..16], stage.group.slice(1));
        }
    });
}

test "alike: what waits is cancelled by its user_data, what does not is not found" {
    try both(struct {
        fn run(stage: anytype) !void {
            @memset(&stage.memory, 0);
            stage.recv_multishot(1);
            stage.cancel(99, 2);
            try stage.settle();
            stage.cancel(1, 3);
            try stage.settle();
            try stage.peer_sends("nobody reads this");
            stage.cancel(1, 4);
            try stage.settle();
        }
    });
}

test "alike: a wait for bytes takes none, ends by a cancel, and sees an end" {
    try both(struct {
        fn run(stage: anytype) !void {
            @memset(&stage.memory, '.');
            for (0..3) |round| {
                if (round == 1) try stage.peer_sends("there");
                stage.entry(.POLL_ADD, stage.ours, 1).rw_flags = linux.POLL.IN;
                try stage.settle();
                if (round == 0) try stage.peer_sends("first");
                try stage.settle();
            }
            const all = stage.ring.receive_now(stage.ours, &stage.memory);
            try expectEqual(10, all);
            try expectEqual(kernel.negative(.AGAIN), stage.ring.receive_now(stage.ours, stage.memory[10..]));
            stage.entry(.POLL_ADD, stage.ours, 2).rw_flags = linux.POLL.IN;
            try stage.settle();
            stage.cancel(2, 3);
            try stage.settle();
            stage.recv_multishot(4); // in the same place
            try stage.peer_sends("more");
            try stage.settle();
            stage.cancel(4, 5);
            try stage.settle();
            _ = linux.shutdown(stage.theirs, linux.SHUT.WR);
            stage.entry(.POLL_ADD, stage.ours, 6).rw_flags = linux.POLL.IN;
            try stage.settle();
            // That it is an end is for the receive to say, and epoll is not asked.
            stage.outcomes[stage.count - 1].res &= ~@as(i32, linux.EPOLL.RDHUP);
            try expectEqual(0, stage.ring.receive_now(stage.ours, &stage.memory));
        }
    });
}

test "alike: a send that finds no room goes on when there is some" {
    try both(struct {
        fn run(stage: anytype) !void {
            @memset(&stage.memory, 0);
            var size: c_int = 4096;
            _ = linux.setsockopt(stage.ours, linux.SOL.SOCKET, linux.SO.SNDBUF, @ptrCast(&size), @sizeOf(c_int));
            var big: [4096]u8 = @splat('x');
            for (0..4) |round| {
                while (linux.errno(linux.write(stage.ours, &big, big.len)) == .SUCCESS) {}
                if (round % 2 == 0) {
                    const sqe = stage.entry(.SEND, stage.ours, 1);
                    sqe.addr = @intFromPtr(&big);
                    sqe.len = 100;
                    sqe.rw_flags = linux.MSG.NOSIGNAL;
                } else {
                    stage.entry(.POLL_ADD, stage.ours, 2).rw_flags = linux.POLL.OUT;
                }
                try stage.settle();
                if (round == 2) stage.cancel(1, 3);
                var drained: [65536]u8 = undefined;
                while (linux.errno(linux.read(stage.theirs, &drained, drained.len)) == .SUCCESS) {}
                try stage.settle();
            }
            _ = linux.shutdown(stage.theirs, linux.SHUT.RDWR);
            const broken = stage.entry(.SEND, stage.ours, 4);
            broken.addr = @intFromPtr(&big);
            broken.len = 1;
            broken.rw_flags = linux.MSG.NOSIGNAL;
            try stage.settle();
        }
    });
}

test "alike: gathered sends, shutdown, close, and a descriptor that is none" {
    try both(struct {
        fn run(stage: anytype) !void {
            @memset(&stage.memory, 0);
            const vectors = [_]std.posix.iovec_const{
                .{ .base = "ab", .len = 2 },
                .{ .base = "cde", .len = 3 },
            };
            const header = linux.msghdr_const{
                .name = null,
                .namelen = 0,
                .iov = &vectors,
                .iovlen = 2,
                .control = null,
                .controllen = 0,
                .flags = 0,
            };
            const sqe = stage.entry(.SENDMSG, stage.ours, 1);
            sqe.addr = @intFromPtr(&header);
            sqe.len = 1;
            try stage.settle();
            try expectEqual(5, linux.read(stage.theirs, &stage.memory, stage.memory.len));
            stage.entry(.SHUTDOWN, stage.ours, 2).len = linux.SHUT.WR;
            try stage.settle();
            try expectEqual(0, linux.read(stage.theirs, &stage.memory, stage.memory.len));
            _ = stage.entry(.CLOSE, stage.ours, 3);
            try stage.settle();
            const gone = stage.entry(.RECV, stage.ours, 4);
            gone.addr = @intFromPtr(&stage.memory);
            gone.len = 1;
            try stage.settle();
            _ = stage.entry(.CLOSE, stage.ours, 5);
            try stage.settle();
            stage.ours = -1;
        }
    });
}

test "alike: a multishot accept takes who waits and who comes, until it is cancelled" {
    try both(struct {
        fn run(stage: anytype) !void {
            @memset(&stage.memory, 0);
            var address = linux.sockaddr.in{ .port = 0, .addr = std.mem.nativeToBig(u32, 0x7f000001) };
            var size: linux.socklen_t = @sizeOf(@TypeOf(address));
            const listener = kernel.result_of(linux.socket(linux.AF.INET, linux.SOCK.STREAM, 0));
            defer kernel.close(listener);
            try expectEqual(0, linux.bind(listener, @ptrCast(&address), size));
            try expectEqual(0, linux.listen(listener, 16));
            try expectEqual(0, linux.getsockname(listener, @ptrCast(&address), &size));
            var peers: [4]i32 = undefined;
            for (&peers, 0..) |*peer, i| {
                peer.* = kernel.result_of(linux.socket(linux.AF.INET, linux.SOCK.STREAM, 0));
                try expectEqual(0, linux.connect(peer.*, @ptrCast(&address), size));
                if (i == 1) {
                    const sqe = stage.entry(.ACCEPT, listener, 1);
                    sqe.ioprio = linux.IORING_ACCEPT_MULTISHOT;
                    sqe.rw_flags = linux.SOCK.NONBLOCK | linux.SOCK.CLOEXEC;
                }
                try stage.settle();
            }
            for (peers) |peer| kernel.close(peer);
            for (stage.outcomes[0..stage.count]) |*outcome| {
                kernel.close(outcome.res);
                outcome.res = 0; // the numbers differ
            }
            try expectEqual(4, stage.count);
            const sqe = stage.entry(.ASYNC_CANCEL, listener, 2);
            sqe.addr = 1;
            try stage.settle();
            // Nobody listens any more: an outgoing connection is refused.
            const socket = kernel.result_of(linux.socket(linux.AF.INET, linux.SOCK.STREAM | linux.SOCK.NONBLOCK, 0));
            defer kernel.close(socket);
            _ = linux.shutdown(listener, linux.SHUT.RDWR);
            const out = stage.entry(.CONNECT, socket, 3);
            out.addr = @intFromPtr(&address);
            out.off = size;
            try stage.settle();
        }
    });
}

test "a number that comes anew is watched anew, whoever waited under it" {
    var failure: i32 = 0;
    var stage: StageType(EpollRing) = undefined;
    try stage.init(try EpollRing.init(8, 16, &failure));
    defer stage.deinit();
    stage.recv_multishot(1);
    try stage.settle();
    kernel.close(stage.ours); // the application's mistake
    var pair: [2]i32 = undefined;
    _ = linux.socketpair(linux.AF.UNIX, linux.SOCK.STREAM | linux.SOCK.NONBLOCK, 0, &pair);
    defer kernel.close(pair[1]);
    try expectEqual(stage.ours, pair[0]);
    stage.ring.interest.renew(pair[0]); // as an accept does
    stage.recv_multishot(2);
    try expectEqual(5, linux.write(pair[1], "alive", 5));
    try stage.settle();
    try expectEqual(Outcome{ .user_data = 1, .res = kernel.negative(.BADF) }, stage.outcomes[0]);
    try expectEqual(2, stage.outcomes[1].user_data);
    try expectEqual(5, stage.outcomes[1].res);
}

test "entries wait while the completions have no room, and none is lost" {
    var failure: i32 = 0;
    var ring = try EpollRing.init(8, 0, &failure);
    defer ring.deinit();
    var left: u32 = 1000;
    var found: u32 = 0;
    while (found < 1000) {
        while (left > 0) : (left -= 1) {
            const sqe = ring.get_sqe() orelse break;
            sqe.opcode = .SHUTDOWN;
            sqe.fd = -1;
            sqe.user_data = left;
        }
        _ = ring.submit();
        if (ring.cq_ready() < ring.cqes.len - 1 and left > 0) continue;
        while (ring.cq_ready() > 0) : (found += 1) {
            try expectEqual(1000 - found, ring.cqe_at(0).user_data);
            try expectEqual(kernel.negative(.BADF), ring.cqe_at(0).res);
            ring.advance_cq(1);
        }
    }
    try expectEqual(1000, found);
}
