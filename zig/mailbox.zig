//! How another thread wakes a worker that waits in the kernel: a state word and an eventfd.
//! Carries no message itself: what there is to do lies in the waker's own queue, put there first.
//!
//! The eventfd is written only when the worker sleeps, so waking a busy worker costs one exchange.

const std = @import("std");
const kernel = @import("kernel.zig");
const linux = kernel.linux;

pub const Mailbox = struct {
    const State = enum(u8) { awake, asleep, notified };

    eventfd: i32,
    state: State = .awake,
    /// Where the armed read of the eventfd puts its count: lent to the kernel while armed.
    count: u64 = 0,
    armed: bool = false,

    pub fn init() error{NoDescriptor}!Mailbox {
        const result = kernel.result_of(linux.eventfd(0, linux.EFD.CLOEXEC | linux.EFD.NONBLOCK));
        if (!kernel.ok(result)) return error.NoDescriptor;
        return .{ .eventfd = result };
    }

    pub fn deinit(self: *Mailbox) void {
        kernel.close(self.eventfd);
        self.* = undefined;
    }

    /// From any thread: the worker's current or next wait ends.
    pub fn notify(self: *Mailbox) void {
        // Acquire-release: what the caller put into its queue is visible to a worker that sees
        // `notified`; and we see `asleep` only after the worker has stopped looking.
        const before = @atomicRmw(State, &self.state, .Xchg, .notified, .acq_rel);
        if (before == .asleep) self.force();
    }

    /// The worker, at its end: completes the armed read whatever the state says.
    pub fn force(self: *Mailbox) void {
        const one: u64 = 1;
        _ = linux.write(self.eventfd, @ptrCast(&one), @sizeOf(u64));
    }

    /// The worker, about to wait: false when a notification came already, so it must not wait.
    pub fn fall_asleep(self: *Mailbox) bool {
        return @cmpxchgStrong(State, &self.state, .awake, .asleep, .acq_rel, .acquire) == null;
    }

    /// The worker, after waiting: true when it was notified since it last asked.
    pub fn wake_up(self: *Mailbox) bool {
        return @atomicRmw(State, &self.state, .Xchg, .awake, .acq_rel) == .notified;
    }
};

test "a notification before the wait is not lost, and a busy worker costs no write" {
    var mailbox = try Mailbox.init();
    defer mailbox.deinit();
    mailbox.notify();
    try std.testing.expect(!mailbox.fall_asleep());
    try std.testing.expect(mailbox.wake_up());
    try std.testing.expect(mailbox.fall_asleep());
    mailbox.notify();
    mailbox.notify();
    try std.testing.expect(mailbox.wake_up());
    var count: u64 = 0;
    _ = linux.read(mailbox.eventfd, @ptrCast(&count), 8);
    try std.testing.expectEqual(1, count);
}
