//! The Python type `Bell`: one thread waits until another rings. Owns the word that they share, and
//! never what there is to hear of: that lies elsewhere, put there before the ring.
//!
//! A worker that rings in the middle of its turn still holds the interpreter lock, so whoever woke
//! then would only wait again, for the lock: two switches of threads for nothing. Such a ring is kept
//! (`Bells`) until the worker lets go of the lock in order to wait itself, and carried out then.

const std = @import("std");
const kernel = @import("kernel.zig");
const python = @import("python.zig");
const python_type = @import("python_type.zig");
const linux = kernel.linux;
const Object = python.Object;
const c = &python.c;

/// A futex (futex(2)): 1 from a ring until a wait.
const Body = struct { rung: u32 };

/// What a worker has rung in this turn. Holds a reference to each bell.
pub const Bells = struct {
    kept: [capacity]*Object = undefined,
    count: u32 = 0,

    const capacity = 64;

    /// Without the interpreter lock: the bells are kept alive, and only their words are touched.
    pub fn ring_all(self: *const Bells) void {
        for (self.kept[0..self.count]) |bell| ring_now(python.body(Body, bell));
    }

    /// With the interpreter lock, after `ring_all`.
    pub fn let_go(self: *Bells) void {
        for (self.kept[0..self.count]) |bell| python.decref(bell);
        self.count = 0;
    }

    fn keep(self: *Bells, bell: *Object) bool {
        for (self.kept[0..self.count]) |other| if (other == bell) return true;
        if (self.count == capacity) return false;
        self.kept[self.count] = python.incref(bell);
        self.count += 1;
        return true;
    }
};

/// The bells of the worker whose turn runs on this thread.
pub threadlocal var current: ?*Bells = null;

fn ring_now(self: *Body) void {
    if (@atomicRmw(u32, &self.rung, .Xchg, 1, .acq_rel) == 1) return; // nobody has waited since
    _ = linux.futex_3arg(&self.rung, .{ .cmd = .WAKE, .private = true }, 1);
}

fn ring(object: *Object, _: ?*Object) callconv(.c) ?*Object {
    const kept = if (current) |bells| bells.keep(object) else false;
    if (!kept) ring_now(python.body(Body, object));
    return python.return_none();
}

fn wait(object: *Object, _: ?*Object) callconv(.c) ?*Object {
    return wait_after(object, {}, nothing);
}

fn nothing(_: void) void {}

/// Waits for the bell, after `first(context)`: both without the interpreter lock.
pub fn wait_after(object: *Object, context: anytype, first: fn (@TypeOf(context)) void) ?*Object {
    const self = python.body(Body, object);
    var begun = false;
    while (!begun or @atomicRmw(u32, &self.rung, .Xchg, 0, .acq_rel) == 0) {
        const saved = c.PyEval_SaveThread();
        if (!begun) first(context);
        begun = true;
        if (@atomicLoad(u32, &self.rung, .monotonic) == 0) {
            _ = linux.futex_4arg(&self.rung, .{ .cmd = .WAIT, .private = true }, 0, null);
        }
        c.PyEval_RestoreThread(saved);
        if (c.PyErr_CheckSignals() != 0) return null; // only the main thread has any
    }
    return python.return_none();
}

fn new(object_class: *Object, _: ?*Object, _: ?*Object) callconv(.c) ?*Object {
    return c.PyType_GenericAlloc(object_class, 0);
}

fn dealloc(object: *Object) callconv(.c) void {
    python.free_instance(object);
}

const methods = python_type.Methods(&.{
    .none("ring()", ring, "Let the wait end, the one under way or the next."),
    .none("wait()", wait, "Wait until the bell is rung, or has been since the last wait; one thread at a time."),
});

/// The type itself, for the check. Lives as long as the process.
var object_type: *Object = undefined;

pub fn is_bell(object: *Object) bool {
    return python.is_kind(object, object_type);
}

pub fn make_type() ?*Object {
    object_type = python_type.make("pyuring._native.Bell", Body, 0, .{
        .{ python.Py_tp_new, &new },
        .{ python.Py_tp_dealloc, &dealloc },
        .{ python.Py_tp_methods, methods.table() },
        .{ python.Py_tp_doc, "Bell(): one thread waits until another rings." },
    }) orelse return null;
    return python.incref(object_type);
}
