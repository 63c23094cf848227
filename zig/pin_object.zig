//! The Python type `Pin`: a held buffer and its address, for registrations written in Python.
//! Internal to pyuring.ring and pyuring.buffers. Owns the buffer until it is released or dies.

const python = @import("python.zig");
const python_type = @import("python_type.zig");
const Pins = @import("pins.zig").Pins;
const Object = python.Object;

const Body = struct { pins: ?*Pins, address: usize, length: usize };

fn new(object_class: *Object, args: ?*Object, _: ?*Object) callconv(.c) ?*Object {
    const count = if (args) |tuple| python.c.PyTuple_Size(tuple) else 0;
    if (count != 2) {
        python.c.PyErr_SetString(python.exc.PyExc_TypeError.*, "Pin(buffer, writable)");
        return null;
    }
    const object = python.c.PyType_GenericAlloc(object_class, 0) orelse return null;
    hold(python.body(Body, object), args.?) catch {
        python.decref(object);
        return null;
    };
    return object;
}

fn hold(self: *Body, args: *Object) error{PythonRaised}!void {
    self.pins = try Pins.create();
    const buffer = python.c.PyTuple_GetItem(args, 0) orelse return error.PythonRaised;
    const writable = python.c.PyTuple_GetItem(args, 1) orelse return error.PythonRaised;
    const bytes = try self.pins.?.hold(buffer, python.c.PyObject_IsTrue(writable) == 1);
    self.address = if (bytes.len == 0) 0 else @intFromPtr(bytes.ptr);
    self.length = bytes.len;
}

fn drop(self: *Body) void {
    const pins = self.pins orelse return;
    self.pins = null;
    pins.release();
}

fn dealloc(object: *Object) callconv(.c) void {
    drop(python.body(Body, object));
    python.free_instance(object);
}

fn release(object: *Object, _: ?*Object) callconv(.c) ?*Object {
    drop(python.body(Body, object));
    return python.return_none();
}

fn get_address(object: *Object, _: ?*anyopaque) callconv(.c) ?*Object {
    return python.c.PyLong_FromUnsignedLongLong(python.body(Body, object).address);
}

fn get_length(object: *Object, _: ?*anyopaque) callconv(.c) ?*Object {
    return python.c.PyLong_FromUnsignedLongLong(python.body(Body, object).length);
}

const getters = python_type.Attributes(&.{
    .{ .name = "address", .get = get_address },
    .{ .name = "length", .get = get_length },
});

const methods = python_type.Methods(&.{
    .none("release()", release, ""),
});

pub fn make_type() ?*Object {
    return python_type.make("pyuring.Pin", Body, 0, .{
        .{ python.Py_tp_new, &new },
        .{ python.Py_tp_dealloc, &dealloc },
        .{ python.Py_tp_methods, methods.table() },
        .{ python.Py_tp_getset, getters.table() },
    });
}
