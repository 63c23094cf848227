//! A reply's head, from what the application gave: status and fields checked and written, framing
//! added. Nothing is queued here, so that a wrong field raises before a byte has gone out.
//!
//! The application says what it replies, the server how it is framed (RFC 9112 §6): it writes
//! Content-Length, Transfer-Encoding, Connection and Date itself, and compares a Content-Length of
//! the application's with the truth.

const std = @import("std");
const http1_writer = @import("http1_writer.zig");
const kernel = @import("kernel.zig");
const python = @import("python.zig");
const http_connection = @import("http_connection.zig");
const http_input = @import("http_input.zig");
const HttpConnection = http_connection.HttpConnection;
const PythonWorker = @import("python_handler.zig").PythonWorker;
const Writer = http1_writer.Writer;
const Object = python.Object;
const c = &python.c;

pub const Error = error{PythonRaised};

/// The largest head: what is beyond is a mistake, or somebody filling cookies.
pub const head_max = 32 * 1024;

/// No head of a status and a type alone is longer.
pub const plain_max = 256;

/// How long the body will be.
pub const Length = union(enum) {
    /// All of it is at hand.
    exactly: u64,
    /// The application promises so many bytes.
    promised: u64,
    /// Nobody knows: chunked, or until the connection closes.
    unknown,
};

pub const Draft = struct {
    writer: Writer,
    /// Whose reply it is to be; null for a refusal.
    request: ?*Object,
    status: u16 = 200,
    declared: ?u64 = null,
    close: bool = false,
    dated: bool = false,

    pub fn init(worker: *PythonWorker, http: *const HttpConnection) Draft {
        return .{ .writer = .{ .buffer = &worker.handler.http.scratch }, .request = http.request };
    }

    /// A status, and fields in a list or tuple of (name, value), all str. Python code may run while
    /// they are taken, and write a head of its own; afterwards none does.
    pub fn put(self: *Draft, status: *Object, fields: *Object) Error!void {
        // A list is taken as it is, once nothing runs; without a global lock other threads do.
        const list = python.is_exactly(fields, python.types.list) and !python.free_threaded();
        const items = if (list) python.incref(fields) else c.PySequence_List(fields) orelse return error.PythonRaised;
        defer python.decref(items);
        try self.put_status(status);
        try self.put_fields(items);
    }

    /// An int, or a str such as "404 Not Found".
    fn put_status(self: *Draft, status: *Object) Error!void {
        if (c.PyIndex_Check(status) != 0) {
            const number = c.PyLong_AsLong(status);
            if (number == -1 and c.PyErr_Occurred() != null) return error.PythonRaised;
            self.status = try checked_status(number);
            return self.writer.status(self.status);
        }
        const line = python.text_view(status) orelse return error.PythonRaised;
        const well_formed = line.len >= 3 and (line.len == 3 or line[3] == ' ');
        const number = if (well_formed) three_digits(line[0..3]) else 0;
        self.status = try checked_status(number);
        const plain = http1_writer.is_plain(line);
        if (!plain and !http1_writer.is_value(line)) return value_error("a status line cannot have control characters", .{});
        self.writer.bytes("HTTP/1.1 ");
        if (plain) self.writer.bytes(line) else try self.put_latin1(status);
        if (line.len == 3) self.writer.bytes(" ");
        self.writer.bytes("\r\n");
    }

    fn put_fields(self: *Draft, items: *Object) Error!void {
        var index: python.Ssize = 0;
        const count = c.PyList_Size(items);
        while (index < count) : (index += 1) {
            const pair = c.PyList_GetItem(items, index) orelse return pair_error();
            const name = c.PyTuple_GetItem(pair, 0) orelse return pair_error();
            const value = c.PyTuple_GetItem(pair, 1) orelse return pair_error();
            try self.put_field(name, value);
        }
    }

    fn put_field(self: *Draft, name_object: *Object, value_object: *Object) Error!void {
        const name = python.text_view(name_object) orelse return error.PythonRaised;
        const value = python.text_view(value_object) orelse return error.PythonRaised;
        if (!http1_writer.is_token(name)) return value_error("%R is no field name (RFC 9110 section 5.1)", .{name_object});
        const plain = http1_writer.is_plain(value);
        if (!plain and !http1_writer.is_value(value)) {
            return value_error("the value of %R has a control character: %R", .{ name_object, value_object });
        }
        switch (name.len) {
            4 => if (is(name, "date")) {
                self.dated = true;
            },
            10 => if (is(name, "connection")) {
                if (is(value, "close")) self.close = true;
                return; // the server's own to write
            },
            14 => if (is(name, "content-length")) return self.declare(value_object, value),
            17 => if (is(name, "transfer-encoding")) {
                return value_error("Transfer-Encoding is the server's to choose: leave it out", .{});
            },
            else => {},
        }
        self.writer.bytes(name);
        self.writer.bytes(": ");
        if (plain) self.writer.bytes(value) else try self.put_latin1(value_object);
        self.writer.bytes("\r\n");
    }

    noinline fn declare(self: *Draft, object: *Object, value: []const u8) Error!void {
        const number = number_of(value) orelse return value_error("Content-Length: %R is no number", .{object});
        if (self.declared) |before| if (before != number) {
            return value_error("two different values of Content-Length", .{});
        };
        self.declared = number;
    }

    /// What is not plain ASCII as latin-1, or UnicodeEncodeError.
    noinline fn put_latin1(self: *Draft, object: *Object) Error!void {
        const encoded = c.PyUnicode_AsLatin1String(object) orelse return error.PythonRaised;
        defer python.decref(encoded);
        self.writer.bytes(python.bytes_view(encoded).?);
    }

    /// Ends the head, and settles how the body is framed and whether the connection stays.
    pub fn finish(self: *Draft, worker: *PythonWorker, http: *HttpConnection, length: Length) Error!void {
        if (http.request != self.request or (http.request != null and http.reply.stage != .none)) {
            return runtime_error("the reply has begun already");
        }
        const has_body = http1_writer.has_body(self.status);
        var reply = http_connection.Reply{
            .stage = .begun,
            .status = self.status,
            .bodyless = http.head_only or !has_body,
        };
        const shown: ?u64 = switch (length) {
            .exactly => |count| try self.agreed(count, reply.bodyless),
            .promised => |count| try self.agreed(count, false),
            .unknown => self.declared,
        };
        if (has_body) {
            if (shown) |count| {
                self.writer.content_length(count);
                reply.remaining = count;
            } else if (!http.old) {
                self.writer.bytes("Transfer-Encoding: chunked\r\n");
                reply.chunked = true;
            } else self.close = true; // HTTP/1.0: the end of the connection is the end of the body
        } else if (self.status == 304 and self.declared != null) {
            self.writer.content_length(self.declared.?);
        }
        if (!self.dated) self.writer.bytes(worker.handler.http.date.get(worker.now_ns, kernel.real_ns));
        if (self.close or worker.draining or http_input.leaves_too_much(http)) http.keep_alive = false;
        if (!http.keep_alive) {
            self.writer.bytes("Connection: close\r\n");
        } else if (http.old) self.writer.bytes("Connection: keep-alive\r\n");
        self.writer.bytes("\r\n");
        if (self.writer.full) return value_error("the reply's head has more than 32 KiB", .{});
        http.reply = reply;
    }

    /// The length to show: the true one, which a declared one has to be, unless no body is sent
    /// and the declared one tells what another method would get (RFC 9110 §9.3.2).
    fn agreed(self: *const Draft, count: u64, bodyless: bool) Error!u64 {
        const declared = self.declared orelse return count;
        if (declared == count or (bodyless and count == 0)) return declared;
        _ = c.PyErr_Format(
            python.exc.PyExc_ValueError.*,
            "Content-Length says %llu bytes, the body has %llu",
            @as(c_ulonglong, declared),
            @as(c_ulonglong, count),
        );
        return error.PythonRaised;
    }
};

/// 1xx are no final replies; 101 comes with upgrades.
fn checked_status(number: c_long) Error!u16 {
    if (number >= 200 and number <= 599) return @intCast(number);
    return value_error("a status is 200 to 599, as an int or like \"404 Not Found\"", .{});
}

/// Whether that is what it says, in letters of either case; a token, so that only letters and "-"
/// become what they are by bit 5.
fn is(text: []const u8, comptime lower: []const u8) bool {
    const Letters = @Vector(lower.len, u8);
    if (text.len != lower.len) return false;
    const found: Letters = text[0..lower.len].*;
    return @reduce(.And, found | @as(Letters, @splat(0x20)) == @as(Letters, lower[0..lower.len].*));
}

/// A number in digits alone; null for anything else, and for one beyond 64 bits.
fn number_of(text: []const u8) ?u64 {
    var number: u64 = 0;
    for (text) |byte| {
        if (!std.ascii.isDigit(byte)) return null;
        number = std.math.mul(u64, number, 10) catch return null;
        number = std.math.add(u64, number, byte - '0') catch return null;
    }
    return if (text.len > 0) number else null;
}

/// A number in three digits, or 0.
fn three_digits(text: *const [3]u8) u16 {
    var number: u16 = 0;
    for (text) |byte| {
        if (!std.ascii.isDigit(byte)) return 0;
        number = number * 10 + (byte - '0');
    }
    return number;
}

fn pair_error() Error {
    c.PyErr_Clear();
    c.PyErr_SetString(python.exc.PyExc_TypeError.*, "fields are (name, value) tuples of two str");
    return error.PythonRaised;
}

pub fn runtime_error(text: [*:0]const u8) Error {
    c.PyErr_SetString(python.exc.PyExc_RuntimeError.*, text);
    return error.PythonRaised;
}

/// Objects among the arguments are kept meanwhile: the repr of one may drop the list that they are in.
pub noinline fn value_error(text: [*:0]const u8, arguments: anytype) Error {
    inline for (arguments) |argument| _ = python.incref(argument);
    defer inline for (arguments) |argument| python.decref(argument);
    _ = @call(.auto, c.PyErr_Format, .{ python.exc.PyExc_ValueError.*, text } ++ arguments);
    return error.PythonRaised;
}
