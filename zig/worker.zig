//! One ring, one thread, one loop: the worker's turn, and the dispatch of completions.
//! Owns the ring, the connections, the buffers and every operation in flight. What is done with a
//! completion lies in accept.zig, connect.zig, receive.zig, send.zig and closing.zig.
//!
//! Nothing is ever dropped for want of a submission entry: an event changes a connection's state
//! and marks it dirty; `service` compares what the state wants with what is in flight and issues
//! the difference, again and again until it fits (F2).
//!
//! `Ring` is ring.zig's, or the seeded model in testing/fake_ring.zig. `Handler` is who gets the
//! events: Python's protocols (transport_object.zig), or a native one. Both are duck-typed; the
//! list of what a handler has stands in docs/architecture.md.

const std = @import("std");
const builtin = @import("builtin");
const kernel = @import("kernel.zig");
const linux = kernel.linux;
const accept = @import("accept.zig");
const closing = @import("closing.zig");
const connect = @import("connect.zig");
const receive = @import("receive.zig");
const send = @import("send.zig");
const timing = @import("timing.zig");
const connection_module = @import("connection.zig");
const Connection = connection_module.Connection;
const Slab = connection_module.Slab;
const BufferGroup = @import("buffer_group.zig").BufferGroup;
const Config = @import("worker_config.zig").Config;
const Deadlines = @import("deadlines.zig").Deadlines;
const Mailbox = @import("mailbox.zig").Mailbox;
const Metrics = @import("metrics.zig").Metrics;
const PoolType = @import("pool.zig").PoolType;
const poison = @import("poison.zig");
const token_module = @import("token.zig");
const Token = token_module.Token;
const Operation = token_module.Operation;
const timeout_user_data = @import("ring.zig").timeout_user_data;
const assert = std.debug.assert;

pub const listeners_max = accept.listeners_max;

/// What one turn came to.
pub const Turn = packed struct(u32) {
    /// Another thread called notify.
    notified: bool = false,
    /// Nothing is left: no connection, no accept, no operation but the mailbox's own.
    drained: bool = false,
    /// No accept is in flight and none will be armed: the listeners may be closed.
    accept_stopped: bool = false,
    _: u29 = 0,
};

pub fn WorkerType(comptime RingT: type, comptime HandlerT: type) type {
    return struct {
        const Worker = @This();
        pub const Ring = RingT;
        pub const Handler = HandlerT;
        const Sqe = linux.io_uring_sqe;

        ring: Ring,
        handler: Handler,
        config: Config,
        slab: Slab,
        deadlines: Deadlines,
        mailbox: Mailbox,
        metrics: Metrics = .{},
        /// Provided buffers; null in a tier where each connection has one of its own.
        group: ?BufferGroup = null,
        /// Such own buffers, by slot; reserved, touched when first received into.
        own_buffers: ?[]align(std.heap.page_size_min) u8 = null,
        pieces: PoolType(connection_module.Piece) = .{},
        gathers: PoolType(connection_module.Gather) = .{},
        addresses: PoolType(connection_module.Address) = .{},
        listeners: accept.Listeners = .{},
        dirty_first: u32 = Slab.none,
        /// The monotonic clock as last read; read anew at every turn (F46).
        now_ns: u64,
        /// When the last wait was to end at the latest, for telling a gap (F62).
        wake_by_ns: u64 = 0,
        /// Until when no deadline is held against anybody, after a gap.
        grace_until_ns: u64 = 0,
        draining: bool = false,
        quiet_ns: u64 = 0,
        destroying: bool = false,
        /// A handler called before the wait has changed what the caller's timeout stood for, so
        /// this turn must not sleep: it set a timer, say.
        stay_awake: bool = false,

        /// Takes over `ring`. On failure the ring is the caller's still, `failure` holds -errno.
        pub fn init(
            self: *Worker,
            ring: Ring,
            handler: Handler,
            config: Config,
            failure: *i32,
        ) error{SetupFailed}!void {
            assert(config.max_connections > 0 and config.max_connections < token_module.slots_max);
            failure.* = kernel.negative(.NOMEM);
            var slab = Slab.init(config.max_connections) catch return error.SetupFailed;
            errdefer slab.deinit();
            var deadlines = Deadlines.init(config.max_connections + listeners_max) catch
                return error.SetupFailed;
            errdefer deadlines.deinit();
            failure.* = kernel.negative(.MFILE);
            var mailbox = Mailbox.init() catch return error.SetupFailed;
            errdefer mailbox.deinit();
            self.* = .{
                .ring = ring,
                .handler = handler,
                .config = config,
                .slab = slab,
                .deadlines = deadlines,
                .mailbox = mailbox,
                .now_ns = 0,
            };
            try receive.init_buffers(self, failure);
            self.now_ns = self.ring.now_ns();
        }

        /// Frees everything. Nothing may be in flight: `destroy_turns` has seen to it.
        pub fn deinit(self: *Worker) void {
            assert(self.metrics.ops_in_flight == 0);
            receive.deinit_buffers(self);
            self.pieces.deinit();
            self.gathers.deinit();
            self.addresses.deinit();
            self.mailbox.deinit();
            self.deadlines.deinit();
            self.slab.deinit();
            self.ring.deinit();
        }

        /// One turn: deadlines, what is dirty, submit and wait, completions, buffers back.
        /// Waits at most `timeout_ns` (null: as long as nothing is due). A negative errno says
        /// that the ring itself failed.
        pub fn turn(self: *Worker, timeout_ns: ?u64) struct { i32, Turn } {
            self.metrics.turns += 1;
            self.now_ns = self.ring.now_ns();
            self.stay_awake = false;
            const gap = timing.is_gap(self);
            if (!gap) timing.run_due(self);
            self.service_dirty();
            // Drained before it was asked to: nothing will come that would end a wait.
            const over = self.draining and self.is_drained();
            const limit = if (over) 0 else if (gap) timing.gap_limit(self) else timing.wait_limit(self, timeout_ns);
            const result = self.wait(limit);
            const notified = self.mailbox.wake_up();
            self.now_ns = self.ring.now_ns();
            self.reap();
            if (self.group) |*group| group.publish();
            const state = Turn{
                .notified = notified,
                .drained = self.is_drained(),
                .accept_stopped = accept.is_stopped(self),
            };
            return .{ result, state };
        }

        fn wait(self: *Worker, limit_ns: ?u64) i32 {
            // Arming the read comes first: a notification in between finds it, or the state word.
            const armed = self.arm_mailbox();
            const may_sleep = armed and self.mailbox.fall_asleep();
            const asked: ?u64 = if (may_sleep and !self.stay_awake and self.dirty_first == Slab.none) limit_ns else 0;
            const limit = self.mailbox.wait_limit(asked, self.now_ns);
            self.wake_by_ns = if (limit) |ns| self.now_ns +| ns else std.math.maxInt(u64);
            self.handler.before_wait();
            const result = if (limit == 0) self.ring.submit() else self.ring.submit_and_wait(1, limit);
            self.handler.after_wait();
            if (result >= 0) return 0;
            return switch (kernel.errno_of(result)) {
                // The time is over, or a signal came: Python's handlers run after every turn.
                .TIME, .INTR => 0,
                // Short of memory or the CQ is full: reaping makes room, the next turn submits.
                .AGAIN, .BUSY => 0,
                else => result,
            };
        }

        fn arm_mailbox(self: *Worker) bool {
            if (self.mailbox.armed or self.destroying or self.mailbox.is_deaf(self.now_ns)) return true;
            const sqe = self.get_sqe() orelse return false;
            sqe.opcode = .READ;
            sqe.fd = self.mailbox.eventfd;
            sqe.addr = @intFromPtr(&self.mailbox.count);
            sqe.len = @sizeOf(u64);
            sqe.user_data = Token.init(.wakeup, 0, 0).to_user_data();
            self.metrics.ops_in_flight += 1;
            self.mailbox.armed = true;
            return true;
        }

        /// Walks the completions there are, and those that had overflowed (F6).
        fn reap(self: *Worker) void {
            var flushes: u32 = 0;
            while (true) {
                self.reap_ready();
                if (flushes == 64 or !self.ring.flush_overflow()) return;
                flushes += 1;
                self.metrics.cq_overflows += 1;
            }
        }

        fn reap_ready(self: *Worker) void {
            var left = self.ring.cq_ready();
            var flushed_ns = self.now_ns;
            while (left > 0) : (left -= 1) {
                const cqe = self.ring.cqe_at(0).*;
                self.ring.advance_cq(1);
                self.metrics.completions += 1;
                self.dispatch(&cqe);
                // A slow handler must not hold back the replies that are ready. Sends run none.
                if (Token.from_user_data(cqe.user_data).operation == .send) continue;
                if (left > 1 and self.dirty_first != Slab.none and self.config.turn_budget_ns != 0) {
                    self.now_ns = self.ring.now_ns();
                    if (self.now_ns -| flushed_ns < self.config.turn_budget_ns) continue;
                    if (self.group) |*group| group.publish();
                    self.service_dirty();
                    _ = self.ring.submit();
                    flushed_ns = self.now_ns;
                }
            }
        }

        fn dispatch(self: *Worker, cqe: *const linux.io_uring_cqe) void {
            if (cqe.user_data == timeout_user_data) return;
            if (poison.enabled) poison.check(cqe.res);
            const token = Token.from_user_data(cqe.user_data);
            const last = cqe.flags & linux.IORING_CQE_F_MORE == 0;
            switch (token.operation) {
                .wakeup => {
                    self.mailbox.armed = false;
                    self.finish(last);
                    if (self.mailbox.completed(cqe.res, self.now_ns)) self.handler.deaf(self, -cqe.res);
                },
                .accept => {
                    self.finish(last);
                    accept.completed(self, token.slot, cqe);
                },
                .cancel_accept => {
                    self.finish(last);
                    accept.cancel_completed(self, token.slot, cqe);
                },
                .connect, .receive, .send, .cancel, .shutdown, .close => {
                    const connection = self.slab.find(token.slot, token.generation) orelse {
                        self.metrics.stale_completions += 1;
                        receive.recycle_stale(self, cqe);
                        return self.finish(last);
                    };
                    if (last) {
                        assert(connection.ops > 0);
                        connection.ops -= 1;
                    }
                    self.finish(last);
                    self.completed(token.operation, connection, cqe);
                },
                _ => {
                    // Not one of ours (F11): our own mistake, or the kernel's.
                    self.metrics.unknown_completions += 1;
                    if (builtin.mode == .Debug and !@hasDecl(Ring, "sends_unknown_completions"))
                        @panic("completion of an unknown operation");
                },
            }
        }

        fn completed(
            self: *Worker,
            operation: Operation,
            connection: *Connection,
            cqe: *const linux.io_uring_cqe,
        ) void {
            switch (operation) {
                .receive => receive.completed(self, connection, cqe),
                .send => send.completed(self, connection, cqe),
                .connect => connect.completed(self, connection, cqe),
                .shutdown => closing.shutdown_completed(self, connection, cqe),
                .close => return closing.close_completed(self, connection, cqe),
                .cancel => closing.cancel_completed(self, connection, cqe),
                else => unreachable,
            }
            if (connection.phase == .releasing) self.mark_dirty(connection);
        }

        fn finish(self: *Worker, last: bool) void {
            if (last) self.metrics.ops_in_flight -|= 1;
        }

        /// A submission entry; submits what is queued when the queue is full. Null when the
        /// kernel takes none just now: the caller's wish stays in its state and is tried again.
        pub fn get_sqe(self: *Worker) ?*Sqe {
            if (self.ring.get_sqe()) |sqe| return sqe;
            _ = self.ring.submit();
            return self.ring.get_sqe();
        }

        /// An entry for an operation of this connection, counted until its last completion.
        pub fn issue(self: *Worker, connection: *Connection, operation: Operation) ?*Sqe {
            const sqe = self.get_sqe() orelse return null;
            sqe.user_data = Token.init(operation, connection.slot, connection.generation).to_user_data();
            connection.ops += 1;
            self.metrics.ops_in_flight += 1;
            return sqe;
        }

        /// Cancels this connection's operation by its own user_data (F38).
        pub fn issue_cancel(self: *Worker, connection: *Connection, operation: Operation) bool {
            const sqe = self.issue(connection, .cancel) orelse return false;
            sqe.opcode = .ASYNC_CANCEL;
            sqe.fd = connection.fd; // io_uring goes by the user_data alone; over epoll it says where
            sqe.addr = Token.init(operation, connection.slot, connection.generation).to_user_data();
            return true;
        }

        /// Has `service` look at the connection before the next wait.
        pub fn mark_dirty(self: *Worker, connection: *Connection) void {
            if (connection.flags.dirty or connection.phase == .free) return;
            connection.flags.dirty = true;
            connection.dirty_next = self.dirty_first;
            self.dirty_first = connection.slot;
        }

        /// Looks at every dirty connection. Serving one may dirty others (its handler writes to
        /// them), so a few passes; what is left then waits for the next turn, which won't sleep.
        pub fn service_dirty(self: *Worker) void {
            accept.adjust_all(self);
            var passes: u32 = 0;
            while (self.dirty_first != Slab.none and passes < 4) : (passes += 1) {
                var slot = self.dirty_first;
                self.dirty_first = Slab.none;
                while (slot != Slab.none) {
                    const connection = &self.slab.connections[slot];
                    slot = connection.dirty_next;
                    connection.flags.dirty = false;
                    if (!self.service(connection)) self.mark_dirty(connection);
                }
            }
        }

        /// Issues what the connection's state wants and is not in flight. False: look again.
        fn service(self: *Worker, connection: *Connection) bool {
            switch (connection.phase) {
                .free, .connecting => return true,
                .open => {
                    receive.deliver_held(self, connection);
                    if (connection.phase != .open) return false;
                    return receive.adjust(self, connection) and send.start(self, connection) and
                        closing.shut_down_writing(self, connection);
                },
                .flushing => {
                    if (!send.start(self, connection)) return false;
                    // A file's part is sent at once, and may have found the peer gone.
                    return connection.phase != .flushing or closing.finish_flush(self, connection);
                },
                .lingering => return receive.adjust(self, connection),
                .releasing => return closing.release(self, connection),
            }
        }

        /// Closes every connection once it has been quiet for `quiet_ns`; accepts no more.
        pub fn drain(self: *Worker, quiet_ns: u64) void {
            self.draining = true;
            self.quiet_ns = quiet_ns;
            self.wake_by_ns = 0; // a gap: what came while we did other things is read first (F62)
            self.listeners.paused = true;
            for (self.slab.slots()) |*connection| {
                if (connection.phase == .open) timing.refresh(self, connection);
            }
        }

        pub fn abort_all(self: *Worker, reason: i32) void {
            for (self.slab.slots()) |*connection| closing.abort(self, connection, reason);
        }

        pub fn is_drained(self: *const Worker) bool {
            const own: u64 = @intFromBool(self.mailbox.armed);
            return self.slab.active == 0 and self.metrics.ops_in_flight <= own;
        }

        /// Ends everything: aborts, cancels, and turns until nothing is in flight (F58). False
        /// when the kernel held on to something for `limit_ns`: then nothing may be freed.
        pub fn destroy_turns(self: *Worker, limit_ns: u64) bool {
            self.destroying = true;
            self.listeners.paused = true;
            self.abort_all(0);
            self.mailbox.notify();
            const until = self.ring.now_ns() + limit_ns;
            while (self.metrics.ops_in_flight > 0 or self.slab.active > 0) {
                if (self.mailbox.armed) self.mailbox.force();
                const result, _ = self.turn(10 * std.time.ns_per_ms);
                if (result < 0 or self.now_ns > until) return false;
            }
            return true;
        }
    };
}
