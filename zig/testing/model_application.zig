//! The model application: it reads, writes, pauses, closes and aborts, with random manners.
//! Owns a session per connection; checks that received bytes are the right stream's, in order. Bytes
//! are a function of stream and position, so that a byte on the wrong connection or in the wrong
//! place shows at once. What the worker calls lies in model_handler.zig.

const std = @import("std");
const closing = @import("../closing.zig");
const connection_module = @import("../connection.zig");
const send = @import("../send.zig");
const Owner = @import("model_owners.zig").Owner;
const Owners = @import("model_owners.zig").Owners;
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
    /// When it was last seen at work.
    busy_ns: u64 = 0,

    pub fn is_over(self: *const Session) bool {
        return self.state == .lost or self.state == .failed;
    }
};

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
    /// What is written goes into chunks that grow while they wait, of a thousand.
    chunk_chance: u16 = 0,
    /// A receive goes into memory of the application's own, of a thousand.
    target_chance: u16 = 0,
    /// A connection that asks for a block to receive into gets one, of a thousand times.
    block_chance: u16 = 0,
    /// Blocks that were made.
    blocks: u64 = 0,
    owners: Owners,
    accept_failures: u64 = 0,
    close_failures: u64 = 0,
    deaf: u64 = 0,
    pause_longest_ns: u64 = 20 * std.time.ns_per_ms,
    /// Sessions below this number are told of by `schedule_world(first_wish + number)`.
    first_wish: u32,
    wishes: std.ArrayList(*Session) = .empty,
    live: u32 = 0,
    /// Turns in a row after which a deadline was past.
    overdue_turns: u32 = 0,
    /// So many of the first sessions have come to their end.
    over: usize = 0,
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
        if (self.kernel.chance(self.chunk_chance)) return self.write_chunks(worker, session, bytes);
        const owner = self.owners.copy(bytes);
        return self.queue(worker, session, owner, .{ .next = null, .data = owner.bytes, .owner = @intFromPtr(owner) });
    }

    /// Behind what the queue's last piece holds, where that has room; the rest in chunks of its own.
    fn write_chunks(self: *Application, worker: anytype, session: *Session, bytes: []const u8) bool {
        const connection = session.connection.?;
        var rest = bytes;
        while (rest.len > 0) {
            if (self.owners.open_chunk(connection)) |chunk| {
                const count = chunk.put(rest);
                session.written += count;
                self.owners.extended += 1;
                send.extend(worker, connection, count);
                self.note_limit(session);
                rest = rest[count..];
            } else {
                const chunk = self.owners.chunk();
                const count = chunk.put(rest);
                const piece = Piece{ .next = null, .data = chunk.bytes[0..count], .owner = @intFromPtr(chunk) };
                if (!self.queue(worker, session, chunk, piece)) return false;
                rest = rest[count..];
            }
            if (!send.takes_more(connection)) return false; // the queue's limit ended it (F37)
        }
        return true;
    }

    /// The stream's next bytes, as a part of a file that has them where the stream does.
    pub fn write_file(self: *Application, worker: anytype, session: *Session, count: usize) bool {
        const owner = self.owners.file(session.socket.id);
        return self.queue(worker, session, owner, Piece.of_file(owner.file, session.written, count, @intFromPtr(owner)));
    }

    fn queue(self: *Application, worker: anytype, session: *Session, owner: *Owner, piece: Piece) bool {
        if (!send.append_piece(worker, session.connection.?, piece)) {
            self.owners.give(owner);
            return false;
        }
        session.written += piece.data.len;
        self.note_limit(session);
        return true;
    }

    /// The queue's limit is a stated policy: the connection ends (F37).
    fn note_limit(_: *Application, session: *Session) void {
        if (session.connection.?.phase == .releasing) session.socket.taint.aborted = true;
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

    pub fn burst(self: *Application, worker: anytype, session: *Session) void {
        while (session.written < session.limit and !session.congested and session.connection.?.phase == .open) {
            const left = session.limit - session.written;
            if (self.kernel.chance(self.file_chance)) {
                _ = self.write_file(worker, session, 1 + self.kernel.random().uintLessThan(usize, left));
            } else self.write_pattern(worker, session, left);
        }
        if (session.written >= session.limit and session.ended) self.finish(worker, session);
    }

    pub fn take(self: *Application, worker: anytype, session: *Session, data: []const u8) void {
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

    pub fn abort(_: *Application, worker: anytype, session: *Session) void {
        session.finished = true;
        session.socket.taint.aborted = true;
        closing.abort(worker, session.connection.?, 0);
    }

    pub fn pause(self: *Application, worker: anytype, session: *Session) void {
        session.connection.?.flags.paused = true;
        worker.mark_dirty(session.connection.?);
        self.wish(session);
    }
};
