//! The Python type `Batch`: SQEs that are prepared once and submitted many times, in one call.
//! Owns its SQEs. An SQE of a batch is never spent: each submission copies it, with the fields that
//! it has then, and shares its memory until that submission's last completion.

const std = @import("std");
const python = @import("python.zig");
const python_type = @import("python_type.zig");
const arguments = @import("arguments.zig");
const sqe_object = @import("sqe_object.zig");
const Object = python.Object;

const max_length = 32768; // the kernel's limit for a submission queue

pub const Body = struct {
    sqes: [*]*Object,
    length: u32,
};

pub var object_type: *Object = undefined;

pub fn body(object: *Object) *Body {
    return python.body(Body, object);
}

fn new(object_class: *Object, args: ?*Object, _: ?*Object) callconv(.c) ?*Object {
    const count = if (args) |tuple| python.c.PyTuple_Size(tuple) else 0;
    if (count != 1) {
        python.c.PyErr_SetString(python.exc.PyExc_TypeError.*, "Batch(length): how many SQEs");
        return null;
    }
    const argument = python.c.PyTuple_GetItem(args.?, 0) orelse return null;
    const length = arguments.integer(u32, argument) catch return null;
    if (length < 1 or length > max_length) {
        python.c.PyErr_SetString(python.exc.PyExc_ValueError.*, "a batch has 1 to 32768 SQEs");
        return null;
    }
    const object = python.c.PyType_GenericAlloc(object_class, 0) orelse return null;
    const raw = python.c.PyMem_Malloc(@as(usize, length) * @sizeOf(*Object)) orelse {
        python.decref(object);
        return python.c.PyErr_NoMemory();
    };
    const self = body(object);
    self.sqes = @ptrCast(@alignCast(raw));
    while (self.length < length) : (self.length += 1) {
        self.sqes[self.length] = sqe_object.create(.batched) orelse {
            python.decref(object);
            return null;
        };
    }
    return object;
}

fn dealloc(object: *Object) callconv(.c) void {
    const self = body(object);
    for (0..self.length) |i| python.decref(self.sqes[i]);
    if (self.length > 0) python.c.PyMem_Free(@ptrCast(self.sqes));
    python.free_instance(object);
}

fn size(object: *Object) callconv(.c) python.Ssize {
    return body(object).length;
}

fn item(object: *Object, index: python.Ssize) callconv(.c) ?*Object {
    const self = body(object);
    if (index < 0 or index >= self.length) {
        python.c.PyErr_SetString(python.exc.PyExc_IndexError.*, "no such SQE in the batch");
        return null;
    }
    return python.incref(self.sqes[@intCast(index)]);
}

const type_doc = "Batch(length): SQEs prepared once and submitted many times by Ring.submit_batch().\n\n" ++
    "A sequence of Sqe: prepare each; between submissions, fields such as offset and user_data may change.";

pub fn make_type() ?*Object {
    object_type = python_type.make("pyuring.Batch", Body, 0, .{
        .{ python.Py_tp_new, &new },
        .{ python.Py_tp_dealloc, &dealloc },
        .{ python.Py_sq_length, &size },
        .{ python.Py_sq_item, &item },
        .{ python.Py_tp_doc, type_doc },
    }) orelse return null;
    return python.incref(object_type);
}
