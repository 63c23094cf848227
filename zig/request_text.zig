//! Bytes of a request as Python strings: made once where there are few, decoded where they vary.
//! Owns the strings that are made once; never looks at a connection.

const std = @import("std");
const python = @import("python.zig");
const Object = python.Object;
const c = &python.c;

const method_names = [_][:0]const u8{ "GET", "POST", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS" };
var methods: [method_names.len]*Object = undefined;
/// "1.0" and "1.1"; "HTTP/1.0" and "HTTP/1.1".
pub var versions: [2]*Object = undefined;
pub var protocols: [2]*Object = undefined;
pub var empty: *Object = undefined;
/// The body of a request that has none.
pub var no_bytes: *Object = undefined;
var ready = false;

pub fn init_names() error{PythonRaised}!void {
    if (ready) return;
    for (&methods, method_names) |*place, name| place.* = try intern(name);
    for (&versions, [_][:0]const u8{ "1.0", "1.1" }) |*place, name| place.* = try intern(name);
    for (&protocols, [_][:0]const u8{ "HTTP/1.0", "HTTP/1.1" }) |*place, name| place.* = try intern(name);
    empty = try intern("");
    no_bytes = c.PyBytes_FromStringAndSize("", 0) orelse return error.PythonRaised;
    ready = true;
}

pub fn intern(name: [*:0]const u8) error{PythonRaised}!*Object {
    return c.PyUnicode_InternFromString(name) orelse error.PythonRaised;
}

pub fn method(name: []const u8) ?*Object {
    for (method_names, methods) |known, object| {
        if (std.mem.eql(u8, known, name)) return python.incref(object);
    }
    return latin1(name);
}

/// PEP 3333 and RFC 9110 §5.5: bytes that mean no encoding show as latin-1.
pub noinline fn latin1(bytes: []const u8) ?*Object {
    return c.PyUnicode_DecodeLatin1(bytes.ptr, @intCast(bytes.len), null);
}

pub const Encoding = enum { utf8, latin1 };

/// Percent-decoded (RFC 3986 §2.1). A percent sign without two digits stands for itself, as every
/// peer has it. What is not UTF-8 becomes lone surrogates, so that nothing is lost.
pub fn decoded_path(path: []const u8, encoding: Encoding) ?*Object {
    if (std.mem.indexOfScalar(u8, path, '%') == null) return decode(path, encoding);
    const room: [*]u8 = @ptrCast(c.PyMem_Malloc(path.len) orelse return c.PyErr_NoMemory());
    defer c.PyMem_Free(room);
    var length: usize = 0;
    var index: usize = 0;
    while (index < path.len) : (length += 1) {
        if (escaped(path[index..])) |byte| {
            room[length] = byte;
            index += 3;
        } else {
            room[length] = path[index];
            index += 1;
        }
    }
    return decode(room[0..length], encoding);
}

fn escaped(text: []const u8) ?u8 {
    if (text.len < 3 or text[0] != '%') return null;
    const high = std.fmt.charToDigit(text[1], 16) catch return null;
    const low = std.fmt.charToDigit(text[2], 16) catch return null;
    return high << 4 | low;
}

fn decode(bytes: []const u8, encoding: Encoding) ?*Object {
    return switch (encoding) {
        .utf8 => c.PyUnicode_DecodeUTF8(bytes.ptr, @intCast(bytes.len), "surrogateescape"),
        .latin1 => latin1(bytes),
    };
}
