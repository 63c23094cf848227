//! How the model kernel misbehaves, in chances of a thousand, and what it saw the engine do wrong.
//! Owns the rates and the report; knows neither sockets nor operations.

const std = @import("std");

/// Chances of a thousand, each time the occasion arises. All zero: a kernel on its best day.
pub const Faults = struct {
    /// io_uring_enter takes only the front of what was submitted (F1).
    short_submit: u16 = 0,
    /// io_uring_enter takes nothing: -EAGAIN (F8).
    refuse_enter: u16 = 0,
    /// -EBUSY while completions have overflowed (F8).
    busy_enter: u16 = 0,
    /// io_uring_enter fails for good, this once: EBADR and others (F8).
    fail_enter: u16 = 0,
    /// A signal ends the wait at once (F8).
    interrupt: u16 = 0,
    /// The wait ends long after its time (F62).
    oversleep: u16 = 0,
    /// An operation is carried out later than it could be, so that others overtake it.
    delay: u16 = 0,
    /// An operation is over, its completion is posted later: a cancel finds nothing (-ENOENT).
    delay_completion: u16 = 0,
    short_receive: u16 = 0,
    short_send: u16 = 0,
    /// A multishot operation posts without F_MORE although nothing went wrong.
    end_multishot: u16 = 0,
    /// A completion of an operation that nobody knows (F11).
    unknown_completion: u16 = 0,
    /// A completion of a slot's former owner, at times with a buffer (F12).
    stale_completion: u16 = 0,
    /// A receive finds no buffer although there are some: others were faster (F26).
    no_buffer: u16 = 0,
    /// An accept fails: for one client, or for want of descriptors or memory (F21).
    accept_error: u16 = 0,
    /// No accept on this listener will ever work again (F21).
    accept_fatal: u16 = 0,
    /// Errors after which the same operation works when tried again, and those after which it does not.
    receive_passing: u16 = 0,
    receive_error: u16 = 0,
    send_passing: u16 = 0,
    send_error: u16 = 0,
    connect_error: u16 = 0,
    shutdown_error: u16 = 0,
    /// The descriptor is closed, and the kernel complains.
    close_error: u16 = 0,
    /// The application had closed the descriptor itself: EBADF.
    close_stolen: u16 = 0,
    /// The mailbox's read fails.
    read_error: u16 = 0,
    /// A cancel says -EALREADY and the operation ends a little later by itself.
    cancel_already: u16 = 0,
    /// A cancel says -ENOENT or -EALREADY, and the operation goes on as if nobody had asked.
    cancel_missed: u16 = 0,
    /// A cancelled operation still delivers before it ends.
    late_bytes: u16 = 0,
    /// The end of a receive carries a buffer although it has no bytes (F27).
    buffer_at_end: u16 = 0,
    /// sendfile takes nothing although there is room, or a signal ends it.
    file_again: u16 = 0,
    file_interrupt: u16 = 0,
    /// The disk fails, or the file cannot be sent from.
    file_error: u16 = 0,
    /// The file ends within the part that is to be sent.
    file_shrinks: u16 = 0,
    /// A wait for room says that there is some, and there is none.
    poll_early: u16 = 0,
    poll_passing: u16 = 0,
    poll_error: u16 = 0,

    pub const Kind = std.meta.FieldEnum(Faults);

    /// Some runs are calm, most have some of the faults, some have all that there are at once: so
    /// that a run is not the same soup of everything.
    pub fn random(source: std.Random) Faults {
        var faults = Faults{};
        const weather = source.uintLessThan(u8, 8);
        inline for (@typeInfo(Faults).@"struct".fields) |field| {
            const there = switch (weather) {
                0 => false,
                1, 2 => source.uintLessThan(u8, 6) == 0,
                7 => true,
                else => source.boolean(),
            };
            if (there) @field(faults, field.name) = 1 + source.uintLessThan(u16, most(field.name));
        }
        return faults;
    }

    fn most(comptime name: []const u8) u16 {
        const rare = .{
            "receive_error", "send_error",   "oversleep", "file_error", "file_shrinks",
            "fail_enter",    "accept_fatal",
        };
        inline for (rare) |other| if (comptime std.mem.eql(u8, name, other)) return 8;
        const seldom = .{ "poll_error", "accept_error", "close_error", "stale_completion", "unknown_completion", "no_buffer", "close_stolen" };
        inline for (seldom) |other| if (comptime std.mem.eql(u8, name, other)) return 100;
        return 300;
    }
};

/// How often each of them struck.
pub const Struck = std.EnumArray(Faults.Kind, u64);

/// A rule that the model kernel breaks on purpose, as a broken engine would make it look: the
/// simulator must fail under each of them, or it could not be believed when it passes.
pub const Sabotage = enum {
    none,
    /// One completion never comes.
    drop_completion,
    /// The same bytes go out twice.
    send_twice,
    /// A receive is submitted a second time.
    receive_twice,
    /// A buffer's id is given back twice.
    recycle_twice,
    /// A descriptor is closed while its receive is in flight.
    close_early,
    /// A cancel is not carried out.
    ignore_cancel,
    /// Bytes are released while the kernel still reads them.
    release_early,
    /// One submission entry is lost.
    drop_submission,
    /// Two received parts change places.
    swap_received,
    /// The application hears of an end twice.
    lose_twice,
    /// A file is read from the wrong position.
    misread_file,
};

/// The first thing that must never happen and did.
pub const Report = struct {
    violation: ?[]const u8 = null,
    user_data: u64 = 0,
    at_ns: u64 = 0,

    pub fn add(self: *Report, text: []const u8, user_data: u64, at_ns: u64) void {
        if (self.violation != null) return;
        self.* = .{ .violation = text, .user_data = user_data, .at_ns = at_ns };
    }
};
