//! Kernel error numbers as Python exceptions, and taking an exception that is set.
//! Keeps nothing. Python itself picks OSError's subclass by errno.

const std = @import("std");
const kernel = @import("kernel.zig");
const python = @import("python.zig");
const Object = python.Object;
const c = &python.c;

/// A new OSError (or subclass) for `errno`; null with another exception set.
pub fn make(errno: i32) ?*Object {
    return make_with(errno, c.PyUnicode_FromString(message(errno)));
}

/// Takes `text` over, null with an exception included.
fn make_with(errno: i32, words: ?*Object) ?*Object {
    const text = words orelse return null;
    defer python.decref(text);
    const number = c.PyLong_FromLong(errno) orelse return null;
    defer python.decref(number);
    return c.PyObject_CallFunctionObjArgs(python.exc.PyExc_OSError.*, number, text, @as(?*Object, null));
}

/// What connection_lost gets: a new reference to the exception, or to None for an orderly end.
pub fn make_or_none(errno: i32) *Object {
    if (errno == 0) return python.return_none();
    return make(errno) orelse take() orelse python.return_none();
}

pub fn raise(errno: i32) void {
    const failure = make(errno) orelse return;
    defer python.decref(failure);
    raise_object(failure);
}

/// The ring itself failed, and with it whatever it carried.
pub fn make_ring_failure(errno: i32) ?*Object {
    return make_with(errno, c.PyUnicode_FromFormat("the worker's ring failed: %s", message(errno)));
}

/// With words of our own in place of the C library's.
pub fn raise_with(errno: i32, words: [*:0]const u8) void {
    const failure = make_with(errno, c.PyUnicode_FromString(words)) orelse return;
    defer python.decref(failure);
    raise_object(failure);
}

/// Sets an exception object as raised, with the traceback it carries.
pub fn raise_object(failure: *Object) void {
    const class = c.PyObject_Type(failure) orelse return;
    defer python.decref(class);
    c.PyErr_SetObject(class, failure);
}

/// Takes the exception that is set: a new reference with its traceback, or null.
pub fn take() ?*Object {
    var class: ?*Object = null;
    var value: ?*Object = null;
    var traceback: ?*Object = null;
    c.PyErr_Fetch(&class, &value, &traceback);
    c.PyErr_NormalizeException(&class, &value, &traceback);
    if (class) |object| python.decref(object);
    if (traceback) |object| {
        if (value) |failure| _ = c.PyException_SetTraceback(failure, object);
        python.decref(object);
    }
    return value;
}

/// Whether an exception is meant for the whole program. What else is no Exception comes out of
/// libraries (a task's cancellation, a test's failure) and concerns the request it came out of.
pub fn ends_the_worker(failure: *Object) bool {
    inline for (.{ "PyExc_KeyboardInterrupt", "PyExc_SystemExit" }) |name| {
        if (python.is_kind(failure, @field(python.exc, name).*)) return true;
    }
    return false;
}

/// The C library's words, where this process has one, with ours for what only we do.
fn message(errno: i32) [*:0]const u8 {
    const e: kernel.E = @enumFromInt(errno);
    if (e == .NOBUFS) return "the peer does not read: more than send_queue_limit bytes were queued";
    const Strerror = *const fn (c_int) callconv(.c) [*:0]const u8;
    const strerror = python.find(Strerror, "strerror") orelse return "system call failed";
    return strerror(errno);
}
