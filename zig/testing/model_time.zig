//! What the model application does with time: it sets deadlines, and is at work for a while.
//! Owns the rules for both: a deadline is told once, when it has come and never before, unless it
//! was taken back; a connection that its handler is busy for is neither idle nor quiet.

const std = @import("std");
const kernel = @import("../kernel.zig");
const timing = @import("../timing.zig");
const application = @import("model_application.zig");
const Application = application.Application;
const Deadlines = @import("../deadlines.zig").Deadlines;
const Session = application.Session;

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

/// Before the worker sleeps: it will wake up for each deadline, or for something before that.
pub fn check_deadlines(app: *Application, deadlines: *const Deadlines) void {
    const next = deadlines.next() orelse std.math.maxInt(u64);
    for (app.sessions.items) |session| {
        if (session.state != .live or session.until_ns == 0 or session.connection.?.phase != .open) continue;
        if (next > session.until_ns) app.violated("a deadline that nobody wakes up for", session);
    }
}

/// A busy connection ends because somebody said so, or something failed.
pub fn check_lost(app: *Application, worker: anytype, session: *Session) void {
    const connection = session.connection.?;
    if (!connection.flags.busy or session.finished or session.ended or session.socket.taint.injected_error) return;
    const timed_out = session.reason == @intFromEnum(kernel.E.TIMEDOUT);
    if (timed_out and connection.send == .none) app.violated("a busy connection was taken for an idle one", session);
    if (session.reason == 0 and worker.draining and !worker.destroying)
        app.violated("a busy connection was taken for a quiet one", session);
}
