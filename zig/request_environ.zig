//! A request as a WSGI environ (PEP 3333): the part of it that differs from request to request.
//! Owns the names of fields that were seen before; the constant part is pyuring/wsgi.py's.

const std = @import("std");
const http1_scan = @import("http1_scan.zig");
const python = @import("python.zig");
const protocol_handler = @import("protocol_handler.zig");
const request_body = @import("request_body.zig");
const request_object = @import("request_object.zig");
const request_text = @import("request_text.zig");
const Object = python.Object;
const c = &python.c;

const Error = error{PythonRaised};

const Keys = struct {
    REQUEST_METHOD: *Object,
    SCRIPT_NAME: *Object,
    PATH_INFO: *Object,
    QUERY_STRING: *Object,
    REQUEST_URI: *Object,
    RAW_URI: *Object,
    SERVER_PROTOCOL: *Object,
    REMOTE_ADDR: *Object,
    REMOTE_PORT: *Object,
    CONTENT_TYPE: *Object,
    CONTENT_LENGTH: *Object,
    HTTP_HOST: *Object,
};
var keys: Keys = undefined;
var keys_ready = false;

fn init_keys() Error!void {
    if (keys_ready) return;
    inline for (@typeInfo(Keys).@"struct".fields) |field| {
        @field(keys, field.name) = try request_text.intern(field.name);
    }
    keys_ready = true;
}

const usual_method = "GET";
const usual_minor = 1;

/// Puts into `environ`, a dict, what most requests have: `fill_copy` leaves that alone.
pub fn preset(environ: *Object) Error!void {
    try init_keys();
    try put_new(environ, keys.REQUEST_METHOD, request_text.method(usual_method));
    try put(environ, keys.QUERY_STRING, request_text.empty);
    try put(environ, keys.SERVER_PROTOCOL, request_text.protocols[usual_minor]);
}

/// Puts the request into `environ`, a dict.
pub fn fill(object: *Object, environ: *Object) Error!void {
    try preset(environ);
    try fill_copy(object, environ);
    try put_peer(object, environ);
}

/// Puts the request, but for its peer, into a copy of a dict that `preset` was done with: each entry
/// costs as much as a small object.
pub fn fill_copy(object: *Object, environ: *Object) Error!void {
    const self = request_body.body(object);
    const method = self.text(self.method);
    if (!http1_scan.equals(method, usual_method)) try put_new(environ, keys.REQUEST_METHOD, request_text.method(method));
    const query = self.text(self.query);
    if (query.len != 0) try put_new(environ, keys.QUERY_STRING, request_text.latin1(query));
    if (self.minor != usual_minor) try put(environ, keys.SERVER_PROTOCOL, request_text.protocols[self.minor]);
    const uri = self.text(self.target);
    const target = request_text.latin1(uri) orelse return error.PythonRaised;
    defer python.decref(target);
    try put(environ, keys.REQUEST_URI, target);
    try put(environ, keys.RAW_URI, target);
    const path = self.text(self.path);
    const alike = path.len == uri.len and http1_scan.passes(.unescaped, path);
    if (alike) try put(environ, keys.PATH_INFO, target) else try put_path(environ, path);
    for (self.field_list()) |field| {
        try put_field(environ, self.text(field.name), self.text(field.value));
    }
    if (authority_of(self.text(self.target))) |authority| {
        try put_new(environ, keys.HTTP_HOST, request_text.latin1(authority));
    }
}

/// The authority of a target in absolute form, which wins over Host (RFC 9112 §3.2.2).
fn authority_of(target: []const u8) ?[]const u8 {
    if (target.len == 0 or target[0] == '/') return null;
    const from = (std.mem.indexOf(u8, target, "://") orelse return null) + 3;
    const end = std.mem.indexOfAnyPos(u8, target, from, "/?") orelse target.len;
    return target[from..end];
}

fn put(environ: *Object, key: *Object, value: *Object) Error!void {
    if (c.PyDict_SetItem(environ, key, value) != 0) return error.PythonRaised;
}

noinline fn put_new(environ: *Object, key: *Object, value: ?*Object) Error!void {
    const object = value orelse return error.PythonRaised;
    defer python.decref(object);
    try put(environ, key, object);
}

noinline fn put_path(environ: *Object, path: []const u8) Error!void {
    try put_new(environ, keys.PATH_INFO, request_text.decoded_path(path, .latin1));
}

/// Puts the connection's other end into `environ`.
pub fn put_peer(object: *Object, environ: *Object) Error!void {
    const self = request_body.body(object);
    const source = request_object.source_of(self) orelse
        if (c.PyErr_Occurred() != null) return error.PythonRaised else return put(environ, keys.REMOTE_ADDR, request_text.empty);
    defer python.decref(source);
    try put(environ, keys.REMOTE_ADDR, c.PyTuple_GetItem(source, 0).?);
    const port = c.PyTuple_GetItem(source, 1).?;
    // The connection keeps what its own thread has made; elsewhere it may be gone in the next moment.
    const http = if (self.home == protocol_handler.this_thread()) self.http else null;
    if (http) |kept| if (kept.source_port) |text| return put(environ, keys.REMOTE_PORT, text);
    const text = c.PyUnicode_FromFormat("%S", port) orelse return error.PythonRaised;
    defer python.decref(text);
    if (http) |keeper| keeper.source_port = python.incref(text);
    try put(environ, keys.REMOTE_PORT, text);
}

/// A field under its CGI name. One with an underscore is left out: it would be taken for its twin
/// with a hyphen, which a proxy in front may have checked.
noinline fn put_field(environ: *Object, name: []const u8, text: []const u8) Error!void {
    const place = place_of(name);
    if (place) |known| if (known.has(name)) {
        const value = try known.value_of(text);
        defer python.decref(value);
        return put_joined(environ, known.key.?, name, value);
    };
    if (std.mem.indexOfScalar(u8, name, '_') != null) return;
    const value = request_text.latin1(text) orelse return error.PythonRaised;
    defer python.decref(value);
    if (std.ascii.eqlIgnoreCase(name, "content-type")) return put(environ, keys.CONTENT_TYPE, value);
    if (std.ascii.eqlIgnoreCase(name, "content-length")) return put(environ, keys.CONTENT_LENGTH, value);
    const key = try make_key(name);
    defer python.decref(key);
    if (place) |unknown| unknown.take(name, key);
    return put_joined(environ, key, name, value);
}

/// Repeated fields are joined (RFC 9110 §5.3).
fn put_joined(environ: *Object, key: *Object, name: []const u8, value: *Object) Error!void {
    const count = c.PyDict_Size(environ);
    const before = c.PyDict_SetDefault(environ, key, value) orelse return error.PythonRaised;
    // Equal values may be one object: strings of one character are.
    if (before == value and c.PyDict_Size(environ) != count) return;
    const cookie = std.ascii.eqlIgnoreCase(name, "cookie");
    const joined = c.PyUnicode_FromFormat(if (cookie) "%U; %U" else "%U,%U", before, value);
    try put_new(environ, key, joined);
}

/// Names come again and again: the strings made for them, HTTP_NAME, are kept, a few dozen, by their
/// bytes. So is the last value of Host, which nearly all clients share; no other, for it may be secret.
const Known = struct {
    name: [40]u8,
    length: u8,
    key: ?*Object,
    value: ?*Object,
    value_length: u8,
    value_bytes: [64]u8,

    fn has(self: *const Known, name: []const u8) bool {
        return self.key != null and self.length == name.len and std.mem.eql(u8, self.name[0..name.len], name);
    }

    fn take(self: *Known, name: []const u8, key: *Object) void {
        inline for (.{ self.key, self.value }) |old| if (old) |object| python.decref(object);
        self.key = python.incref(key);
        self.value = null;
        self.length = @intCast(name.len);
        @memcpy(self.name[0..name.len], name);
    }

    /// A new reference.
    fn value_of(self: *Known, bytes: []const u8) Error!*Object {
        if (self.key != keys.HTTP_HOST or bytes.len > self.value_bytes.len) return fresh(bytes);
        if (self.value) |object| {
            if (std.mem.eql(u8, self.value_bytes[0..self.value_length], bytes)) return python.incref(object);
        }
        const object = try fresh(bytes);
        if (self.value) |old| python.decref(old);
        self.value = python.incref(object);
        self.value_length = @intCast(bytes.len);
        @memcpy(self.value_bytes[0..bytes.len], bytes);
        return object;
    }

    fn fresh(bytes: []const u8) Error!*Object {
        return request_text.latin1(bytes) orelse error.PythonRaised;
    }
};
var known_names: [64]Known = @splat(.{
    .name = undefined,
    .length = 0,
    .key = null,
    .value = null,
    .value_length = 0,
    .value_bytes = undefined,
});

/// Where a name is kept, if anywhere. Under the interpreter lock; a free-threaded build keeps none.
fn place_of(name: []const u8) ?*Known {
    if (name.len > known_names[0].name.len or python.free_threaded()) return null;
    return &known_names[(name.len *% 7 +% name[0] +% @as(usize, name[name.len - 1]) *% 3) % known_names.len];
}

/// A new reference to HTTP_NAME; for Host to the very string that is asked for here.
fn make_key(name: []const u8) Error!*Object {
    if (std.ascii.eqlIgnoreCase(name, "host")) return python.incref(keys.HTTP_HOST);
    var room: [128]u8 = undefined;
    const prefix = "HTTP_";
    if (name.len > room.len - prefix.len) return make_long_key(name);
    @memcpy(room[0..prefix.len], prefix);
    spell(room[prefix.len..][0..name.len], name);
    return request_text.latin1(room[0 .. prefix.len + name.len]) orelse error.PythonRaised;
}

fn make_long_key(name: []const u8) Error!*Object {
    const room: [*]u8 = @ptrCast(c.PyMem_Malloc(name.len) orelse {
        _ = c.PyErr_NoMemory();
        return error.PythonRaised;
    });
    defer c.PyMem_Free(room);
    spell(room[0..name.len], name);
    const rest = request_text.latin1(room[0..name.len]) orelse return error.PythonRaised;
    defer python.decref(rest);
    return c.PyUnicode_FromFormat("HTTP_%U", rest) orelse error.PythonRaised;
}

fn spell(out: []u8, name: []const u8) void {
    for (out, name) |*to, from| to.* = if (from == '-') '_' else std.ascii.toUpper(from);
}
