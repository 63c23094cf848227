//! The Python type `BufferGroupCore`: provided buffers as memoryviews that pin them (F30).
//! A view is made of an exporter that counts itself in the group: while one is alive, its buffer
//! cannot go back to the kernel. Owns one count of the group's memory, and a reference to the ring.

const std = @import("std");
const python = @import("python.zig");
const python_type = @import("python_type.zig");
const kernel = @import("kernel.zig");
const arguments = @import("arguments.zig");
const ring_object = @import("ring_object.zig");
const ring_state = @import("ring_state.zig");
const sqe_object = @import("sqe_object.zig");
const buffer_group = @import("buffer_group.zig");
const Provided = @import("provided.zig").Provided;
const linux = kernel.linux;
const Object = python.Object;
const Error = arguments.Error;
const Args = [*]const *Object;

pub const Body = struct {
    provided: ?*Provided,
    ring: ?*Object,
    open: bool,
};

/// What a memoryview of a buffer is made of.
const View = struct { provided: ?*Provided, bid: u16, start: u32, length: u32 };

var view_type: *Object = undefined;

fn body(object: *Object) *Body {
    return python.body(Body, object);
}

fn new(object_class: *Object, _: ?*Object, _: ?*Object) callconv(.c) ?*Object {
    return python.c.PyType_GenericAlloc(object_class, 0);
}

/// _setup(ring, group_id, count, size, flags, legacy) -> 0 or -errno; the Python side has validated.
fn setup(object: *Object, args: Args, count: python.Ssize) callconv(.c) ?*Object {
    const self = body(object);
    if (count != 6 or !python.is_kind(args[0], ring_object.object_type)) return fail("TypeError", "ring must be a Ring");
    const options = buffer_group.Options{
        .group_id = arguments.integer(u16, args[1]) catch return null,
        .count = arguments.integer(u16, args[2]) catch return null,
        .size = arguments.integer(u32, args[3]) catch return null,
        .flags = arguments.integer(u16, args[4]) catch return null,
    };
    if (!std.math.isPowerOfTwo(options.count) or options.count > buffer_group.max_count or options.size == 0) {
        return fail("ValueError", "count is a power of two up to 32768, size at least 1");
    }
    const legacy = python.truth(args[5]) catch return null;
    const state = ring_object.checked(args[0]) orelse return null;
    if (self.provided != null) return fail("TypeError", "a group is set up once");
    if (state.find_group(options.group_id) != null) return python.c.PyLong_FromLong(kernel.negative(.EXIST));
    var failure: i32 = 0;
    var group = (if (legacy)
        buffer_group.BufferGroup.allocate(options, &failure)
    else
        buffer_group.BufferGroup.init_with(&state.ring, options, &failure)) catch return python.c.PyLong_FromLong(failure);
    const provided = Provided.create(group, options.flags & buffer_group.PBUF_RING_INC != 0, legacy) orelse {
        if (legacy) group.unmap() else group.deinit(&state.ring);
        return python.c.PyErr_NoMemory();
    };
    provided.next = state.groups;
    state.groups = provided.share();
    self.* = .{ .provided = provided, .ring = python.incref(args[0]), .open = true };
    if (legacy) {
        provided.group.available = options.count;
        provide(state, provided, 0, options.count) catch return null;
    }
    return python.c.PyLong_FromLong(0);
}

/// PROVIDE_BUFFERS for a run of buffers: bid = off, group = buf_group, count = fd (F29).
fn provide(state: *ring_state.State, provided: *Provided, bid: u16, count: u16) Error!void {
    var sqe = std.mem.zeroes(linux.io_uring_sqe);
    sqe.opcode = .PROVIDE_BUFFERS;
    sqe.fd = count;
    sqe.addr = @intFromPtr(provided.group.memory(bid));
    sqe.len = provided.group.size;
    sqe.off = bid;
    sqe.buf_index = provided.group.group_id;
    if (try state.launch_own(&sqe) == null) {
        _ = try state.submit(0, null);
        if (try state.launch_own(&sqe) == null) return ring_state.raise_os(.BUSY, "returning a buffer");
    }
}

fn usable(self: *Body) ?*Provided {
    const provided = self.provided orelse {
        _ = fail("ValueError", "the group was not set up");
        return null;
    };
    if (!self.open) {
        sqe_object.raise_ours("BufferGroupError", "the buffer group is closed");
        return null;
    }
    if (ring_object.checked(self.ring.?) == null) return null;
    if (provided.failure != 0) {
        const failure = provided.failure;
        provided.failure = 0;
        ring_state.raise_os(kernel.errno_of(failure), "PROVIDE_BUFFERS") catch return null;
    }
    return provided;
}

fn check_id(provided: *Provided, bid: u16) Error!void {
    if (bid < provided.group.count) return;
    return arguments.raise(python.exc.PyExc_ValueError, "no such buffer in the group");
}

/// get_buffer(buf_id, length=None, offset=0)
fn get_buffer(object: *Object, args: Args, count: python.Ssize) callconv(.c) ?*Object {
    if (count < 1 or count > 3) return fail("TypeError", "get_buffer(buf_id, length=None, offset=0)");
    const bid = arguments.integer(u16, args[0]) catch return null;
    const start = if (count > 2) arguments.integer(u32, args[2]) catch return null else 0;
    const wanted = if (count > 1 and args[1] != python.none) arguments.integer(u32, args[1]) catch return null else null;
    const provided = usable(body(object)) orelse return null;
    check_id(provided, bid) catch return null;
    if (start > provided.group.size) return fail("ValueError", "offset is outside of the buffer");
    const length = wanted orelse provided.group.size - start;
    if (length > provided.group.size - start) return fail("ValueError", "length is larger than the buffer");
    if (!provided.slots[bid].held and !provided.incremental) {
        sqe_object.raise_ours("BufferNotHeldError", "the kernel has this buffer: no completion named it");
        return null;
    }
    const exporter = python.c.PyType_GenericAlloc(view_type, 0) orelse return null;
    defer python.decref(exporter); // the memoryview keeps it
    python.body(View, exporter).* = .{ .provided = provided.share(), .bid = bid, .start = start, .length = length };
    return python.c.PyMemoryView_FromObject(exporter);
}

fn view_get(exporter: *Object, buffer: *python.Buffer, flags: c_int) callconv(.c) c_int {
    const view = python.body(View, exporter);
    const provided = view.provided.?;
    const memory = provided.group.memory(view.bid) + view.start;
    const result = python.c.PyBuffer_FillInfo(buffer, exporter, memory, view.length, 0, flags);
    if (result == 0) _ = @atomicRmw(u32, &provided.slots[view.bid].views, .Add, 1, .monotonic);
    return result;
}

fn view_release(exporter: *Object, _: *python.Buffer) callconv(.c) void {
    const view = python.body(View, exporter);
    _ = @atomicRmw(u32, &view.provided.?.slots[view.bid].views, .Sub, 1, .release);
}

fn view_dealloc(exporter: *Object) callconv(.c) void {
    if (python.body(View, exporter).provided) |provided| provided.release();
    python.free_instance(exporter);
}

fn check_return(provided: *Provided, bid: u16) Error!void {
    try check_id(provided, bid);
    const slot = &provided.slots[bid];
    if (!slot.held) {
        sqe_object.raise_ours("BufferNotHeldError", "the buffer is the kernel's: returned twice, or never handed out");
        return error.PythonRaised;
    }
    if (@atomicLoad(u32, &slot.views, .acquire) > 0) {
        sqe_object.raise_ours("BufferInUseError", "a view of the buffer is alive: release() it first");
        return error.PythonRaised;
    }
}

fn return_buffer(object: *Object, argument: *Object) callconv(.c) ?*Object {
    const bid = arguments.integer(u16, argument) catch return null;
    const self = body(object);
    const provided = usable(self) orelse return null;
    check_return(provided, bid) catch return null;
    give_back(self, provided, bid) catch return null;
    if (!provided.legacy) provided.group.publish();
    return python.return_none();
}

/// All of them, or, where one cannot go back, none; and one store for the kernel to see (F28).
fn return_buffers(object: *Object, argument: *Object) callconv(.c) ?*Object {
    const items = python.c.PySequence_Tuple(argument) orelse return null;
    defer python.decref(items);
    const count: usize = @intCast(python.c.PyTuple_Size(items));
    const raw = python.c.PyMem_Malloc(@max(count, 1) * @sizeOf(u16)) orelse return python.c.PyErr_NoMemory();
    defer python.c.PyMem_Free(raw);
    const bids = @as([*]u16, @ptrCast(@alignCast(raw)))[0..count];
    for (bids, 0..) |*bid, i| {
        const item = python.c.PyTuple_GetItem(items, @intCast(i)) orelse return null;
        bid.* = arguments.integer(u16, item) catch return null;
    }
    const self = body(object);
    const provided = usable(self) orelse return null;
    for (bids) |bid| check_return(provided, bid) catch return null;
    for (bids) |bid| {
        if (provided.slots[bid].held) give_back(self, provided, bid) catch return null; // a twin is gone
    }
    if (!provided.legacy) provided.group.publish();
    return python.return_none();
}

fn give_back(self: *Body, provided: *Provided, bid: u16) Error!void {
    if (provided.legacy) {
        const state = ring_object.checked(self.ring.?) orelse return error.PythonRaised;
        try provide(state, provided, bid, 1);
    }
    provided.give_back(bid);
}

/// bundle_ids(first, length): the buffers that one completion filled, in order.
fn bundle_ids(object: *Object, args: Args, count: python.Ssize) callconv(.c) ?*Object {
    if (count != 2) return fail("TypeError", "bundle_ids(first, length)");
    var bid = arguments.integer(u16, args[0]) catch return null;
    var left = arguments.integer(u32, args[1]) catch return null;
    const provided = usable(body(object)) orelse return null;
    check_id(provided, bid) catch return null;
    const list = python.c.PyList_New(0) orelse return null;
    while (true) {
        const number = python.c.PyLong_FromLong(bid) orelse break;
        const failed = python.c.PyList_Append(list, number) != 0;
        python.decref(number);
        if (failed) break;
        left -|= provided.group.size;
        if (left == 0) return list;
        bid = provided.at_position(provided.slots[bid].position +% 1) orelse return list;
    }
    python.decref(list);
    return null;
}

fn close(object: *Object, _: ?*Object) callconv(.c) ?*Object {
    const self = body(object);
    if (!self.open) return python.return_none();
    const state = python.body(ring_state.State, self.ring.?);
    if (state.open) {
        const checked = ring_object.checked(self.ring.?) orelse return null;
        detach(checked, self.provided.?) catch return null;
    }
    self.open = false;
    return python.return_none();
}

fn detach(state: *ring_state.State, provided: *Provided) Error!void {
    if (provided.legacy) {
        var sqe = std.mem.zeroes(linux.io_uring_sqe);
        sqe.opcode = .REMOVE_BUFFERS;
        sqe.fd = provided.group.count;
        sqe.buf_index = provided.group.group_id;
        if (try state.launch_own(&sqe) == null) {
            _ = try state.submit(0, null);
            _ = try state.launch_own(&sqe);
        }
        _ = try state.submit(0, null);
    } else provided.group.unregister(&state.ring);
    @import("ring_closing.zig").retire(state, provided);
}

fn available_count(object: *Object, _: ?*anyopaque) callconv(.c) ?*Object {
    const provided = body(object).provided orelse return python.c.PyLong_FromLong(0);
    return python.c.PyLong_FromLong(@intCast(provided.group.available));
}

fn closed(object: *Object, _: ?*anyopaque) callconv(.c) ?*Object {
    return python.c.PyBool_FromLong(@intFromBool(!body(object).open));
}

fn dealloc(object: *Object) callconv(.c) void {
    const self = body(object);
    // Forgotten without close(): the ring keeps the memory until it closes itself (F50).
    if (self.provided) |provided| provided.release();
    if (self.ring) |ring| python.decref(ring);
    python.free_instance(object);
}

fn fail(comptime kind: []const u8, message: [*:0]const u8) ?*Object {
    python.c.PyErr_SetString(@field(python.exc, "PyExc_" ++ kind).*, message);
    return null;
}

const methods = python_type.Methods(&.{
    .fast("_setup(ring, group_id, count, size, flags, legacy)", setup, "Make the group; returns 0 or -errno."),
    .fast("get_buffer(buf_id, length=None, offset=0)", get_buffer, "Return a writable view that pins the buffer until it is released."),
    .one("return_buffer(buf_id)", return_buffer, "Hand a buffer back to the kernel."),
    .one("return_buffers(buf_ids)", return_buffers, "Hand several buffers back in one store: all, or none."),
    .fast("bundle_ids(first, length)", bundle_ids, "Return the buffers that one bundle filled, in order."),
    .none("close()", close, "Take the group from the kernel. Views stay valid; idempotent."),
});

const getters = python_type.Attributes(&.{
    .{ .name = "available_count", .get = available_count, .doc = "Buffers that are the kernel's to pick." },
    .{ .name = "closed", .get = closed, .doc = "Whether close() was called." },
});

fn make_view_type() bool {
    view_type = python_type.make("pyuring.ProvidedBuffer", View, 0, .{
        .{ python.Py_bf_getbuffer, &view_get },
        .{ python.Py_bf_releasebuffer, &view_release },
        .{ python.Py_tp_dealloc, &view_dealloc },
    }) orelse return false;
    return true;
}

pub fn make_type() ?*Object {
    if (!make_view_type()) return null;
    return python_type.make("pyuring.BufferGroupCore", Body, python.TPFLAGS_BASETYPE, .{
        .{ python.Py_tp_new, &new },
        .{ python.Py_tp_dealloc, &dealloc },
        .{ python.Py_tp_methods, methods.table() },
        .{ python.Py_tp_getset, getters.table() },
    });
}
