//! CallCore: the native half of pyuring.wsgi_call.Call, what one call of a WSGI application has said.
//! Takes from start_response what has passed the checks of PEP 3333 before, and hands everything
//! else to Call, which has the rules. Owns its references; the thread that has the request only.

const python = @import("python.zig");
const python_type = @import("python_type.zig");
const request_text = @import("request_text.zig");
const Object = python.Object;
const c = &python.c;

const Body = extern struct {
    request: ?*Object,
    /// Null until start_response; then both are there.
    status: ?*Object,
    fields: ?*Object,
    /// Blocks given to write(): a list, maybe empty, once the head is out.
    written: ?*Object,
    /// What sends on a pool's thread, after write().
    writer: ?*Object,
};

const references = python_type.References(Body);

const methods = python_type.Methods(&.{.{
    .name = "start_response",
    .parameters = "status, response_headers, exc_info=None",
    .flags = python.METH_FASTCALL | python.METH_KEYWORDS,
    .function = &start_response,
    .doc = "Take the status and the header fields; return `write`.",
}});

const attributes = python_type.Attributes(&.{
    references.attribute("request"),
    references.attribute("status"),
    references.attribute("fields"),
    references.attribute("written"),
    references.attribute("writer"),
});

const Names = struct { write: *Object, _start: *Object };
var names: Names = undefined;
var core_type: *Object = undefined;

/// Statuses and fields' names that have passed: the sets of pyuring.wsgi_headers, str only.
const Known = struct { statuses: *Object, names: *Object };
var known: Known = undefined;

/// Adds CallCore, and the sets, to the dict of native types.
pub fn add_types(types: *Object) error{PythonRaised}!void {
    names = .{ .write = try request_text.intern("write"), ._start = try request_text.intern("_start") };
    known = .{ .statuses = try add_set(types, "KNOWN_STATUSES"), .names = try add_set(types, "KNOWN_NAMES") };
    const flags = python.TPFLAGS_BASETYPE | python.TPFLAGS_HAVE_GC | python.TPFLAGS_DISALLOW_INSTANTIATION;
    core_type = python_type.make("pyuring._native.CallCore", Body, flags, .{
        .{ python.Py_tp_dealloc, &references.dealloc },
        .{ python.Py_tp_traverse, &references.traverse },
        .{ python.Py_tp_clear, &references.clear },
        .{ python.Py_tp_call, &write },
        .{ python.Py_tp_methods, methods.table() },
        .{ python.Py_tp_getset, attributes.table() },
        .{ python.Py_tp_doc, "The native half of pyuring.wsgi_call.Call; called, it is write()." },
    }) orelse return error.PythonRaised;
    try find_weak_list();
    if (c.PyDict_SetItemString(types, "CallCore", core_type) != 0) return error.PythonRaised;
}

fn add_set(types: *Object, name: [*:0]const u8) error{PythonRaised}!*Object {
    const set = c.PySet_New(null) orelse return error.PythonRaised;
    if (c.PyDict_SetItemString(types, name, set) != 0) return error.PythonRaised;
    return set;
}

/// Whether calls may be made of it; false with an exception set.
pub fn is_call_type(object: *Object) bool {
    const answer = c.PyObject_IsSubclass(object, core_type);
    if (answer == 0) c.PyErr_SetString(python.exc.PyExc_TypeError.*, "not a subclass of CallCore");
    return answer == 1;
}

/// A call, and the bound method start_response that the application gets, which has the only
/// reference to it.
pub const Pair = struct {
    call: *Object,
    start_response: *Object,

    /// Made of `spare`, a start_response, if there is one; null with an exception set.
    pub fn begin(spare: *?*Object, call_type: *Object, request: *Object) ?Pair {
        const pair = take(spare) orelse new(call_type) orelse return null;
        python.body(Body, pair.call).request = python.incref(request);
        return pair;
    }

    fn take(spare: *?*Object) ?Pair {
        const method = spare.* orelse return null;
        spare.* = null;
        const pair = Pair{ .call = c.PyCFunction_GetSelf(method).?, .start_response = method };
        if (pair.is_free()) return pair;
        python.decref(method);
        return null;
    }

    fn new(call_type: *Object) ?Pair {
        const call = c.PyType_GenericAlloc(call_type, 0) orelse return null;
        defer python.decref(call);
        const method = c.PyCFunction_NewEx(&methods.defs[0], call, null) orelse return null;
        return .{ .call = call, .start_response = method };
    }

    /// The call is over. When nobody keeps the one or the other they become `spare`.
    pub fn end(self: Pair, spare: *?*Object) void {
        if (!self.is_free()) return python.decref(self.start_response);
        _ = references.clear(self.call); // may run Python code
        if (spare.* == null) spare.* = self.start_response else python.decref(self.start_response);
    }

    /// Whether nobody else can use them, nor tell that they live. Calls have no weak references, by
    /// `__slots__`.
    fn is_free(self: Pair) bool {
        if (weak_list_at == 0 or !python.is_unshared(self.start_response) or !python.is_unshared(self.call)) return false;
        const weak_list: *const usize = @ptrFromInt(@intFromPtr(self.start_response) + weak_list_at);
        return weak_list.* == 0;
    }
};

/// Where a bound method's list of weak references begins.
var weak_list_at: usize = 0;

fn find_weak_list() error{PythonRaised}!void {
    const sample = c.PyCFunction_NewEx(&methods.defs[0], python.none, null) orelse return error.PythonRaised;
    defer python.decref(sample);
    const offset = c.PyObject_GetAttrString(python.class_of(sample), "__weakrefoffset__") orelse return error.PythonRaised;
    defer python.decref(offset);
    const number = c.PyLong_AsLong(offset);
    if (number == -1) return error.PythonRaised;
    weak_list_at = @intCast(number);
}

/// A reply of one block, in references of its own.
pub const Whole = struct {
    status: *Object,
    fields: *Object,
    block: *Object,

    pub fn release(self: *const Whole) void {
        inline for (.{ self.status, self.fields, self.block }) |part| python.decref(part);
    }

    /// The same as (status, fields, block); takes the references over.
    pub fn tuple(self: *const Whole) ?*Object {
        const reply = c.PyTuple_New(3) orelse {
            self.release();
            return null;
        };
        for ([_]*Object{ self.status, self.fields, self.block }, 0..) |part, i| {
            _ = c.PyTuple_SetItem(reply, @intCast(i), part);
        }
        return reply;
    }
};

/// A reply when start_response was called and write was not; then it takes over `block`.
pub fn whole_reply(call: *Object, block: *Object) ?Whole {
    const self = python.body(Body, call);
    if (self.status == null or self.written != null) return null;
    const guard = &references.guard;
    return .{ .status = guard.show(&self.status), .fields = guard.show(&self.fields), .block = block };
}

fn start_response(
    object: *Object,
    args: [*]const *Object,
    count: python.Ssize,
    keywords: ?*Object,
) callconv(.c) ?*Object {
    const self = python.body(Body, object);
    if (count == 2 and keywords == null and self.status == null and are_known(args[0], args[1])) {
        self.status = python.incref(args[0]);
        self.fields = python.incref(args[1]);
        return python.incref(object); // write, to who calls it
    }
    if (c.PyErr_Occurred() != null) return null;
    return start_in_python(object, args, count, keywords);
}

fn start_in_python(object: *Object, args: [*]const *Object, count: python.Ssize, keywords: ?*Object) ?*Object {
    const named: python.Ssize = if (keywords) |words| c.PyTuple_Size(words) else 0;
    var all: [4]*Object = undefined;
    const given: usize = @intCast(count + named);
    if (given >= all.len) {
        c.PyErr_SetString(python.exc.PyExc_TypeError.*, "start_response(status, response_headers, exc_info=None)");
        return null;
    }
    all[0] = object;
    @memcpy(all[1..][0..given], args[0..given]);
    return c.PyObject_VectorcallMethod(names._start, &all, @intCast(1 + count), keywords);
}

/// Whether each part is of the very type and has passed before. No Python code runs meanwhile: the
/// sets hold plain strings, and without the interpreter lock it is not tried.
fn are_known(status: *Object, fields: *Object) bool {
    if (python.free_threaded()) return false;
    if (!is_known(known.statuses, &recent_statuses, status) or !python.is_exactly(fields, python.types.list)) return false;
    var index = c.PyList_Size(fields);
    while (index > 0) {
        index -= 1;
        const pair = c.PyList_GetItem(fields, index).?;
        if (!python.is_exactly(pair, python.types.tuple) or c.PyTuple_Size(pair) != 2) return false;
        if (!is_known(known.names, &recent_names, c.PyTuple_GetItem(pair, 0).?)) return false;
        if (!python.is_exactly(c.PyTuple_GetItem(pair, 1).?, python.types.str)) return false;
    }
    return true;
}

/// What was found in a set before, by its address: a literal of the application's is the same object
/// each time. Strings do not change, and each has a reference here.
const Recent = [16]?*Object;
var recent_statuses: Recent = @splat(null);
var recent_names: Recent = @splat(null);

fn is_known(set: *Object, recent: *Recent, text: *Object) bool {
    const place = &recent[@intFromPtr(text) / 16 % recent.len];
    if (place.* == text) return true;
    if (!python.is_exactly(text, python.types.str) or c.PySet_Contains(set, text) != 1) return false;
    const before = place.*;
    place.* = python.incref(text);
    if (before) |other| python.decref(other);
    return true;
}

fn write(object: *Object, args: ?*Object, keywords: ?*Object) callconv(.c) ?*Object {
    const method = c.PyObject_GetAttr(object, names.write) orelse return null;
    defer python.decref(method);
    return c.PyObject_Call(method, args.?, keywords);
}
