//! WsgiHandler: calls a WSGI application with a request (PEP 3333). The short way from a request to a
//! reply of one block lies here; everything else is pyuring.wsgi_call's.
//! Owns references to what is the same for every request, and never changes them. Any thread.

const python = @import("python.zig");
const python_type = @import("python_type.zig");
const request_body = @import("request_body.zig");
const request_environ = @import("request_environ.zig");
const request_object = @import("request_object.zig");
const request_text = @import("request_text.zig");
const wsgi_call_object = @import("wsgi_call_object.zig");
const Object = python.Object;
const Error = error{PythonRaised};
const c = &python.c;

const Body = extern struct {
    app: ?*Object,
    /// The constant part of the environ, a dict of our own, with what most requests have.
    base: ?*Object,
    /// The worker's subclass of CallCore.
    call_type: ?*Object,
    /// `adjust(environ, request)`, or None.
    adjust: ?*Object,
    /// io.BytesIO.
    new_input: ?*Object,
    /// What `base` has as wsgi.input, for all requests without a body; or None.
    no_body: ?*Object,
    /// A start_response that no call has.
    spare: ?*Object,
};

/// What the constructor takes: the rest is made of it.
const given_count = @typeInfo(Body).@"struct".fields.len - 2;

const references = python_type.References(Body);

const methods = python_type.Methods(&.{
    .one("handle(request)", handle, "Call the application; return (status, fields, body) or what the gateway sends."),
});

const Names = struct { stream: *Object, answer: *Object, _environ: *Object, _body: *Object, wsgi_input: *Object };
var names: Names = undefined;

/// Adds WsgiHandler to the dict of native types.
pub fn add_types(types: *Object) Error!void {
    names = .{
        .stream = try request_text.intern("stream"),
        .answer = try request_text.intern("answer"),
        ._environ = try request_text.intern("_environ"),
        ._body = try request_text.intern("_body"),
        .wsgi_input = try request_text.intern("wsgi.input"),
    };
    try wsgi_call_object.add_types(types);
    // Without tp_clear, so that no call finds a reference gone: every ring of references that it is
    // part of goes through something else that can be cleared (call_type is a class).
    const object = python_type.make("pyuring._native.WsgiHandler", Body, python.TPFLAGS_HAVE_GC, .{
        .{ python.Py_tp_new, &new },
        .{ python.Py_tp_dealloc, &references.dealloc },
        .{ python.Py_tp_traverse, &references.traverse },
        .{ python.Py_tp_methods, methods.table() },
        .{ python.Py_tp_doc, "WsgiHandler(app, base, call_type, adjust, new_input): the native half of pyuring.wsgi." },
    }) orelse return error.PythonRaised;
    defer python.decref(object);
    if (c.PyDict_SetItemString(types, "WsgiHandler", object) != 0) return error.PythonRaised;
}

fn new(object_class: *Object, args: ?*Object, _: ?*Object) callconv(.c) ?*Object {
    const fields = @typeInfo(Body).@"struct".fields;
    const given = args orelse return null;
    if (c.PyTuple_Size(given) != given_count) {
        c.PyErr_SetString(python.exc.PyExc_TypeError.*, "WsgiHandler(app, base, call_type, adjust, new_input)");
        return null;
    }
    if (!wsgi_call_object.is_call_type(c.PyTuple_GetItem(given, 2).?)) return null;
    const base = c.PyDict_Copy(c.PyTuple_GetItem(given, 1).?) orelse return null;
    defer python.decref(base);
    request_environ.preset(base) catch return null;
    const object = c.PyType_GenericAlloc(object_class, 0) orelse return null;
    const self = python.body(Body, object);
    inline for (fields[0..given_count], 0..) |field, i| {
        @field(self, field.name) = python.incref(c.PyTuple_GetItem(given, i).?);
    }
    python.decref(self.base.?);
    self.base = python.incref(base);
    self.no_body = python.incref(c.PyDict_GetItemWithError(base, names.wsgi_input) orelse python.none);
    return object;
}

fn handle(object: *Object, request: *Object) callconv(.c) ?*Object {
    const asks: Asks = if (request_object.is_request(request)) .core else .stand_in;
    return switch (ask(object, request, asks) catch return null) {
        .whole => |whole| whole.tuple(),
        .other => |result| result,
    };
}

/// What a call came to, in new references.
pub const Answer = union(enum) {
    whole: wsgi_call_object.Whole,
    /// What the gateway knows how to send.
    other: *Object,
};

/// The WsgiHandler that `function` is the method `handle` of, or null: a borrowed reference.
pub fn handler_of(function: *Object) ?*Object {
    const native = c.PyCFunction_GetFunction(function);
    if (native == @as(?*const anyopaque, @ptrCast(&handle))) return c.PyCFunction_GetSelf(function);
    c.PyErr_Clear(); // a function that is none of C's
    return null;
}

/// Where a request comes from.
pub const Asks = enum {
    /// A connection, on its own thread; all its requests come this way, to one handler.
    connection,
    /// Elsewhere: a RequestCore.
    core,
    /// A stand-in for one, as tests and middleware may have.
    stand_in,
};

/// Calls the application with a request.
pub fn ask(object: *Object, request: *Object, asks: Asks) Error!Answer {
    const self = python.body(Body, object);
    const environ = try environ_of(self, request, asks);
    defer python.decref(environ);
    const pair = wsgi_call_object.Pair.begin(&self.spare, self.call_type.?, request) orelse return error.PythonRaised;
    defer pair.end(&self.spare);
    const call = pair.call;
    const arguments = [_]*Object{ environ, environ, pair.start_response }; // the first is the callee's to use
    const result = c.PyObject_VectorcallDict(self.app.?, arguments[1..].ptr, 2 | python.arguments_offset, null) orelse
        return error.PythonRaised;
    defer python.decref(result);
    if (only_block(result)) |block| {
        if (wsgi_call_object.whole_reply(call, block)) |whole| return .{ .whole = whole };
        python.decref(block);
    }
    const other = c.PyObject_VectorcallMethod(names.answer, &.{ call, result }, 2, null) orelse return error.PythonRaised;
    return .{ .other = other };
}

fn environ_of(self: *const Body, request: *Object, asks: Asks) Error!*Object {
    const shared = if (asks == .connection) try shared_of(self, request) else null;
    const environ = c.PyDict_Copy(shared orelse self.base.?) orelse return error.PythonRaised;
    errdefer python.decref(environ);
    if (asks == .stand_in) try ask_to_fill(request, environ) else try request_environ.fill_copy(request, environ);
    if (asks != .stand_in and shared == null) try request_environ.put_peer(request, environ);
    const input = input_of(self, request, asks != .stand_in) orelse return error.PythonRaised;
    defer python.decref(input);
    if (input != self.no_body.? and c.PyDict_SetItem(environ, names.wsgi_input, input) != 0) return error.PythonRaised;
    if (self.adjust.? != python.none) {
        const end: ?*Object = null;
        const done = c.PyObject_CallFunctionObjArgs(self.adjust.?, environ, request, end) orelse return error.PythonRaised;
        python.decref(done);
    }
    return environ;
}

/// What a connection's environs have in common, made for its second one: many have but one request,
/// and this takes a kilobyte. Borrowed; null for a first one.
fn shared_of(self: *const Body, request: *Object) Error!?*Object {
    const http = request_body.body(request).http.?;
    if (http.environ != null or http.requests < 2) return http.environ;
    const made = c.PyDict_Copy(self.base.?) orelse return error.PythonRaised;
    errdefer python.decref(made);
    try request_environ.put_peer(request, made);
    http.environ = made;
    return made;
}

fn ask_to_fill(request: *Object, environ: *Object) Error!void {
    const done = c.PyObject_VectorcallMethod(names._environ, &.{ request, environ }, 2, null) orelse return error.PythonRaised;
    python.decref(done);
}

/// The body from memory, or the stream of one that is still coming.
fn input_of(self: *const Body, request: *Object, native: bool) ?*Object {
    const content = if (native)
        request_body.body(request).show_content()
    else
        c.PyObject_GetAttr(request, names._body) orelse return null;
    defer python.decref(content);
    if (content == python.none) return c.PyObject_GetAttr(request, names.stream);
    if (self.no_body.? != python.none) {
        if (python.bytes_view(content)) |bytes| if (bytes.len == 0) return python.incref(self.no_body.?);
    }
    return c.PyObject_CallFunctionObjArgs(self.new_input.?, content, @as(?*Object, null));
}

/// A new reference to the bytes that a list or a tuple of one item consists of.
fn only_block(result: *Object) ?*Object {
    const is_list = python.is_exactly(result, python.types.list);
    if (is_list and python.free_threaded()) return null; // other threads may change it meanwhile
    const block = if (is_list)
        if (c.PyList_Size(result) == 1) c.PyList_GetItem(result, 0) else null
    else if (python.is_exactly(result, python.types.tuple))
        if (c.PyTuple_Size(result) == 1) c.PyTuple_GetItem(result, 0) else null
    else
        null;
    const object = block orelse return null;
    return if (python.is_exactly(object, python.types.bytes)) python.incref(object) else null;
}
