//! The Python type `Cqe`: one completion, as the caller sees it. A value: it owns a reference to the
//! operation's user_data and nothing else, and never refers to its ring.

const std = @import("std");
const python = @import("python.zig");
const python_type = @import("python_type.zig");
const linux = std.os.linux;
const Object = python.Object;

pub const Body = struct {
    user_data: ?*Object,
    res: i32,
    flags: u32,
    /// Where in an incremental buffer the bytes begin.
    buffer_offset: u32,
    extra: [2]u64,
};

const F_NOTIF = linux.IORING_CQE_F_NOTIF;

pub var object_type: *Object = undefined;

pub fn body(object: *Object) *Body {
    return python.body(Body, object);
}

pub fn create() ?*Object {
    return python.c.PyType_GenericAlloc(object_type, 0);
}

fn new(_: *Object, _: ?*Object, _: ?*Object) callconv(.c) ?*Object {
    python.c.PyErr_SetString(python.exc.PyExc_TypeError.*, "completions come from a ring");
    return null;
}

fn dealloc(object: *Object) callconv(.c) void {
    if (body(object).user_data) |data| python.decref(data);
    python.free_instance(object);
}

fn get_user_data(object: *Object, _: ?*anyopaque) callconv(.c) ?*Object {
    return python.incref(body(object).user_data orelse return python.c.PyLong_FromLong(0));
}

fn get_res(object: *Object, _: ?*anyopaque) callconv(.c) ?*Object {
    return python.c.PyLong_FromLong(body(object).res);
}

fn get_flags(object: *Object, _: ?*anyopaque) callconv(.c) ?*Object {
    return python.c.PyLong_FromLongLong(body(object).flags);
}

fn get_more(object: *Object, _: ?*anyopaque) callconv(.c) ?*Object {
    return python.c.PyBool_FromLong(@intFromBool(body(object).flags & linux.IORING_CQE_F_MORE != 0));
}

fn get_notification(object: *Object, _: ?*anyopaque) callconv(.c) ?*Object {
    return python.c.PyBool_FromLong(@intFromBool(body(object).flags & F_NOTIF != 0));
}

fn get_buffer_id(object: *Object, _: ?*anyopaque) callconv(.c) ?*Object {
    const flags = body(object).flags;
    if (flags & linux.IORING_CQE_F_BUFFER == 0) return python.return_none();
    return python.c.PyLong_FromLong(@intCast(flags >> linux.IORING_CQE_BUFFER_SHIFT));
}

fn get_buffer_offset(object: *Object, _: ?*anyopaque) callconv(.c) ?*Object {
    return python.c.PyLong_FromLongLong(body(object).buffer_offset);
}

fn get_extra(object: *Object, _: ?*anyopaque) callconv(.c) ?*Object {
    const tuple = python.c.PyTuple_New(2) orelse return null;
    for (body(object).extra, 0..) |value, i| {
        const number = python.c.PyLong_FromUnsignedLongLong(value) orelse {
            python.decref(tuple);
            return null;
        };
        _ = python.c.PyTuple_SetItem(tuple, @intCast(i), number);
    }
    return tuple;
}

fn result(object: *Object, _: ?*Object) callconv(.c) ?*Object {
    const self = body(object);
    if (self.res >= 0 or self.flags & F_NOTIF != 0) return python.c.PyLong_FromLong(self.res);
    raise(-@as(i64, self.res)) catch {};
    return null;
}

/// OSError in the words of os.strerror, in the subclass that Python has for the number.
fn raise(number: i64) error{PythonRaised}!void {
    const module = python.c.PyImport_ImportModule("os") orelse return error.PythonRaised;
    defer python.decref(module);
    const strerror = python.c.PyObject_GetAttrString(module, "strerror") orelse return error.PythonRaised;
    defer python.decref(strerror);
    const errno = python.c.PyLong_FromLongLong(number) orelse return error.PythonRaised;
    defer python.decref(errno);
    const end: ?*Object = null;
    const text = python.c.PyObject_CallFunctionObjArgs(strerror, errno, end) orelse return error.PythonRaised;
    defer python.decref(text);
    const kind = python.exc.PyExc_OSError.*;
    const value = python.c.PyObject_CallFunctionObjArgs(kind, errno, text, end) orelse return error.PythonRaised;
    defer python.decref(value);
    // Set by the value's own type: OSError() gives the subclass.
    const class = python.c.PyObject_Type(value) orelse return error.PythonRaised;
    defer python.decref(class);
    python.c.PyErr_SetObject(class, value);
}

fn repr(object: *Object) callconv(.c) ?*Object {
    const self = body(object);
    const data = get_user_data(object, null) orelse return null;
    defer python.decref(data);
    return python.c.PyUnicode_FromFormat("<Cqe user_data=%S res=%d flags=0x%x>", data, @as(c_int, self.res), @as(c_uint, self.flags));
}

const getters = python_type.Attributes(&.{
    .{ .name = "user_data", .get = get_user_data, .doc = "The operation's user_data, as it was set." },
    .{ .name = "res", .get = get_res, .doc = "The result: >= 0, or -errno." },
    .{ .name = "flags", .get = get_flags, .doc = "IORING_CQE_F_* (CqeFlags), and the buffer's id in the upper 16 bits." },
    .{ .name = "more", .get = get_more, .doc = "Whether the operation will complete again (F_MORE)." },
    .{ .name = "notification", .get = get_notification, .doc = "Whether a zero-copy send gave its memory back (F_NOTIF)." },
    .{ .name = "buffer_id", .get = get_buffer_id, .doc = "The provided buffer the kernel picked, or None." },
    .{ .name = "buffer_offset", .get = get_buffer_offset, .doc = "Where in that buffer the bytes begin; 0 unless incremental." },
    .{ .name = "extra", .get = get_extra, .doc = "The two further numbers of a 32-byte CQE (CQE32)." },
});

const methods = python_type.Methods(&.{
    .none("result()", result, "Return res, or raise the OSError that -res stands for."),
});

pub fn make_type() ?*Object {
    object_type = python_type.make("pyuring.Cqe", Body, 0, .{
        .{ python.Py_tp_new, &new },
        .{ python.Py_tp_dealloc, &dealloc },
        .{ python.Py_tp_repr, &repr },
        .{ python.Py_tp_getset, getters.table() },
        .{ python.Py_tp_methods, methods.table() },
        .{ python.Py_tp_doc, "One completion: user_data, res and flags (io_uring_enter(2))." },
    }) orelse return null;
    return python.incref(object_type);
}
