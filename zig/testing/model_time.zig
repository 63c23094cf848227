//! What the model application does with time: it sets deadlines, and is at work for a while.
//! Owns the rules for both: a deadline is told once, when it has come and never before, unless it
//! was taken back; a connection that its handler is busy for is neither idle nor quiet.

const std = @import("std");
const kernel = @import("../kernel.zig");
const timing = @import("../timing.zig");
const application = @import("model_application.zig");
const Application = application.Application;
const Connection = @import("../connection.zig").Connection;
const Session = application.Session;
const Socket = @import("fake_network.zig").Socket;

/// A deadline is set, moved or taken back, or the application starts some work.
pub fn change(app: *Application, worker: anytype, session: *Session) void {
    const random = app.kernel.random();
    switch (random.uintLessThan(u8, 4)) {
        0, 1 => set_deadline(worker, session, some_time(random)),
        2 => set_deadline(worker, session, 0),
        // Its end needs no call: `Application.act` takes the flag back, as HTTP's does.
        else => {
            session.connection.?.flags.busy = true;
            app.wish(session);
        },
    }
}

fn some_time(random: std.Random) u64 {
    const longest: u64 = if (random.boolean()) 20_000_000 else 30 * std.time.ns_per_s;
    return 1 + random.uintLessThan(u64, longest);
}

/// `after_ns` from now; 0: none.
pub fn set_deadline(worker: anytype, session: *Session, after_ns: u64) void {
    const connection = session.connection.?;
    session.until_ns = if (after_ns == 0) 0 else worker.now_ns + after_ns;
    connection.handler_until_ns = session.until_ns;
    if (after_ns != 0) timing.refresh(worker, connection);
}

pub fn expired(app: *Application, worker: anytype, session: *Session) void {
    if (session.until_ns == 0) return app.violated("a deadline is told that was not set, or twice", session);
    if (app.kernel.now_ns < session.until_ns) app.violated("a deadline is told before its time", session);
    if (session.connection.?.phase != .open) app.violated("a deadline is told after close", session);
    session.until_ns = 0;
    app.expired += 1;
    if (app.time_chance > 0 and app.kernel.random().boolean()) change(app, worker, session);
}

/// After a turn: the worker will wake up for each deadline there is, or for something before that.
pub fn check_deadlines(app: *Application, worker: anytype) void {
    const next = worker.deadlines.next() orelse std.math.maxInt(u64);
    for (worker.slab.slots()) |*connection| {
        const at = due_at(worker, connection, when_busy(worker, connection)) orelse continue;
        if (next > at) app.kernel.violated("a deadline that nobody wakes up for", connection.slot);
    }
    while (app.over < app.sessions.items.len and app.sessions.items[app.over].is_over()) app.over += 1;
    for (app.sessions.items[app.over..]) |session| {
        if (session.state != .live or session.until_ns == 0 or session.connection.?.phase != .open) continue;
        if (next > session.until_ns) app.violated("a deadline of the application's that nobody wakes up for", session);
    }
}

/// A deadline that has come is looked at in the turn that follows, or in the one after a gap (F62).
pub fn check_overdue(app: *Application, worker: anytype) void {
    check_deadlines(app, worker);
    const next = worker.deadlines.next() orelse std.math.maxInt(u64);
    app.overdue_turns = if (next +| slack_ns < app.kernel.now_ns) app.overdue_turns + 1 else 0;
    if (app.overdue_turns > overdue_turns_most) app.kernel.violated("a deadline is past, and nothing happens", next);
}

const slack_ns = 200 * std.time.ns_per_ms;
const overdue_turns_most = 4;

/// What was not idle, for bytes that wait or a handler at work, is looked at again after this.
const look_again_ns = 105 * std.time.ns_per_ms;

/// When the connection's handler was last at work: what is quiet is so from then on.
fn when_busy(worker: anytype, connection: *const Connection) u64 {
    const session: *Session = @ptrCast(@alignCast(connection.user orelse return 0));
    if (connection.flags.busy) session.busy_ns = worker.now_ns;
    return session.busy_ns;
}

/// By the connection's state alone, and by our own reading of the configuration.
fn due_at(worker: anytype, connection: *const Connection, busy_ns: u64) ?u64 {
    const config = &worker.config;
    var at: u64 = std.math.maxInt(u64);
    switch (connection.phase) {
        .free, .releasing => return null,
        .connecting, .lingering => if (connection.phase_until_ns != 0) {
            at = connection.phase_until_ns;
        },
        .open => {
            const moved_ns = @max(connection.last_receive_ns, connection.send_progress_ns, busy_ns);
            const again_ns = @max(worker.quiet_ns, look_again_ns);
            if (config.idle_timeout_ns != 0) at = @max(moved_ns + config.idle_timeout_ns, worker.now_ns) + again_ns;
            if (worker.draining) at = @min(at, @max(moved_ns + worker.quiet_ns, worker.now_ns) + again_ns);
        },
        .flushing => {},
    }
    const writes = connection.phase == .open or connection.phase == .flushing;
    if (writes and (connection.send != .none or connection.flags.polling) and config.write_timeout_ns != 0)
        at = @min(at, connection.send_progress_ns + config.write_timeout_ns);
    return if (at == std.math.maxInt(u64)) null else at;
}

/// Nothing that the peer does puts off the end of lingering (F44).
pub fn check_linger(app: *Application, connection: *const Connection) void {
    if (connection.phase != .lingering) return;
    const socket = switch (app.kernel.network.find(connection.fd)) {
        .socket => |socket| socket,
        else => return,
    };
    if (!socket.shut and !socket.broken) app.kernel.violated("lingering without having said our end", socket.id); // F55
    if (socket.linger_until_ns == 0) socket.linger_until_ns = connection.phase_until_ns;
    if (socket.linger_until_ns != connection.phase_until_ns) app.kernel.violated("lingering is put off", socket.id);
}

/// Before `lost` is believed: was it time, was there a reason?
pub fn check_lost(app: *Application, worker: anytype, session: *Session) void {
    check_busy(app, worker, session);
    if (session.reason == 0) return;
    const socket = session.socket;
    for (socket.errnos) |errno| if (errno == session.reason) return;
    const E = kernel.E;
    const sound = switch (@as(E, @enumFromInt(session.reason))) {
        .TIMEDOUT => is_time(app, worker, session),
        .CONNRESET, .PIPE => socket.broken or socket.peer_closed,
        .NOBUFS => socket.taint.aborted, // by the queue's limit
        .NODATA => socket.taint.file_shrank,
        else => false,
    };
    if (!sound) app.kernel.violated("a connection ends for no reason", socket.id << 16 | @as(u64, @intCast(session.reason)));
}

fn is_time(app: *Application, worker: anytype, session: *Session) bool {
    const socket = session.socket;
    const config = &worker.config;
    const now_ns = app.kernel.now_ns + std.time.ns_per_ms;
    const connection = session.connection.?;
    // After a gap one turn reads what came; not what a slow kernel has not carried out by then.
    if (now_ns - app.kernel.jumped_ns < gap_forgiven_ns and !is_prompt(app)) return true;
    const stuck = config.write_timeout_ns != 0 and connection.queued_bytes > 0;
    if (stuck and now_ns - socket.sent_ns >= config.write_timeout_ns) return true;
    if (config.idle_timeout_ns == 0 or now_ns - socket.moved_ns < config.idle_timeout_ns) return false;
    if (socket.inbound.length() > 0 and reads_at_once(app, socket, connection))
        app.violated("timed out with its bytes unread", session);
    return true;
}

/// Whether what came would have been received by now, had the worker only looked.
fn reads_at_once(app: *const Application, socket: *const Socket, connection: *const Connection) bool {
    const flags = connection.flags;
    // Not armed, it may have been paused until a moment ago; unless it asked and found no buffer.
    const starved = socket.starved_ns != 0 and socket.starved_ns >= app.kernel.jumped_ns;
    if (connection.receive != .armed and !starved) return false;
    if (flags.paused or flags.choked or flags.peer_ended or connection.held_first != null) return false;
    return is_prompt(app);
}

const gap_forgiven_ns = std.time.ns_per_s;

/// Whether the kernel carries everything out at once, and says so at once.
fn is_prompt(app: *const Application) bool {
    const slow = .{
        "delay",          "delay_completion", "refuse_enter",  "short_submit", "busy_enter",
        "fail_enter",     "receive_passing",  "end_multishot", "no_buffer",    "receive_error",
        "cancel_already",
    };
    inline for (slow) |name| if (@field(app.kernel.faults, name) > 0) return false;
    return true;
}

/// A busy connection ends because somebody said so, or something failed.
fn check_busy(app: *Application, worker: anytype, session: *Session) void {
    const connection = session.connection.?;
    if (!connection.flags.busy or session.finished or session.ended or session.socket.taint.injected_error) return;
    const timed_out = session.reason == @intFromEnum(kernel.E.TIMEDOUT);
    if (timed_out and connection.send == .none and !connection.flags.polling) app.violated("a busy connection was taken for an idle one", session);
    if (session.reason == 0 and worker.draining and !worker.destroying)
        app.violated("a busy connection was taken for a quiet one", session);
}
