//! The Python type `RingCore`: a ring's hot methods, and the checks before each of them (open, right
//! thread, not a forked child). pyuring.ring.Ring adds what is rare. Holds no logic of the ring
//! itself: ring_state.zig does.

const std = @import("std");
const python = @import("python.zig");
const python_type = @import("python_type.zig");
const kernel = @import("kernel.zig");
const arguments = @import("arguments.zig");
const fork_marker = @import("fork_marker.zig");
const ring_module = @import("ring.zig");
const ring_state = @import("ring_state.zig");
const closing = @import("ring_closing.zig");
const sqe_object = @import("sqe_object.zig");
const cqe_object = @import("cqe_object.zig");
const batch_object = @import("batch_object.zig");
const ring_batch = @import("ring_batch.zig");
const linux = kernel.linux;
const Object = python.Object;
const State = ring_state.State;
const Error = arguments.Error;

pub var object_type: *Object = undefined;

const Args = [*]const *Object;

fn new(object_class: *Object, _: ?*Object, _: ?*Object) callconv(.c) ?*Object {
    return python.c.PyType_GenericAlloc(object_class, 0);
}

/// The ring behind a Python object, ready to be used by this thread; else raises. Asked for after the
/// arguments are converted: that runs Python code (`__index__`, `__buffer__`), which may close the ring.
pub fn checked(object: *Object) ?*State {
    const state = python.body(State, object);
    if (!state.open or state.ending) {
        sqe_object.raise_ours("RingClosedError", "the ring is closed");
        return null;
    }
    if (!fork_marker.is_here(state.epoch)) {
        sqe_object.raise_ours("ForkedError", "the ring was made before fork(): a child makes its own");
        return null;
    }
    if (state.owner != python.c.PyThread_get_thread_ident() and state.owner != 0) {
        sqe_object.raise_ours("WrongThreadError", "the ring belongs to the thread that made or enabled it");
        return null;
    }
    if (state.busy) return busy();
    return state;
}

fn busy() ?*State {
    python.c.PyErr_SetString(python.exc.PyExc_RuntimeError.*, "the ring is running a batch: wait until run_batch() returns");
    return null;
}

/// _setup(entries, cq_entries, flags, sq_thread_cpu, sq_thread_idle_ms, attach_fd) -> -errno or 0
fn setup(object: *Object, args: Args, count: python.Ssize) callconv(.c) ?*Object {
    const state = python.body(State, object);
    if (state.open or count != 6) {
        python.c.PyErr_SetString(python.exc.PyExc_TypeError.*, "a ring is set up once");
        return null;
    }
    var numbers: [6]u32 = undefined;
    for (&numbers, 0..) |*number, i| number.* = arguments.integer(u32, args[i]) catch return null;
    var failure: i32 = 0;
    const ring = ring_module.Ring.init(.{
        .entries = numbers[0],
        .cq_entries = numbers[1],
        .flags = numbers[2],
        .sq_thread_cpu = numbers[3],
        .sq_thread_idle_ms = numbers[4],
        .attach_fd = numbers[5],
    }, &failure) catch return python.c.PyLong_FromLong(failure);
    adopt(state, ring) catch return null;
    return python.c.PyLong_FromLong(0);
}

fn adopt(state: *State, ring: ring_module.Ring) Error!void {
    var own = ring;
    errdefer own.deinit();
    const raw = python.c.PyMem_Malloc(@as(usize, ring.sq.entries) * @sizeOf(?*Object)) orelse {
        _ = python.c.PyErr_NoMemory();
        return error.PythonRaised;
    };
    var tag: u16 = undefined;
    _ = linux.getrandom(@ptrCast(&tag), @sizeOf(u16), 0);
    const waits = ring.setup_flags & linux.IORING_SETUP_R_DISABLED != 0;
    state.* = .{
        .ring = ring,
        .open = true,
        .ending = false,
        .owner = if (waits) 0 else python.c.PyThread_get_thread_ident(),
        .epoch = fork_marker.epoch(),
        .table = .{ .tag = tag },
        .queue = @ptrCast(@alignCast(raw)),
        .queue_head = 0,
        .queue_length = 0,
        .groups = null,
        .voids = 0,
        .own_pending = 0,
        .lent = null,
    };
}

fn get_sqe(object: *Object, _: ?*Object) callconv(.c) ?*Object {
    const state = checked(object) orelse return null;
    if (!state.has_room()) return python.return_none();
    const sqe = sqe_object.create(.queued) orelse return null;
    state.enqueue(sqe);
    return sqe;
}

fn submit(object: *Object, _: ?*Object) callconv(.c) ?*Object {
    const state = checked(object) orelse return null;
    const taken = state.submit(0, null) catch return null;
    return python.c.PyLong_FromLong(@intCast(taken));
}

fn submit_and_wait(object: *Object, args: Args, count: python.Ssize) callconv(.c) ?*Object {
    const wanted = wait_count(args, count, 0, 1) catch return null;
    const state = checked_for(object, wanted) orelse return null;
    const taken = state.submit(wanted, null) catch return null;
    _ = state.wait(wanted, null) catch return null;
    return python.c.PyLong_FromLong(@intCast(taken));
}

fn submit_and_wait_timeout(object: *Object, args: Args, count: python.Ssize) callconv(.c) ?*Object {
    if (count < 1) return missing("submit_and_wait_timeout() needs seconds");
    const deadline = deadline_of(args[0]) catch return null;
    const wanted = wait_count(args, count, 1, 1) catch return null;
    const state = checked_for(object, wanted) orelse return null;
    const taken = state.submit(wanted, deadline) catch return null;
    return python.c.PyLong_FromLong(@intCast(taken));
}

fn submit_and_wait_min_timeout(object: *Object, args: Args, count: python.Ssize) callconv(.c) ?*Object {
    if (count < 3) return missing("submit_and_wait_min_timeout() needs seconds, count and min_seconds");
    const deadline = deadline_of(args[0]) catch return null;
    const wanted = wait_count(args, count, 1, 1) catch return null;
    const least = arguments.seconds_of(args[2], "4000") catch return null;
    // Left to itself the kernel waits that long even where the whole wait is shorter.
    const min_us = @ceil(1e6 * @min(least, arguments.seconds_of(args[0], "1e9") catch return null));
    const state = checked_for(object, wanted) orelse return null;
    if (state.ring.features & kernel.IORING_FEAT_MIN_TIMEOUT == 0) {
        ring_state.raise_os(.OPNOTSUPP, "a minimal wait (Linux 6.12)") catch return null;
    }
    const taken = state.submit_min(wanted, deadline, @intFromFloat(min_us)) catch return null;
    return python.c.PyLong_FromLong(@intCast(taken));
}

/// wait_cqe(timeout=None): the oldest completion, which stays until advance_cq.
fn wait_cqe(object: *Object, args: Args, count: python.Ssize) callconv(.c) ?*Object {
    const deadline = if (count > 0 and args[0] != python.none) deadline_of(args[0]) catch return null else null;
    const state = checked(object) orelse return null;
    while (!state.settle()) {
        _ = checked(object) orelse return null;
        const there = state.wait(1, deadline) catch return null;
        if (!there) {
            python.c.PyErr_SetString(python.exc.PyExc_TimeoutError.*, "no completion within the timeout");
            return null;
        }
    }
    return describe_front(state);
}

fn describe_front(state: *State) ?*Object {
    const cqe = cqe_object.create() orelse return null;
    if (!state.describe(cqe_object.body(cqe))) {
        python.decref(cqe);
        return null;
    }
    return cqe;
}

fn peek(object: *Object, _: ?*Object) callconv(.c) ?*Object {
    const state = checked(object) orelse return null;
    if (!state.settle()) return python.return_none();
    return describe_front(state);
}

fn pop(object: *Object, _: ?*Object) callconv(.c) ?*Object {
    const state = checked(object) orelse return null;
    if (!state.settle()) return python.return_none();
    const cqe = describe_front(state) orelse return null;
    state.consume();
    return cqe;
}

/// reap(limit=None): up to `limit` completions at once, consumed.
fn reap(object: *Object, args: Args, count: python.Ssize) callconv(.c) ?*Object {
    var limit: u32 = std.math.maxInt(u32);
    if (count > 0 and args[0] != python.none) limit = arguments.integer(u32, args[0]) catch return null;
    const list = python.c.PyList_New(0) orelse return null;
    const state = checked(object) orelse return null; // making a list may have run the collector
    for (0..limit) |_| {
        if (!state.open or !state.settle()) return list;
        const cqe = describe_front(state) orelse break;
        const failed = python.c.PyList_Append(list, cqe) != 0;
        python.decref(cqe);
        if (failed) break;
        state.consume();
    } else return list;
    python.decref(list);
    return null;
}

fn advance_cq(object: *Object, args: Args, count: python.Ssize) callconv(.c) ?*Object {
    const wanted = wait_count(args, count, 0, 1) catch return null;
    const state = checked(object) orelse return null;
    if (wanted > state.visible_ready()) {
        python.c.PyErr_SetString(python.exc.PyExc_ValueError.*, "fewer completions are there");
        return null;
    }
    for (0..wanted) |_| {
        if (!state.open or !state.settle()) break;
        state.consume();
    }
    return python.return_none();
}

/// submit_batch(batch, wait=0): every SQE of the batch once more. Returns how many were submitted.
fn submit_batch(object: *Object, args: Args, count: python.Ssize) callconv(.c) ?*Object {
    if (count < 1 or !python.is_kind(args[0], batch_object.object_type)) return missing("submit_batch() needs a Batch");
    const wanted = wait_count(args, count, 1, 0) catch return null;
    const state = checked_for(object, wanted) orelse return null;
    const batch = batch_object.body(args[0]);
    // What get_sqe handed out comes first: order of submission is the order of the calls.
    var taken: u32 = state.submit(0, null) catch return null;
    var index: u32 = 0;
    while (index < batch.length) {
        const before = index;
        while (index < batch.length) : (index += 1) {
            if (!(state.launch(batch.sqes[index]) catch return null)) break;
        }
        const last = index == batch.length;
        taken += index - before;
        _ = state.submit(if (last) wanted else 0, null) catch return null;
        if (index == before) return python.c.PyLong_FromLong(@intCast(taken));
    }
    if (wanted > 0) _ = state.wait(wanted, null) catch return null;
    return python.c.PyLong_FromLong(@intCast(taken));
}

/// run_batch(batch, check=False)
fn run_batch(object: *Object, args: Args, count: python.Ssize) callconv(.c) ?*Object {
    const ours = count >= 1 and python.is_kind(args[0], batch_object.object_type);
    if (!ours or count > 2) return missing("run_batch(batch, check=False) needs a Batch");
    const raises = count == 2 and (python.truth(args[1]) catch return null);
    const state = checked(object) orelse return null;
    return ring_batch.run(state, batch_object.body(args[0]), raises);
}

fn wakeup_sqpoll(object: *Object, _: ?*Object) callconv(.c) ?*Object {
    const state = checked(object) orelse return null;
    return none_or_raise(state.ring.wakeup_sqpoll(), "io_uring_enter");
}

fn register_ring_fd(object: *Object, _: ?*Object) callconv(.c) ?*Object {
    const state = checked(object) orelse return null;
    return none_or_raise(state.ring.register_ring_fd(), "registering the ring's descriptor");
}

fn unregister_ring_fd(object: *Object, _: ?*Object) callconv(.c) ?*Object {
    const state = checked(object) orelse return null;
    return none_or_raise(state.ring.unregister_ring_fd(), "unregistering the ring's descriptor");
}

fn enable(object: *Object, _: ?*Object) callconv(.c) ?*Object {
    const state = checked(object) orelse return null;
    const result = state.ring.enable();
    if (kernel.ok(result)) state.owner = python.c.PyThread_get_thread_ident();
    return none_or_raise(result, "enabling the ring");
}

fn none_or_raise(result: i32, what: [*:0]const u8) ?*Object {
    if (kernel.ok(result)) return python.return_none();
    ring_state.raise_os(kernel.errno_of(result), what) catch return null;
}

/// _register(opcode, argument, count): argument is a bytes-like object or None. The result as it is.
fn register(object: *Object, args: Args, count: python.Ssize) callconv(.c) ?*Object {
    if (count != 3) return missing("_register() takes three arguments");
    const opcode = arguments.integer(u32, args[0]) catch return null;
    const number = arguments.integer(u32, args[2]) catch return null;
    var buffer = python.Buffer{};
    if (args[1] != python.none and python.c.PyObject_GetBuffer(args[1], &buffer, python.PyBUF_SIMPLE) != 0) return null;
    defer if (buffer.obj != null) python.c.PyBuffer_Release(&buffer);
    const state = checked(object) orelse return null;
    const saved = python.c.PyEval_SaveThread();
    const result = kernel.register(state.ring.fd, opcode, buffer.buf, number);
    python.c.PyEval_RestoreThread(saved);
    return python.c.PyLong_FromLong(result);
}

/// _close(grace_ns) -> operations still in flight, whose memory is kept for ever.
fn close(object: *Object, argument: *Object) callconv(.c) ?*Object {
    const grace = arguments.integer(u64, argument) catch return null;
    const state = python.body(State, object);
    if (!state.open or state.ending) return python.c.PyLong_FromLong(0);
    if (!fork_marker.is_here(state.epoch)) {
        abandon(state);
        return python.c.PyLong_FromLong(0);
    }
    _ = checked(object) orelse return null;
    state.ending = true;
    closing.drop_queue(state);
    const left = closing.drain(state, kernel.monotonic_ns() +| grace);
    finish(state, left);
    return python.c.PyLong_FromLong(@intCast(left));
}

fn finish(state: *State, left: u32) void {
    state.open = false;
    state.ring.deinit();
    python.c.PyMem_Free(@ptrCast(state.queue));
    // What is in flight now may still be written to: its memory stays lent for ever (F50).
    if (left == 0) {
        closing.release_loans(state);
        state.table.deinit();
    }
}

/// In a forked child: the mappings are not here (DONTFORK), and the ring is the parent's (F20).
fn abandon(state: *State) void {
    state.open = false;
    kernel.close(state.ring.fd);
}

fn dealloc(object: *Object) callconv(.c) void {
    const state = python.body(State, object);
    if (state.open) {
        if (!fork_marker.is_here(state.epoch)) {
            abandon(state);
        } else {
            closing.drop_queue(state);
            const mine = state.owner == python.c.PyThread_get_thread_ident();
            const left = if (mine) closing.drain(state, kernel.monotonic_ns() + std.time.ns_per_s) else state.table.live;
            finish(state, left);
        }
    }
    python.free_instance(object);
}

fn missing(message: [*:0]const u8) ?*Object {
    python.c.PyErr_SetString(python.exc.PyExc_TypeError.*, message);
    return null;
}

fn wait_count(args: Args, count: python.Ssize, index: usize, default: u32) Error!u32 {
    return if (count > index) arguments.integer(u32, args[index]) else default;
}

/// As `checked`, for who waits for `wanted` completions.
fn checked_for(object: *Object, wanted: u32) ?*State {
    const state = checked(object) orelse return null;
    if (wanted <= state.ring.cq.entries) return state;
    arguments.raise(python.exc.PyExc_ValueError, "count is larger than the completion queue") catch return null;
}

fn deadline_of(object: *Object) Error!u64 {
    return kernel.monotonic_ns() + @as(u64, @intFromFloat(try arguments.seconds_of(object, "1e9") * 1e9));
}

const properties = @import("ring_fields.zig");

const methods = python_type.Methods(&.{
    .fast("_setup(entries, cq_entries, flags, sq_thread_cpu, sq_thread_idle_ms, attach_fd)", setup, "Set the ring up; returns 0 or -errno."),
    .one("_close(grace_ns)", close, "Cancel, drain, close."),
    .fast("_register(opcode, argument, count)", register, "io_uring_register(2); returns >= 0 or -errno."),
    .none("get_sqe()", get_sqe, "Return the next free SQE, or None while the queue is full."),
    .none("submit()", submit, "Hand the SQEs to the kernel; return how many it took."),
    .fast("submit_and_wait(count=1)", submit_and_wait, "Submit, and wait until count completions are there; return how many were submitted."),
    .fast("submit_and_wait_timeout(seconds, count=1)", submit_and_wait_timeout, "As submit_and_wait, but return after seconds or a signal too, without raising."),
    .fast("submit_and_wait_min_timeout(seconds, count, min_seconds)", submit_and_wait_min_timeout, "As submit_and_wait_timeout, but once min_seconds are over one completion is enough (6.12)."),
    .fast("submit_batch(batch, wait=0)", submit_batch, "Submit every SQE of a Batch once more; return how many were submitted."),
    .fast("run_batch(batch, check=False)", run_batch, "Submit every SQE of a Batch, wait for all, and return their results in the batch's order.\n\nA result is >= 0 or -errno; with check, the first that failed raises its OSError. The ring must have nothing else in flight."),
    .fast("wait_cqe(timeout=None)", wait_cqe, "Wait for the oldest completion; it stays until advance_cq(). TimeoutError after timeout seconds."),
    .none("peek()", peek, "Return the oldest completion without consuming it, or None."),
    .none("pop()", pop, "Return the oldest completion and consume it, or None."),
    .fast("reap(limit=None)", reap, "Return and consume the completions that are there, at most limit."),
    .fast("advance_cq(count=1)", advance_cq, "Consume the oldest count completions."),
    .none("wakeup_sqpoll()", wakeup_sqpoll, "Wake the kernel's polling thread."),
    .none("register_ring_fd()", register_ring_fd, "Register the ring's own descriptor with this thread (5.18)."),
    .none("unregister_ring_fd()", unregister_ring_fd, "Undo register_ring_fd()."),
    .none("enable()", enable, "Start a ring made with R_DISABLED; it belongs to this thread then."),
});

pub fn make_type() ?*Object {
    object_type = python_type.make("pyuring.RingCore", State, python.TPFLAGS_BASETYPE, .{
        .{ python.Py_tp_new, &new },
        .{ python.Py_tp_dealloc, &dealloc },
        .{ python.Py_tp_methods, methods.table() },
        .{ python.Py_tp_getset, properties.attributes.table() },
    }) orelse return null;
    return python.incref(object_type);
}
