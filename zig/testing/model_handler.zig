//! What the worker calls as its handler: the model application's ear.
//! Owns nothing; checks that every call is one that may be made, and hands it to the session it is
//! for. It lies in the worker by value.

const std = @import("std");
const closing = @import("../closing.zig");
const connection_module = @import("../connection.zig");
const Deadlines = @import("../deadlines.zig").Deadlines;
const application = @import("model_application.zig");
const time = @import("model_time.zig");
const Owner = @import("model_owners.zig").Owner;
const Application = application.Application;
const Connection = connection_module.Connection;
const Piece = connection_module.Piece;
const Session = application.Session;

pub const Handler = struct {
    app: *Application,
    deadlines: *const Deadlines,

    pub fn before_wait(self: *Handler) void {
        self.app.kernel.wake_by_ns = self.deadlines.next() orelse std.math.maxInt(u64);
        self.app.kernel.unlocked = true;
    }

    pub fn after_wait(self: *Handler) void {
        self.app.kernel.wake_by_ns = std.math.maxInt(u64);
        self.app.kernel.unlocked = false;
    }

    pub fn connected(self: *Handler, worker: anytype, connection: *Connection, index: ?u32) void {
        const app = self.app;
        const session: *Session = if (index == null) @ptrCast(@alignCast(connection.user.?)) else blk: {
            break :blk app.new_session(app.kernel.network.find(connection.fd).socket);
        };
        if (session.state != .new) app.violated("connected twice", session);
        if (connection.user != null and index != null) app.violated("a new connection has a user", session);
        session.connection = connection;
        if (session.mode == .reject) {
            session.state = .lost;
            session.socket.taint.aborted = true;
            connection.user = null;
            return closing.abort(worker, connection, 0);
        }
        session.state = .live;
        app.live += 1;
        connection.user = session;
        if (session.mode == .burst) app.burst(worker, session);
    }

    pub fn connect_failed(self: *Handler, _: anytype, connection: *Connection, reason: i32) void {
        const session: *Session = @ptrCast(@alignCast(connection.user.?));
        if (session.state != .new) self.app.violated("a connect failed after all", session);
        session.state = .failed;
        session.reason = reason;
        connection.user = null;
    }

    pub fn close_failed(self: *Handler, _: anytype, _: i32) void {
        self.app.close_failures += 1;
    }

    pub fn deaf(self: *Handler, _: anytype, _: i32) void {
        self.app.deaf += 1;
        if (self.app.deaf > 1) self.app.kernel.violated("deafness is told twice", 0);
    }

    /// Only who is there is asked for a place, and only for one at a time.
    pub fn target(self: *Handler, _: anytype, connection: *Connection) ?connection_module.Target {
        const session = self.session_of(connection);
        if (connection.target != null) self.app.violated("a second place to receive into", session);
        if (!self.app.kernel.chance(self.app.target_chance)) return null;
        return self.app.owners.target();
    }

    /// Only who wants bytes is asked for a block, and may change its mind meanwhile.
    pub fn block(self: *Handler, worker: anytype, connection: *Connection) ?connection_module.Target {
        const app = self.app;
        const session = self.session_of(connection);
        if (connection.target != null) app.violated("a second place to receive into", session);
        const unwanted = connection.flags.paused or connection.flags.choked or connection.phase != .open;
        if (unwanted) app.violated("a block that nobody wants", session);
        if (connection.held_first != null) app.violated("a block before bytes that are held", session);
        if (!app.kernel.chance(app.block_chance)) return null;
        app.blocks += 1;
        if (app.kernel.chance(app.pause_chance)) {
            if (session.mode == .close_after) app.finish(worker, session) else app.pause(worker, session);
        }
        return app.owners.target();
    }

    pub fn expired(self: *Handler, worker: anytype, connection: *Connection) void {
        time.expired(self.app, worker, self.session_of(connection));
    }

    pub fn accept_failed(self: *Handler, _: anytype, _: u32, _: i32) void {
        self.app.accept_failures += 1;
    }

    fn session_of(self: *Handler, connection: *Connection) *Session {
        const session: *Session = @ptrCast(@alignCast(connection.user.?));
        if (session.state != .live) self.app.violated("a call after the end", session);
        if (session.connection != connection) self.app.violated("a call for another's connection", session);
        return session;
    }

    pub fn received(self: *Handler, worker: anytype, connection: *Connection, data: []const u8) void {
        const app = self.app;
        if (app.kernel.chance(app.slow_chance)) app.kernel.now_ns += app.kernel.random().uintLessThan(u64, 2_000_000);
        const taken = self.take_over(connection, data);
        defer if (taken) |owner| app.owners.give(owner);
        self.received_at_once(worker, connection, data);
    }

    /// Keeps the memory that the bytes were received into, instead of having it released: it may, the
    /// receive is complete.
    fn take_over(self: *Handler, connection: *Connection, data: []const u8) ?*Owner {
        const lent = connection.target orelse return null;
        if (lent.memory.ptr != data.ptr or self.app.kernel.random().boolean()) return null;
        connection.target = null;
        return Owner.of(lent.owner);
    }

    fn received_at_once(self: *Handler, worker: anytype, connection: *Connection, data: []const u8) void {
        const app = self.app;
        const session = self.session_of(connection);
        if (data.len == 0) app.violated("no bytes received", session);
        if (connection.flags.paused) app.violated("bytes while reading is paused", session);
        if (session.ended) app.violated("bytes after the peer's end", session);
        if (connection.phase != .open) app.violated("bytes after close", session);
        if (app.kernel.chance(app.time_chance)) time.change(app, worker, session);
        if (app.kernel.sabotages(.recycle_twice)) if (worker.group) |*group| group.recycle(0);
        if (!app.kernel.chance(app.pause_chance)) return app.take(worker, session, data);
        // Pauses in the middle of what came; the rest is held, as for a protocol with own buffers.
        const first = app.kernel.random().uintAtMost(usize, data.len);
        if (first > 0) app.take(worker, session, data[0..first]);
        if (connection.phase != .open) return;
        app.pause(worker, session);
        if (first == data.len) return;
        const piece = worker.pieces.take().?;
        _ = self.hold(data[first..], piece);
        connection.hold_first(piece);
    }

    pub fn hold(self: *Handler, data: []const u8, piece: *Piece) bool {
        const owner = self.app.owners.copy(data);
        piece.* = .{ .next = null, .data = owner.bytes, .owner = @intFromPtr(owner) };
        return true;
    }

    pub fn received_held(self: *Handler, worker: anytype, connection: *Connection, piece: *const Piece) void {
        self.received_at_once(worker, connection, piece.data);
    }

    pub fn ended(self: *Handler, worker: anytype, connection: *Connection) bool {
        const session = self.session_of(connection);
        if (session.ended) self.app.violated("the peer ended twice", session);
        if (connection.flags.paused) self.app.violated("the peer's end while reading is paused", session);
        session.ended = true;
        if (session.mode == .late) {
            self.app.write_pattern(worker, session, 0);
            self.app.wish(session);
            return true;
        }
        return session.mode == .burst and session.written < session.limit;
    }

    pub fn congested(self: *Handler, _: anytype, connection: *Connection) void {
        const session = self.session_of(connection);
        if (session.congested) self.app.violated("congested twice", session);
        session.congested = true;
    }

    pub fn drained(self: *Handler, worker: anytype, connection: *Connection) void {
        const session = self.session_of(connection);
        if (self.app.kernel.unlocked) self.app.violated("told of room without the lock", session);
        if (!session.congested) self.app.violated("drained without being congested", session);
        session.congested = false;
        switch (session.mode) {
            .burst => self.app.burst(worker, session),
            .abort_after => self.app.abort(worker, session),
            .close_after => self.app.finish(worker, session),
            else => {},
        }
    }

    pub fn lost(self: *Handler, worker: anytype, connection: *Connection, reason: i32) void {
        const session = self.session_of(connection);
        session.state = .lost;
        session.reason = reason;
        // The worker's clock is the turn's, the socket's that of the moment.
        const quiet_ns = self.app.kernel.now_ns - session.socket.moved_ns + std.time.ns_per_ms;
        time.check_lost(self.app, worker, session);
        session.was_idle = worker.config.idle_timeout_ns != 0 and quiet_ns >= worker.config.idle_timeout_ns;
        session.connection = null;
        self.app.live -= 1;
        if (self.app.kernel.sabotages(.lose_twice)) return; // the user stays: found at the end
        connection.user = null;
    }

    pub fn release(self: *Handler, owner: usize) void {
        if (self.app.kernel.unlocked) self.app.kernel.violated("released without the lock", owner);
        self.app.owners.give(Owner.of(owner));
    }
};
