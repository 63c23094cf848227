//! The model application: what the worker calls as its handler, with random manners.
//! Owns a session per connection and the bytes it sends; checks that every call is one that may be
//! made and that received bytes are the right stream's, in order. Bytes are a function of stream and
//! position, so that a byte on the wrong connection or in the wrong place shows at once.

const std = @import("std");
const closing = @import("../closing.zig");
const connection_module = @import("../connection.zig");
const send = @import("../send.zig");
const time = @import("model_time.zig");
const Connection = connection_module.Connection;
const Piece = connection_module.Piece;
const Kernel = @import("fake_kernel.zig").Kernel;
const Socket = @import("fake_network.zig").Socket;
pub const pattern = @import("fake_files.zig").pattern;

pub const Mode = enum {
    echo,
    /// Echoes a while, then closes.
    close_after,
    /// Echoes a while, then says its end and reads on.
    end_after,
    /// Writes a lot, regardless of what comes.
    burst,
    /// Goes on writing after the peer's end, and closes later.
    late,
    abort_after,
    /// Aborts before it has taken the connection over.
    reject,
    /// Reads and says nothing.
    sink,
};

pub const Session = struct {
    socket: *Socket,
    mode: Mode,
    connection: ?*Connection = null,
    state: enum { new, live, lost, failed } = .new,
    received: u64 = 0,
    written: u64 = 0,
    /// Bytes after which the mode does what it is named for.
    limit: u64,
    ended: bool = false,
    finished: bool = false,
    wishing: bool = false,
    congested: bool = false,
    reason: i32 = 0,
    /// Nothing had moved for as long as the idle time-out says when it was told of its end.
    was_idle: bool = false,
    /// When it is to be told that the time is over (model_time.zig).
    until_ns: u64 = 0,
};

/// Of bytes, or of an open file.
const Owner = struct { bytes: []u8 = &.{}, file: i32 = -1, released: bool = false };

pub const Application = struct {
    kernel: *Kernel,
    sessions: std.ArrayList(*Session) = .empty,
    /// Null: at random.
    mode: ?Mode = null,
    limit_most: u64 = 8192,
    pause_chance: u16 = 0,
    slow_chance: u16 = 0,
    /// What is written goes out as parts of files, of a thousand.
    file_chance: u16 = 0,
    /// A deadline is set, or the application at work for a while, of a thousand bytes received.
    time_chance: u16 = 0,
    owners_out: u64 = 0,
    accept_failures: u64 = 0,
    pause_longest_ns: u64 = 20 * std.time.ns_per_ms,
    /// Sessions below this number are told of by `schedule_world(first_wish + number)`.
    first_wish: u32,
    wishes: std.ArrayList(*Session) = .empty,
    live: u32 = 0,
    /// Deadlines told.
    expired: u64 = 0,

    pub fn allocator(self: *Application) std.mem.Allocator {
        return self.kernel.arena.allocator();
    }

    pub fn new_session(self: *Application, socket: *Socket) *Session {
        const session = self.allocator().create(Session) catch @panic("out of memory");
        const random = self.kernel.random();
        session.* = .{
            .socket = socket,
            .mode = self.mode orelse random.enumValue(Mode),
            .limit = random.uintLessThan(u64, self.limit_most),
        };
        self.sessions.append(self.allocator(), session) catch @panic("out of memory");
        return session;
    }

    pub fn find(self: *const Application, socket: *const Socket) ?*Session {
        for (self.sessions.items) |session| if (session.socket == socket) return session;
        return null;
    }

    pub fn violated(self: *Application, text: []const u8, session: *const Session) void {
        self.kernel.violated(text, session.socket.id);
    }

    pub fn wish(self: *Application, session: *Session) void {
        if (session.wishing) return;
        session.wishing = true;
        const number = std.mem.indexOfScalar(*Session, self.sessions.items, session).?;
        const delay = 1 + self.kernel.random().uintLessThan(u64, self.pause_longest_ns);
        self.kernel.schedule_world(self.first_wish + @as(u32, @intCast(number)), delay);
    }

    /// Between two turns, as a call from the application's side: what sessions had in mind.
    pub fn act(self: *Application, worker: anytype) void {
        while (self.wishes.pop()) |session| {
            session.wishing = false;
            if (session.state != .live) continue;
            const connection = session.connection.?;
            connection.flags.busy = false;
            if (connection.flags.paused) {
                connection.flags.paused = false;
                worker.mark_dirty(connection);
            }
            if (session.mode == .late and session.ended) self.finish(worker, session);
        }
    }

    pub fn finish(_: *Application, worker: anytype, session: *Session) void {
        session.finished = true;
        closing.close(worker, session.connection.?);
    }

    /// In one piece; or in several, some of them parts of a file.
    fn write(self: *Application, worker: anytype, session: *Session, bytes: []const u8) void {
        var rest = bytes;
        while (rest.len > 0) {
            const count = if (self.file_chance == 0) rest.len else 1 + self.kernel.random().uintLessThan(usize, rest.len);
            const from_file = self.kernel.chance(self.file_chance);
            const taken = if (from_file)
                self.write_file(worker, session, count)
            else
                self.write_bytes(worker, session, rest[0..count]);
            if (!taken) return;
            rest = rest[count..];
        }
    }

    pub fn write_bytes(self: *Application, worker: anytype, session: *Session, bytes: []const u8) bool {
        const owner = self.keep(bytes);
        return self.queue(worker, session, owner, .{ .next = null, .data = owner.bytes, .owner = @intFromPtr(owner) });
    }

    /// The stream's next bytes, as a part of a file that has them where the stream does.
    pub fn write_file(self: *Application, worker: anytype, session: *Session, count: usize) bool {
        const owner = self.new_owner(.{ .file = self.kernel.files.open(self.allocator(), session.socket.id) });
        return self.queue(worker, session, owner, Piece.of_file(owner.file, session.written, count, @intFromPtr(owner)));
    }

    fn queue(self: *Application, worker: anytype, session: *Session, owner: *Owner, piece: Piece) bool {
        if (!send.append_piece(worker, session.connection.?, piece)) {
            self.give(owner);
            return false;
        }
        session.written += piece.data.len;
        // The queue's limit is a stated policy: the connection ends (F37).
        if (session.connection.?.phase == .releasing) session.socket.taint.aborted = true;
        return true;
    }

    fn keep(self: *Application, bytes: []const u8) *Owner {
        return self.new_owner(.{ .bytes = self.allocator().dupe(u8, bytes) catch @panic("out of memory") });
    }

    fn new_owner(self: *Application, value: Owner) *Owner {
        const owner = self.allocator().create(Owner) catch @panic("out of memory");
        owner.* = value;
        self.owners_out += 1;
        return owner;
    }

    /// Released bytes are overwritten, and never used again while the model lives.
    fn give(self: *Application, owner: *Owner) void {
        if (owner.released) self.kernel.violated("bytes are released twice", 0);
        owner.released = true;
        self.owners_out -= 1;
        @memset(owner.bytes, 0xdd);
        if (owner.file >= 0) self.kernel.files.close(owner.file);
    }

    pub fn write_pattern(self: *Application, worker: anytype, session: *Session, count: u64) void {
        var buffer: [2048]u8 = undefined;
        const bytes = buffer[0..@min(count, buffer.len)];
        for (bytes, 0..) |*byte, i| byte.* = pattern(session.socket.id, session.written + i);
        if (bytes.len > 0) _ = self.write_bytes(worker, session, bytes);
    }

    pub fn burst_now(self: *Application, worker: anytype, session: *Session) void {
        worker.now_ns = self.kernel.now_ns;
        self.burst(worker, session);
    }

    fn burst(self: *Application, worker: anytype, session: *Session) void {
        while (session.written < session.limit and !session.congested and session.connection.?.phase == .open) {
            const left = session.limit - session.written;
            if (self.kernel.chance(self.file_chance)) {
                _ = self.write_file(worker, session, 1 + self.kernel.random().uintLessThan(usize, left));
            } else self.write_pattern(worker, session, left);
        }
        if (session.written >= session.limit and session.ended) self.finish(worker, session);
    }

    fn take(self: *Application, worker: anytype, session: *Session, data: []const u8) void {
        for (data, 0..) |byte, i| {
            if (byte != pattern(session.socket.id, session.received + i)) {
                self.violated("received bytes are another's or out of order", session);
                break;
            }
        }
        session.received += data.len;
        switch (session.mode) {
            .echo, .late => self.write(worker, session, data),
            .burst, .sink => {},
            .close_after => {
                self.write(worker, session, data);
                if (session.received >= session.limit) self.finish(worker, session);
            },
            .abort_after, .reject => {
                self.write(worker, session, data);
                if (session.received >= session.limit) self.abort(worker, session);
            },
            .end_after => {
                if (session.finished) return;
                self.write(worker, session, data);
                if (session.received < session.limit) return;
                session.finished = true;
                session.connection.?.flags.write_end = true;
                worker.mark_dirty(session.connection.?);
            },
        }
    }

    fn abort(_: *Application, worker: anytype, session: *Session) void {
        session.finished = true;
        session.socket.taint.aborted = true;
        closing.abort(worker, session.connection.?, 0);
    }

    fn pause(self: *Application, worker: anytype, session: *Session) void {
        session.connection.?.flags.paused = true;
        worker.mark_dirty(session.connection.?);
        self.wish(session);
    }
};

/// The handler itself: it lies in the worker by value.
pub const Handler = struct {
    app: *Application,
    deadlines: *const @import("../deadlines.zig").Deadlines,

    pub fn before_wait(self: *Handler) void {
        time.check_deadlines(self.app, self.deadlines);
        self.app.kernel.wake_by_ns = self.deadlines.next() orelse std.math.maxInt(u64);
    }

    pub fn after_wait(self: *Handler) void {
        self.app.kernel.wake_by_ns = std.math.maxInt(u64);
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

    pub fn close_failed(_: *Handler, _: anytype, _: i32) void {}
    pub fn target(_: *Handler, _: anytype, _: *Connection) ?connection_module.Target {
        return null;
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
        self.received_at_once(worker, connection, data);
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
        const owner = self.app.keep(data);
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
        self.app.give(@ptrFromInt(owner));
    }
};
