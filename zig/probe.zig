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
    try_flags(out);
    out.attach_wq = try_set_up(.{ .flags = linux.IORING_SETUP_ATTACH_WQ, .attach_fd = @intCast(ring.fd), .entries = 2 });
    out.defer_taskrun = try_defer_taskrun();
    out.r_disabled = try_r_disabled();
    out.no_sqarray = try_no_sqarray();
    out.sqpoll = try_sqpoll();
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

/// A ring, with a few attempts while memory that closed rings were charged for comes back: before
/// 5.12 that is RLIMIT_MEMLOCK, and a ring is torn down after its close has returned (F16).
fn start(options: ring_module.Options, result: *i32) ?Ring {
    for (0..5) |_| {
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

fn try_set_up(options: ring_module.Options) i32 {
    var result: i32 = 0;
    var ring = start(options, &result) orelse return result;
    ring.deinit();
    return 0;
}

fn try_flags(out: *Profile) void {
    const sqpoll = linux.IORING_SETUP_SQPOLL;
    const coop = linux.IORING_SETUP_COOP_TASKRUN;
    const iopoll = linux.IORING_SETUP_IOPOLL;
    inline for (.{
        .{ "cqsize", 0 },
        .{ "clamp", linux.IORING_SETUP_CLAMP },
        .{ "submit_all", linux.IORING_SETUP_SUBMIT_ALL },
        .{ "coop_taskrun", coop },
        .{ "taskrun_flag", coop | linux.IORING_SETUP_TASKRUN_FLAG },
        .{ "single_issuer", linux.IORING_SETUP_SINGLE_ISSUER },
        .{ "sqpoll_single_issuer", sqpoll | linux.IORING_SETUP_SINGLE_ISSUER },
        .{ "sqe128", linux.IORING_SETUP_SQE128 },
        .{ "cqe32", linux.IORING_SETUP_CQE32 },
        .{ "cqe_mixed", kernel.IORING_SETUP_CQE_MIXED },
        .{ "iopoll", iopoll },
        .{ "hybrid_iopoll", iopoll | kernel.IORING_SETUP_HYBRID_IOPOLL },
        .{ "sqpoll_coop_taskrun", sqpoll | coop },
        .{ "sqpoll_defer_taskrun", sqpoll | linux.IORING_SETUP_SINGLE_ISSUER | linux.IORING_SETUP_DEFER_TASKRUN },
        .{ "defer_taskrun_alone", linux.IORING_SETUP_DEFER_TASKRUN },
    }) |attempt| {
        const cq_entries = if (comptime std.mem.eql(u8, attempt[0], "cqsize")) 16 else 0;
        @field(out, attempt[0]) = try_set_up(.{
            .entries = 2,
            .cq_entries = cq_entries,
            .flags = attempt[1],
            .sq_thread_idle_ms = 1,
        });
    }
}

/// Asks a ring of its own one question.
fn try_ring(options: ring_module.Options, question: fn (*Trial) trials.Error!void) i32 {
    var result: i32 = 0;
    var ring = start(options, &result) orelse return result;
    defer ring.deinit();
    var trial = Trial{ .ring = &ring };
    return answer(&trial, question);
}

fn try_defer_taskrun() i32 {
    const flags = linux.IORING_SETUP_SINGLE_ISSUER | linux.IORING_SETUP_DEFER_TASKRUN;
    return try_ring(.{ .entries = 4, .flags = flags }, deferred_receive);
}

/// A completion that arrives by itself comes out of a wait (F5).
fn deferred_receive(trial: *Trial) trials.Error!void {
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

fn try_r_disabled() i32 {
    return try_ring(.{ .entries = 2, .flags = linux.IORING_SETUP_R_DISABLED }, enabled_later);
}

fn enabled_later(trial: *Trial) trials.Error!void {
    _ = try trial.take(trial.ring.enable());
    try trial.nop();
}

fn try_no_sqarray() i32 {
    return try_ring(.{ .entries = 2, .flags = linux.IORING_SETUP_NO_SQARRAY }, several_nops);
}

/// The kernel's polling thread starts, and takes what is submitted without a system call.
fn try_sqpoll() i32 {
    return try_ring(.{ .entries = 2, .flags = linux.IORING_SETUP_SQPOLL, .sq_thread_idle_ms = 1 }, several_nops);
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
