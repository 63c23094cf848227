//! RequestCore: the native half of pyuring.Request. Getters make what is asked for, when it is
//! asked for, and may be called from any thread; methods that answer are the worker's thread's.
//! Owns nothing but the Python type: what a request is lies in request_body.zig.

const std = @import("std");
const http1 = @import("http1.zig");
const kernel = @import("kernel.zig");
const python = @import("python.zig");
const python_type = @import("python_type.zig");
const protocol_handler = @import("protocol_handler.zig");
const bell_object = @import("bell_object.zig");
const http_exchange = @import("http_exchange.zig");
const http_input = @import("http_input.zig");
const http_stream = @import("http_stream.zig");
const peer_name = @import("peer_name.zig");
const request_body = @import("request_body.zig");
const request_environ = @import("request_environ.zig");
const request_text = @import("request_text.zig");
const HttpConnection = @import("http_connection.zig").HttpConnection;
const PythonWorker = @import("python_handler.zig").PythonWorker;
const Body = request_body.Body;
const Object = python.Object;
const c = &python.c;

const body = request_body.body;

const getters = python_type.Attributes(&.{
    .{ .name = "method", .get = get_method, .doc = "The method, as sent." },
    .{ .name = "target", .get = get_target, .doc = "The request target, as sent." },
    .{ .name = "path", .get = get_path, .doc = "The path, percent-decoded (UTF-8, surrogateescape)." },
    .{ .name = "raw_path", .get = get_raw_path, .doc = "The path's bytes, as sent." },
    .{ .name = "query_string", .get = get_query, .doc = "What follows the question mark, as sent." },
    .{ .name = "http_version", .get = get_version, .doc = "'1.0' or '1.1'." },
    .{ .name = "content_length", .get = get_content_length, .doc = "Bytes of the body, or None." },
    .{ .name = "_body", .get = get_body, .doc = "The whole body, or None while it is coming." },
    .{ .name = "_worker", .get = get_worker, .doc = "The worker that serves the connection." },
    .{ .name = "_lost", .get = get_lost, .doc = "Whether the connection ended before the reply." },
    .{ .name = "_state", .get = get_state, .set = set_state },
});

const methods = python_type.Methods(&.{
    .fast("header(name, default=None)", header, "The first value of a field, or the default."),
    .none("header_list()", header_list, "Every (name, value), as sent, in order."),
    .one("_environ(environ)", environ, "Fill a WSGI environ."),
    .none("_peer()", peer, "(host, port), or None."),
    .fast("_reply(status, fields, body)", reply, "Send the whole reply."),
    .fast("_begin(status, fields, length)", begin, "Send the reply's head."),
    .one("_send(data)", send_part, "Send a part of the reply's body."),
    .fast("_send_file(fd, offset, count, owner)", send_file, "Send a part of a file."),
    .none("_end()", end, "The reply is complete."),
    .none("_abort()", abort, "End the connection at once."),
    .none("_queued()", queued, "Bytes the kernel has not taken yet."),
    .one("_want(needed)", want, "Let more of the body come: its reader waits for so many bytes."),
    .one("_wake_and_wait(bell)", wake_and_wait, "On another thread: wake the worker, and wait for the bell."),
});

/// Adds RequestCore to the dict of native types.
pub fn add_types(types: *Object) error{PythonRaised}!void {
    try request_text.init_names();
    const object = python_type.make("pyuring._native.RequestCore", Body, python.TPFLAGS_BASETYPE | python.TPFLAGS_DISALLOW_INSTANTIATION, .{
        .{ python.Py_tp_dealloc, &request_body.dealloc },
        .{ python.Py_tp_methods, methods.table() },
        .{ python.Py_tp_getset, getters.table() },
        .{ python.Py_tp_doc, "The native half of pyuring.Request." },
    }) orelse return error.PythonRaised;
    core_type = object;
    if (c.PyDict_SetItemString(types, "RequestCore", object) != 0) return error.PythonRaised;
}

/// The type itself, for the check. Lives as long as the process.
var core_type: *Object = undefined;

/// Whether it is a RequestCore, or of a class derived from it.
pub fn is_request(object: *Object) bool {
    return python.is_kind(object, core_type);
}

fn get_method(object: *Object, _: ?*anyopaque) callconv(.c) ?*Object {
    return request_text.method(body(object).text(body(object).method));
}

fn get_target(object: *Object, _: ?*anyopaque) callconv(.c) ?*Object {
    return request_text.latin1(body(object).text(body(object).target));
}

fn get_path(object: *Object, _: ?*anyopaque) callconv(.c) ?*Object {
    return request_text.decoded_path(body(object).text(body(object).path), .utf8);
}

fn get_raw_path(object: *Object, _: ?*anyopaque) callconv(.c) ?*Object {
    const path = body(object).text(body(object).path);
    return c.PyBytes_FromStringAndSize(path.ptr, @intCast(path.len));
}

fn get_query(object: *Object, _: ?*anyopaque) callconv(.c) ?*Object {
    return request_text.latin1(body(object).text(body(object).query));
}

fn get_version(object: *Object, _: ?*anyopaque) callconv(.c) ?*Object {
    return python.incref(request_text.versions[body(object).minor]);
}

fn get_content_length(object: *Object, _: ?*anyopaque) callconv(.c) ?*Object {
    if (body(object).framing != .length) return python.return_none();
    return c.PyLong_FromUnsignedLongLong(body(object).content_length);
}

fn get_body(object: *Object, _: ?*anyopaque) callconv(.c) ?*Object {
    return body(object).show_content();
}

fn get_worker(object: *Object, _: ?*anyopaque) callconv(.c) ?*Object {
    return python.incref(body(object).hooks orelse python.none);
}

fn get_lost(object: *Object, _: ?*anyopaque) callconv(.c) ?*Object {
    return c.PyBool_FromLong(@intFromBool(body(object).lost));
}

fn get_state(object: *Object, _: ?*anyopaque) callconv(.c) ?*Object {
    return body(object).guard.show(&body(object).state);
}

fn set_state(object: *Object, value: ?*Object, _: ?*anyopaque) callconv(.c) c_int {
    body(object).guard.swap(&body(object).state, if (value) |given| python.incref(given) else null);
    return 0;
}

fn header(object: *Object, args: [*]const *Object, count: python.Ssize) callconv(.c) ?*Object {
    if (count < 1 or count > 2) return arguments_wrong("header() takes a name and a default");
    const name = python.text_view(args[0]) orelse return null;
    if (body(object).find(name)) |value| return request_text.latin1(value);
    return python.incref(if (count == 2) args[1] else python.none);
}

fn header_list(object: *Object, _: ?*Object) callconv(.c) ?*Object {
    const self = body(object);
    const list = c.PyList_New(@intCast(self.field_count)) orelse return null;
    for (self.field_list(), 0..) |field, index| {
        const pair = pair_of(self.text(field.name), self.text(field.value)) orelse {
            python.decref(list);
            return null;
        };
        _ = c.PyList_SetItem(list, @intCast(index), pair);
    }
    return list;
}

fn pair_of(name: []const u8, value: []const u8) ?*Object {
    const pair = c.PyTuple_New(2) orelse return null;
    inline for (.{ name, value }, 0..) |bytes, index| {
        const text = request_text.latin1(bytes) orelse {
            python.decref(pair);
            return null;
        };
        _ = c.PyTuple_SetItem(pair, index, text);
    }
    return pair;
}

fn environ(object: *Object, dict: *Object) callconv(.c) ?*Object {
    request_environ.fill(object, dict) catch return null;
    return python.return_none();
}

/// (host, port), or None for a Unix socket's peer, and for one that is gone.
fn peer(object: *Object, _: ?*Object) callconv(.c) ?*Object {
    if (source_of(body(object))) |source| return source;
    return if (c.PyErr_Occurred() == null) python.return_none() else null;
}

/// The client as a proxy named it, else as the socket does: a new reference; null without one, or
/// with an exception set. The socket is asked when somebody asks (F60), by its own thread once.
pub fn source_of(self: *Body) ?*Object {
    var name: peer_name.Name = undefined;
    if (ask(self, &name)) |known| return known;
    if (name.length == 0) return null;
    const made = name.to_tuple() orelse return null;
    if (self.home != protocol_handler.this_thread()) return made;
    const http = self.http orelse return made;
    http.source = python.incref(made);
    return made;
}

/// What is known already; or `name` is filled, with nothing if there is no name. Under the guard,
/// because on another thread the descriptor might become somebody else's meanwhile.
fn ask(self: *Body, name: *peer_name.Name) ?*Object {
    name.length = 0;
    self.guard.lock();
    defer self.guard.unlock();
    const http = self.http orelse return null;
    if (http.source) |known| return python.incref(known);
    if (!name.ask(http.connection.fd)) name.length = 0;
    return null;
}

const Place = struct { worker: *PythonWorker, http: *HttpConnection };

/// Where the exchange is, for methods that act on it; null with an exception set.
fn place_of(object: *Object) ?Place {
    const self = body(object);
    if (self.home != protocol_handler.this_thread()) {
        c.PyErr_SetString(
            python.exc.PyExc_RuntimeError.*,
            "only on the worker's own thread; from another one, use call_soon_threadsafe",
        );
        return null;
    }
    if (self.http) |http| return .{ .worker = self.worker.?, .http = http };
    if (self.lost) {
        c.PyErr_SetString(python.exc.PyExc_ConnectionResetError.*, "the client has gone");
    } else c.PyErr_SetString(python.exc.PyExc_RuntimeError.*, "already answered");
    return null;
}

fn done(result: error{PythonRaised}!void) ?*Object {
    result catch return null;
    return python.return_none();
}

fn wake_and_wait(object: *Object, bell: *Object) callconv(.c) ?*Object {
    if (!bell_object.is_bell(bell)) return arguments_wrong("_wake_and_wait() takes a Bell");
    return bell_object.wait_after(bell, body(object), wake);
}

fn wake(self: *Body) void {
    self.waking.lock(); // the worker lives while the exchange does
    defer self.waking.unlock();
    if (self.worker) |worker| worker.mailbox.notify();
}

fn arguments_wrong(text: [*:0]const u8) ?*Object {
    c.PyErr_SetString(python.exc.PyExc_TypeError.*, text);
    return null;
}

fn reply(object: *Object, args: [*]const *Object, count: python.Ssize) callconv(.c) ?*Object {
    if (count != 3) return arguments_wrong("_reply() takes a status, fields and a body");
    const place = place_of(object) orelse return null;
    return done(http_exchange.reply(place.worker, place.http, args[0], args[1], args[2]));
}

fn begin(object: *Object, args: [*]const *Object, count: python.Ssize) callconv(.c) ?*Object {
    if (count != 3) return arguments_wrong("_begin() takes a status, fields and a length");
    const place = place_of(object) orelse return null;
    var length: ?u64 = null;
    if (args[2] != python.none) {
        length = c.PyLong_AsUnsignedLongLong(args[2]);
        if (c.PyErr_Occurred() != null) return null;
    }
    return done(http_stream.begin(place.worker, place.http, args[0], args[1], length));
}

fn send_part(object: *Object, data: *Object) callconv(.c) ?*Object {
    const place = place_of(object) orelse return null;
    return done(http_stream.send_bytes(place.worker, place.http, data));
}

fn send_file(object: *Object, args: [*]const *Object, count: python.Ssize) callconv(.c) ?*Object {
    if (count != 4) return arguments_wrong("_send_file() takes a descriptor, an offset, a count and an owner");
    const place = place_of(object) orelse return null;
    const fd = c.PyObject_AsFileDescriptor(args[0]);
    if (fd < 0) return null;
    var numbers: [2]u64 = undefined;
    for (&numbers, args[1..3]) |*number, argument| {
        number.* = c.PyLong_AsUnsignedLongLong(argument);
        if (c.PyErr_Occurred() != null) return null;
    }
    return done(http_stream.send_file(place.worker, place.http, fd, numbers[0], numbers[1], args[3]));
}

fn end(object: *Object, _: ?*Object) callconv(.c) ?*Object {
    const place = place_of(object) orelse return null;
    const complete = http_stream.end(place.worker, place.http) catch return null;
    return c.PyBool_FromLong(@intFromBool(complete));
}

fn abort(object: *Object, _: ?*Object) callconv(.c) ?*Object {
    const self = body(object);
    if (self.http == null) return python.return_none();
    const place = place_of(object) orelse return null;
    http_exchange.abort(place.worker, place.http);
    return python.return_none();
}

fn queued(object: *Object, _: ?*Object) callconv(.c) ?*Object {
    const place = place_of(object) orelse return null;
    return c.PyLong_FromUnsignedLongLong(place.http.connection.queued_bytes);
}

fn want(object: *Object, needed: *Object) callconv(.c) ?*Object {
    const count = c.PyLong_AsUnsignedLongLong(needed);
    if (c.PyErr_Occurred() != null) return null;
    const place = place_of(object) orelse return null;
    http_input.want(place.worker, place.http, count);
    return python.return_none();
}
