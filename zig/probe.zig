//! What this kernel really does: trial set-ups, the operations it names, and functional checks.
//! Believes no version number (F14) and leaves nothing behind (F17): no descriptor, no limit, no
//! priority. Keeps no state; `pyuring/capability.py` caches the answers and puts them into words.
//!
//! An answer is 0 (it works), -errno (why not), or a positive code of `probe_trial.zig`.
//! Source: io_uring_setup(2), io_uring_register(2) IORING_REGISTER_PROBE.

const std = @import("std");
const kernel = @import("kernel.zig");
const ring_module = @import("ring.zig");
const trials = @import("probe_trial.zig");
const checks = @import("probe_checks.zig");
const linux = kernel.linux;
const Ring = ring_module.Ring;
const Trial = trials.Trial;

/// Entries of `Profile.operations`: more opcodes than 6.18 has, so that newer ones show too.
pub const operation_count = 128;

/// Shared with Python: 32-bit answers in this order, then one byte an opcode.
pub const Profile = extern struct {
    /// A plain ring can be set up and carries out a NOP.
    io_uring: i32,

    // Set-up flags, each tried with those it needs.
    cqsize: i32,
    clamp: i32,
    r_disabled: i32,
    attach_wq: i32,
    submit_all: i32,
    coop_taskrun: i32,
    taskrun_flag: i32,
    single_issuer: i32,
    defer_taskrun: i32,
    sqpoll: i32,
    sqpoll_single_issuer: i32,
    sqe128: i32,
    cqe32: i32,
    cqe_mixed: i32,
    iopoll: i32,
    hybrid_iopoll: i32,
    no_sqarray: i32,

    // Combinations that io_uring_setup(2) forbids (F13): -EINVAL is the right answer.
    sqpoll_coop_taskrun: i32,
    sqpoll_defer_taskrun: i32,
    defer_taskrun_alone: i32,

    // Functional checks.
    ext_arg: i32,
    single_shot: i32,
    linked: i32,
    provided_buffers: i32,
    buffer_rings: i32,
    multishot_accept: i32,
    multishot_recv: i32,
    incremental_buffers: i32,
    recv_bundle: i32,
    send_bundle: i32,
    send_zc: i32,
    async_cancel: i32,
    cancel_fd: i32,
    sync_cancel: i32,
    registered_ring_fd: i32,
    registered_buffers: i32,
    direct_descriptors: i32,
    msg_ring: i32,

    /// IORING_REGISTER_PROBE itself (5.6).
    operations_known: i32,
    /// IORING_FEAT_* of a plain ring.
    features: u32,
    /// 1 where the kernel carries the opcode out.
    operations: [operation_count]u8,
};

/// Fills `out`. Returns `out.io_uring`: 0, or why there can be no ring at all.
/// Takes a few milliseconds; opens and closes rings and sockets of its own.
pub fn run(out: *Profile) i32 {
    out.* = std.mem.zeroes(Profile);
    inline for (@typeInfo(Profile).@"struct".fields) |field| {
        if (field.type == i32) @field(out, field.name) = trials.not_asked;
    }
    var ring = start(.{ .entries = 8 }, &out.io_uring) orelse return out.io_uring;
    defer ring.deinit();
    out.features = ring.features;
    var trial = Trial{ .ring = &ring };
    out.io_uring = answer(&trial, Trial.nop);
    if (out.io_uring != 0) return out.io_uring;

    out.operations_known = ask_operations(&ring, &out.operations);
    if (!try_together(out)) try_one_by_one(out);
    try_excluded(out);
    out.attach_wq = try_ring(.{
        .entries = 2,
        .flags = linux.IORING_SETUP_ATTACH_WQ,
        .attach_fd = @intCast(ring.fd),
    }, Trial.nop);
    try_sqpoll(out);
    inline for (checks.list) |check| @field(out, check[0]) = answer(&trial, check[1]);
    out.msg_ring = try_msg_ring(&trial);
    return 0;
}

fn answer(trial: *Trial, question: fn (*Trial) trials.Error!void) i32 {
    trial.failure = 0;
    question(trial) catch {
        std.debug.assert(trial.failure != 0);
        return trial.failure;
    };
    return 0;
}

/// A ring, with a few attempts while memory that closed rings were charged for comes back: it is
/// RLIMIT_MEMLOCK, and a ring is torn down some time after its close has returned (F16).
fn start(options: ring_module.Options, result: *i32) ?Ring {
    for (0..8) |_| {
        if (Ring.init(options, result)) |ring| {
            result.* = 0;
            return ring;
        } else |_| {}
        if (result.* != kernel.negative(.NOMEM)) return null;
        const pause = linux.timespec{ .sec = 0, .nsec = 2 * std.time.ns_per_ms };
        _ = linux.nanosleep(&pause, null);
    }
    return null;
}

const deferred = linux.IORING_SETUP_SINGLE_ISSUER | linux.IORING_SETUP_DEFER_TASKRUN;
const iopoll = linux.IORING_SETUP_IOPOLL;

/// A set-up flag's field, the flags it is tried with, and what the ring must do then.
const flag_trials = .{
    .{ "cqsize", 0, Trial.nop },
    .{ "clamp", linux.IORING_SETUP_CLAMP, Trial.nop },
    .{ "r_disabled", linux.IORING_SETUP_R_DISABLED, several_nops },
    .{ "submit_all", linux.IORING_SETUP_SUBMIT_ALL, Trial.nop },
    .{ "coop_taskrun", linux.IORING_SETUP_COOP_TASKRUN, Trial.nop },
    .{ "taskrun_flag", linux.IORING_SETUP_COOP_TASKRUN | linux.IORING_SETUP_TASKRUN_FLAG, Trial.nop },
    .{ "single_issuer", linux.IORING_SETUP_SINGLE_ISSUER, Trial.nop },
    .{ "defer_taskrun", deferred, deferred_receive },
    .{ "sqe128", linux.IORING_SETUP_SQE128, several_nops },
    .{ "cqe32", linux.IORING_SETUP_CQE32, several_nops },
    .{ "no_sqarray", linux.IORING_SETUP_NO_SQARRAY, several_nops },
    .{ "iopoll", iopoll, nothing },
    .{ "hybrid_iopoll", iopoll | kernel.IORING_SETUP_HYBRID_IOPOLL, nothing },
    .{ "cqe_mixed", kernel.IORING_SETUP_CQE_MIXED, Trial.nop },
};

/// The flags after `no_sqarray` do not go together with those before.
const together_count = 11;

/// One ring with all flags that go together: where it works, each of them does, and a small
/// memory limit is spared ten rings. Returns false when each must be asked for by itself.
fn try_together(out: *Profile) bool {
    comptime var flags: u32 = 0;
    inline for (flag_trials, 0..) |flag_trial, i| {
        if (i < together_count) flags |= flag_trial[1];
    }
    if (try_ring(.{ .entries = 2, .cq_entries = 16, .flags = flags }, deferred_receive) != 0) return false;
    inline for (flag_trials, 0..) |flag_trial, i| {
        @field(out, flag_trial[0]) = if (i < together_count) 0 else try_flag(flag_trial);
    }
    return true;
}

fn try_one_by_one(out: *Profile) void {
    inline for (flag_trials) |flag_trial| @field(out, flag_trial[0]) = try_flag(flag_trial);
}

fn try_flag(comptime flag_trial: anytype) i32 {
    const cq_entries = if (comptime std.mem.eql(u8, flag_trial[0], "cqsize")) 16 else 0;
    return try_ring(.{ .entries = 2, .cq_entries = cq_entries, .flags = flag_trial[1] }, flag_trial[2]);
}

/// What io_uring_setup(2) says is EINVAL (F13); refused before any memory is taken.
fn try_excluded(out: *Profile) void {
    const sqpoll = linux.IORING_SETUP_SQPOLL;
    inline for (.{
        .{ "sqpoll_coop_taskrun", sqpoll | linux.IORING_SETUP_COOP_TASKRUN },
        .{ "sqpoll_defer_taskrun", sqpoll | deferred },
        .{ "defer_taskrun_alone", linux.IORING_SETUP_DEFER_TASKRUN },
    }) |excluded| {
        @field(out, excluded[0]) = try_ring(.{ .entries = 2, .flags = excluded[1] }, nothing);
    }
}

/// Asks a ring of its own one question.
fn try_ring(options: ring_module.Options, question: fn (*Trial) trials.Error!void) i32 {
    var result: i32 = 0;
    var ring = start(options, &result) orelse return result;
    defer ring.deinit();
    if (options.flags & linux.IORING_SETUP_R_DISABLED != 0) {
        result = ring.enable();
        if (result < 0) return result;
    }
    var trial = Trial{ .ring = &ring };
    return answer(&trial, question);
}

/// The set-up is the question: polled rings carry out file operations only.
fn nothing(_: *Trial) trials.Error!void {}

/// A completion that arrives by itself comes out of a wait (F5), after the ring has wrapped.
fn deferred_receive(trial: *Trial) trials.Error!void {
    try several_nops(trial);
    const pair = try trials.Pair.open(trial);
    defer pair.close();
    var bytes: [8]u8 = undefined;
    const receive = try trial.prepare_receive(pair.ours, &bytes);
    const user_data = receive.user_data;
    errdefer trial.cancel(user_data);
    _ = try trial.take(trial.ring.submit());
    try pair.say(trial, "later");
    const cqe = try trial.complete(user_data);
    try trial.require(cqe.res == 5);
}

/// The kernel's polling thread starts, and takes what is submitted without a system call. One
/// thread is started where both ways work: the kernel ends it some time after the ring's close.
fn try_sqpoll(out: *Profile) void {
    const flags = linux.IORING_SETUP_SQPOLL | linux.IORING_SETUP_SINGLE_ISSUER;
    var options = ring_module.Options{ .entries = 2, .flags = flags, .sq_thread_idle_ms = 1 };
    out.sqpoll_single_issuer = try_ring(options, several_nops);
    out.sqpoll = out.sqpoll_single_issuer;
    if (out.sqpoll == 0) return;
    options.flags = linux.IORING_SETUP_SQPOLL;
    out.sqpoll = try_ring(options, several_nops);
}

/// More operations than the ring has entries, so that it wraps (F10).
fn several_nops(trial: *Trial) trials.Error!void {
    for (0..5) |_| try trial.nop();
}

/// A message from one ring arrives in another as a completion.
fn try_msg_ring(trial: *Trial) i32 {
    var result: i32 = 0;
    var target = start(.{ .entries = 2 }, &result) orelse return result;
    defer target.deinit();
    trial.failure = 0;
    send_message(trial, &target) catch return trial.failure;
    return 0;
}

fn send_message(trial: *Trial, target: *Ring) trials.Error!void {
    const message = try trial.prepare(.MSG_RING, target.fd);
    message.off = 77;
    message.len = 5;
    _ = try trial.result_of(message);
    // Before 6.x the target's completion may be posted by its own task: one bounded look.
    _ = target.submit_and_wait(1, 20 * std.time.ns_per_ms);
    try trial.require(target.cq_ready() == 1);
    const cqe = target.cqe_at(0);
    try trial.require(cqe.user_data == 77 and cqe.res == 5);
}

fn ask_operations(ring: *Ring, operations: *[operation_count]u8) i32 {
    var table = std.mem.zeroes(linux.io_uring_probe);
    const result = ring.register(.REGISTER_PROBE, &table, table.ops.len);
    if (result < 0) return result;
    for (operations, table.ops[0..operation_count]) |*operation, entry| {
        operation.* = @intFromBool(entry.is_supported());
    }
    return 0;
}

test "every check fills a field of its own" {
    inline for (checks.list, 0..) |check, i| {
        try std.testing.expect(@hasField(Profile, check[0]));
        inline for (checks.list, 0..) |other, j| {
            if (i != j) try std.testing.expect(!std.mem.eql(u8, check[0], other[0]));
        }
    }
}

test "test_f14 every question gets an answer" {
    var profile: Profile = undefined;
    if (run(&profile) != 0) return error.SkipZigTest;
    inline for (@typeInfo(Profile).@"struct".fields) |field| {
        if (field.type == i32) try std.testing.expect(@field(profile, field.name) != trials.not_asked);
    }
    try std.testing.expectEqual(1, profile.operations[@intFromEnum(linux.IORING_OP.NOP)]);
}

test "test_f13 the kernel refuses the flags that exclude each other" {
    var profile: Profile = undefined;
    if (run(&profile) != 0) return error.SkipZigTest;
    const invalid = kernel.negative(.INVAL);
    try std.testing.expectEqual(invalid, profile.sqpoll_coop_taskrun);
    try std.testing.expectEqual(invalid, profile.sqpoll_defer_taskrun);
    try std.testing.expectEqual(invalid, profile.defer_taskrun_alone);
}

test "test_f16 flags tried together and one by one get the same answers" {
    var together = std.mem.zeroes(Profile);
    var each = std.mem.zeroes(Profile);
    if (run(&together) != 0 or !try_together(&together)) return error.SkipZigTest;
    try_one_by_one(&each);
    inline for (flag_trials) |flag_trial| {
        try std.testing.expectEqual(@field(each, flag_trial[0]), @field(together, flag_trial[0]));
    }
}
