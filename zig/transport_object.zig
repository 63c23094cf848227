//! TransportCore: the native half of pyuring.Transport, asyncio.Transport's methods over a
//! connection. One object a connection; the worker holds a reference until connection_lost.
//!
//! Every method may be called from any thread. On the worker's own it acts at once; on another,
//! what changes something is passed on through `call_soon_threadsafe`, in the order of the calls.
//! After connection_lost every method still works and does nothing.

const std = @import("std");
const kernel = @import("kernel.zig");
const python = @import("python.zig");
const python_type = @import("python_type.zig");
const closing = @import("closing.zig");
const send = @import("send.zig");
const protocol_handler = @import("protocol_handler.zig");
const transport_body = @import("transport_body.zig");
const Connection = @import("connection.zig").Connection;
const Guard = @import("guard.zig").Guard;
const PythonWorker = @import("python_handler.zig").PythonWorker;
const ProtocolHandler = protocol_handler.ProtocolHandler;
const Shape = protocol_handler.Shape;
const Object = python.Object;
const c = &python.c;

const Body = transport_body.Body;
const body = transport_body.body;
const at_home = transport_body.at_home;
const ask = transport_body.ask;
const pass_on = transport_body.pass_on;

/// A new transport between a connection and its protocol.
pub fn create(
    handler: *ProtocolHandler,
    worker: *PythonWorker,
    connection: *Connection,
    protocol: *Object,
    shape: Shape,
) ?*Object {
    const object = c.PyType_GenericAlloc(handler.transport_type, 0) orelse return null;
    body(object).* = .{
        .home = handler.home,
        .worker = worker,
        .connection = connection,
        .protocol = python.incref(protocol),
        .hooks = python.incref(handler.hooks),
        .failure = null,
        .extra = null,
        .shape = shape,
        .closing = false,
        .closed = false,
        .guard = .{},
    };
    return object;
}

fn dealloc(object: *Object) callconv(.c) void {
    const self = body(object);
    inline for (.{ "protocol", "hooks", "failure", "extra" }) |name| {
        if (@field(self, name)) |held| python.decref(held);
        @field(self, name) = null;
    }
    python.free_instance(object);
}

const methods = python_type.Methods(&.{
    .one("write(data)", write, "Queue data for sending."),
    .one("writelines(data)", writelines, "Queue several pieces."),
    .none("write_eof()", write_eof, "Shut down writing once all is sent."),
    .none("can_write_eof()", can_write_eof, "Return True."),
    .none("close()", close, "Close once all is sent."),
    .none("abort()", abort, "Close at once; what is queued is lost."),
    .none("is_closing()", is_closing, "Tell whether it closes or has."),
    .none("pause_reading()", pause_reading, "Hold data_received back."),
    .none("resume_reading()", resume_reading, "Undo pause_reading."),
    .none("is_reading()", is_reading, "Tell whether data may come."),
    .none("get_write_buffer_size()", get_size, "Bytes queued."),
    .none("get_write_buffer_limits()", get_limits, "(low, high)"),
    .one("_set_limits(low_high)", set_limits, "Take (low, high)."),
    .none("get_protocol()", get_protocol, "Return the protocol."),
    .one("set_protocol(protocol)", set_protocol, "Replace the protocol."),
    .none("_dup_elsewhere()", dup_elsewhere, "A copy, -1 or -2."),
    .none("fileno()", fileno, "The descriptor, -1 when closed."),
});

const getters = python_type.Attributes(&.{
    .{ .name = "worker", .get = get_worker, .doc = "The worker that serves this connection." },
    .{ .name = "_extra", .get = get_extra, .set = set_extra },
});

/// Adds TransportCore to the dict of native types.
pub fn add_types(types: *Object) error{PythonRaised}!void {
    protocol_handler.init_names() catch return error.PythonRaised;
    const object = python_type.make("pyuring._native.TransportCore", Body, python.TPFLAGS_BASETYPE, .{
        .{ python.Py_tp_dealloc, &dealloc },
        .{ python.Py_tp_methods, methods.table() },
        .{ python.Py_tp_getset, getters.table() },
        .{ python.Py_tp_doc, "The native half of pyuring.Transport." },
    }) orelse return error.PythonRaised;
    defer python.decref(object);
    if (c.PyDict_SetItemString(types, "TransportCore", object) != 0) return error.PythonRaised;
}

fn write(object: *Object, data: *Object) callconv(.c) ?*Object {
    const bytes = python.frozen(data) orelse return null;
    defer python.decref(bytes);
    var away = false;
    const connection = at_home(body(object), &away) orelse
        return if (away) pass_on(object, "write", bytes) else python.return_none();
    if (connection.flags.write_end) {
        c.PyErr_SetString(python.exc.PyExc_RuntimeError.*, "write() after write_eof()");
        return null;
    }
    queue(body(object).worker.?, connection, bytes);
    return python.return_none();
}

fn queue(worker: *PythonWorker, connection: *Connection, bytes: *Object) void {
    const view = python.bytes_view(bytes).?;
    if (view.len == 0) return;
    const owner = python.incref(bytes);
    if (!send.append(worker, connection, view, @intFromPtr(owner))) python.decref(owner);
}

fn writelines(object: *Object, lines: *Object) callconv(.c) ?*Object {
    const list = c.PySequence_List(lines) orelse return null;
    defer python.decref(list);
    const count = c.PyList_Size(list);
    // All are checked before any is queued: a wrong one sends nothing.
    var index: isize = 0;
    while (index < count) : (index += 1) {
        const bytes = python.frozen(c.PyList_GetItem(list, index).?) orelse return null;
        if (c.PyList_SetItem(list, index, bytes) != 0) return null; // takes the reference
    }
    index = 0;
    while (index < count) : (index += 1) {
        const result = write(object, c.PyList_GetItem(list, index).?) orelse return null;
        python.decref(result);
    }
    return python.return_none();
}

fn write_eof(object: *Object, _: ?*Object) callconv(.c) ?*Object {
    var away = false;
    const connection = at_home(body(object), &away) orelse
        return if (away) pass_on(object, "write_eof", null) else python.return_none();
    if (connection.phase == .open) {
        connection.flags.write_end = true;
        body(object).worker.?.mark_dirty(connection);
    }
    return python.return_none();
}

fn can_write_eof(_: *Object, _: ?*Object) callconv(.c) ?*Object {
    return c.PyBool_FromLong(1);
}

fn close(object: *Object, _: ?*Object) callconv(.c) ?*Object {
    body(object).closing = true;
    var away = false;
    const connection = at_home(body(object), &away) orelse
        return if (away) pass_on(object, "close", null) else python.return_none();
    closing.close(body(object).worker.?, connection);
    return python.return_none();
}

fn abort(object: *Object, _: ?*Object) callconv(.c) ?*Object {
    body(object).closing = true;
    var away = false;
    const connection = at_home(body(object), &away) orelse
        return if (away) pass_on(object, "abort", null) else python.return_none();
    closing.abort(body(object).worker.?, connection, 0);
    return python.return_none();
}

fn is_open(connection: *const Connection) bool {
    return connection.phase == .open;
}

fn is_closing(object: *Object, _: ?*Object) callconv(.c) ?*Object {
    const open = ask(object, bool, is_open, false);
    return c.PyBool_FromLong(@intFromBool(body(object).closing or !open));
}

fn pause_reading(object: *Object, _: ?*Object) callconv(.c) ?*Object {
    return set_paused(object, "pause_reading", true);
}

fn resume_reading(object: *Object, _: ?*Object) callconv(.c) ?*Object {
    return set_paused(object, "resume_reading", false);
}

fn set_paused(object: *Object, name: [*:0]const u8, paused: bool) ?*Object {
    var away = false;
    const connection = at_home(body(object), &away) orelse
        return if (away) pass_on(object, name, null) else python.return_none();
    connection.flags.paused = paused;
    body(object).worker.?.mark_dirty(connection);
    return python.return_none();
}

fn wants_data(connection: *const Connection) bool {
    return connection.phase == .open and !connection.flags.paused;
}

fn is_reading(object: *Object, _: ?*Object) callconv(.c) ?*Object {
    return c.PyBool_FromLong(@intFromBool(ask(object, bool, wants_data, false)));
}

fn queued(connection: *const Connection) u64 {
    return connection.queued_bytes;
}

fn get_size(object: *Object, _: ?*Object) callconv(.c) ?*Object {
    return c.PyLong_FromUnsignedLongLong(ask(object, u64, queued, 0));
}

fn limits(connection: *const Connection) [2]u64 {
    return .{ connection.write_low, connection.write_high };
}

fn get_limits(object: *Object, _: ?*Object) callconv(.c) ?*Object {
    const pair = c.PyTuple_New(2) orelse return null;
    for (ask(object, [2]u64, limits, .{ 0, 0 }), 0..) |value, index| {
        const number = c.PyLong_FromUnsignedLongLong(value) orelse {
            python.decref(pair);
            return null;
        };
        _ = c.PyTuple_SetItem(pair, @intCast(index), number);
    }
    return pair;
}

/// (low, high), checked by Transport.set_write_buffer_limits.
fn set_limits(object: *Object, pair: *Object) callconv(.c) ?*Object {
    var away = false;
    const connection = at_home(body(object), &away) orelse
        return if (away) pass_on(object, "_set_limits", pair) else python.return_none();
    var values: [2]u64 = undefined;
    for (&values, 0..) |*value, index| {
        const item = c.PyTuple_GetItem(pair, @intCast(index)) orelse return null;
        value.* = c.PyLong_AsUnsignedLongLong(item);
        if (c.PyErr_Occurred() != null) return null;
    }
    connection.write_low = values[0];
    connection.write_high = values[1];
    if (connection.phase == .open) send.check_high(body(object).worker.?, connection);
    return python.return_none();
}

fn get_protocol(object: *Object, _: ?*Object) callconv(.c) ?*Object {
    return body(object).guard.show(&body(object).protocol);
}

fn set_protocol(object: *Object, protocol: *Object) callconv(.c) ?*Object {
    var away = false;
    const self = body(object);
    _ = at_home(self, &away) orelse
        return if (away) pass_on(object, "set_protocol", protocol) else python.return_none();
    self.shape = self.worker.?.handler.protocols.shape_of(protocol) orelse return null;
    self.guard.swap(&self.protocol, python.incref(protocol));
    return python.return_none();
}

fn descriptor(connection: *const Connection) i32 {
    return connection.fd;
}

fn fileno(object: *Object, _: ?*Object) callconv(.c) ?*Object {
    return c.PyLong_FromLong(ask(object, i32, descriptor, -1));
}

fn get_extra(object: *Object, _: ?*anyopaque) callconv(.c) ?*Object {
    return body(object).guard.show(&body(object).extra);
}

fn set_extra(object: *Object, value: ?*Object, _: ?*anyopaque) callconv(.c) c_int {
    body(object).guard.swap(&body(object).extra, if (value) |given| python.incref(given) else null);
    return 0;
}

/// A descriptor of its own for the same connection, when called on another thread: there the number
/// may belong to somebody else in the next moment. -1 at home, -2 once the connection is gone.
fn dup_elsewhere(object: *Object, _: ?*Object) callconv(.c) ?*Object {
    const self = body(object);
    if (self.home == protocol_handler.this_thread()) return c.PyLong_FromLong(-1);
    return c.PyLong_FromLong(ask(object, i32, dup_descriptor, -2));
}

fn dup_descriptor(connection: *const Connection) i32 {
    const duplicate = kernel.linux.fcntl(connection.fd, kernel.linux.F.DUPFD_CLOEXEC, 0);
    return @max(kernel.result_of(duplicate), -2);
}

fn get_worker(object: *Object, _: ?*anyopaque) callconv(.c) ?*Object {
    return python.incref(body(object).hooks orelse python.none);
}
