//! How another thread wakes a worker that waits in the kernel: a state word and an eventfd.
//! Carries no message itself: what there is to do lies in the waker's own queue, put there first.
//!
//! The eventfd is written only when the worker sleeps, so waking a busy worker costs one exchange.
//!
//! A read that cannot be armed, once epoll's watches are used up (epoll_ctl(2), ENOSPC), fails at
//! once: armed again at once it would spin. The worker is deaf for a while then, and looks by itself.

const std = @import("std");
const kernel = @import("kernel.zig");
const linux = kernel.linux;

/// How often a deaf worker looks whether it was notified, and how often it tries to hear again.
const look_ns = 10 * std.time.ns_per_ms;
const retry_ns = 100 * std.time.ns_per_ms;

pub const Mailbox = struct {
    const State = enum(u8) { awake, asleep, notified };

    eventfd: i32,
    state: State = .awake,
    /// Where the armed read of the eventfd puts its count: lent to the kernel while armed.
    count: u64 = 0,
    armed: bool = false,
    /// Until when the read is not armed again; and how often it has failed in a row.
    deaf_until_ns: u64 = 0,
    failures: u32 = 0,
    told: bool = false,

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

    /// The worker: the read has completed. True when it is to say that nobody can wake it, once.
    pub fn completed(self: *Mailbox, result: i32, now_ns: u64) bool {
        self.failures = if (result < 0) self.failures +| 1 else 0;
        // One may be a signal, or a shortage that is over by now.
        if (self.failures < 2) return false;
        self.deaf_until_ns = now_ns + retry_ns;
        defer self.told = true;
        return !self.told;
    }

    pub fn is_deaf(self: *const Mailbox, now_ns: u64) bool {
        return now_ns < self.deaf_until_ns;
    }

    /// How long a wait may be at most.
    pub fn wait_limit(self: *const Mailbox, asked_ns: ?u64, now_ns: u64) ?u64 {
        if (self.armed or !self.is_deaf(now_ns)) return asked_ns;
        return if (asked_ns) |ns| @min(ns, look_ns) else look_ns;
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

test "a read that fails again and again is let alone for a while, and told once" {
    var mailbox = try Mailbox.init();
    defer mailbox.deinit();
    const full = kernel.negative(.NOSPC);
    try std.testing.expect(!mailbox.completed(full, 1_000));
    try std.testing.expect(!mailbox.is_deaf(1_000)); // once is nothing
    try std.testing.expectEqual(null, mailbox.wait_limit(null, 1_000));
    try std.testing.expect(mailbox.completed(full, 1_000));
    try std.testing.expect(mailbox.is_deaf(1_000));
    try std.testing.expectEqual(look_ns, mailbox.wait_limit(null, 1_000).?);
    try std.testing.expectEqual(5, mailbox.wait_limit(5, 1_000).?);
    try std.testing.expect(!mailbox.is_deaf(1_000 + retry_ns));
    try std.testing.expect(!mailbox.completed(full, 1_000 + retry_ns)); // told already
    try std.testing.expect(mailbox.is_deaf(1_000 + retry_ns));
}
