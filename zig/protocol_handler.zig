//! The worker's handler that speaks to Python: factories, protocols and their transports.
//! Owns one reference to each live connection's transport and to what create was given. Runs with
//! the interpreter lock held, except between `before_wait` and `after_wait`.
//!
//! An exception in the application ends its own connection only: it goes to the hook once, with
//! its traceback, and to connection_lost (F49). KeyboardInterrupt and SystemExit are kept and come
//! out of the turn (F48).

const std = @import("std");
const kernel = @import("kernel.zig");
const python = @import("python.zig");
const python_errors = @import("python_errors.zig");
const closing = @import("closing.zig");
const fork_marker = @import("fork_marker.zig");
const protocol_block = @import("protocol_block.zig");
const transport_body = @import("transport_body.zig");
const transport_object = @import("transport_object.zig");
const connection_module = @import("connection.zig");
const Connection = connection_module.Connection;
const PythonWorker = @import("python_handler.zig").PythonWorker;
const listeners_max = @import("accept.zig").listeners_max;
const Object = python.Object;
const c = &python.c;

/// Which of the optional methods a protocol's class has.
pub const Shape = packed struct(u8) {
    buffered: bool = false,
    eof_received: bool = false,
    pause_writing: bool = false,
    resume_writing: bool = false,
    _: u4 = 0,
};

/// Method names, interned once.
const Names = struct {
    connection_made: *Object,
    data_received: *Object,
    get_buffer: *Object,
    buffer_updated: *Object,
    eof_received: *Object,
    pause_writing: *Object,
    resume_writing: *Object,
    connection_lost: *Object,
    exception: *Object,
};
pub var names: Names = undefined;
var names_ready = false;

pub fn init_names() error{PythonRaised}!void {
    if (names_ready) return;
    inline for (@typeInfo(Names).@"struct".fields) |field| {
        @field(names, field.name) = c.PyUnicode_InternFromString(field.name) orelse return error.PythonRaised;
    }
    names_ready = true;
}

/// Its address names the running thread.
threadlocal var thread_marker: u8 = 0;

pub fn this_thread() *const u8 {
    return &thread_marker;
}

pub const ProtocolHandler = struct {
    hooks: *Object,
    transport_type: *Object,
    factories: [listeners_max]?*Object = @splat(null),
    home: *const u8,
    process: u64,
    saved_thread: ?*anyopaque = null,
    /// KeyboardInterrupt or SystemExit out of the application, raised when the turn is over.
    pending: ?*Object = null,
    /// The class `last_shape` was read from; protocols of one class come in rows.
    last_type: ?*Object = null,
    last_shape: Shape = .{},

    pub fn init(hooks: *Object, transport_type: *Object) ProtocolHandler {
        return .{
            .hooks = python.incref(hooks),
            .transport_type = python.incref(transport_type),
            .home = this_thread(),
            .process = fork_marker.epoch(),
        };
    }

    pub fn deinit(self: *ProtocolHandler) void {
        for (&self.factories) |*factory| clear(factory);
        clear(&self.pending);
        clear(&self.last_type);
        python.decref(self.transport_type);
        python.decref(self.hooks);
    }

    pub fn before_wait(self: *ProtocolHandler) void {
        self.saved_thread = c.PyEval_SaveThread();
    }

    pub fn after_wait(self: *ProtocolHandler) void {
        c.PyEval_RestoreThread(self.saved_thread);
        self.saved_thread = null;
    }

    /// A connection was accepted (from listener `index`) or connected (null): make its protocol
    /// and transport, and introduce them.
    pub fn connected(self: *ProtocolHandler, worker: *PythonWorker, connection: *Connection, index: ?u32) void {
        var origin: ?*Object = null; // (factory, failed) of a connect
        defer if (origin) |pair| python.decref(pair);
        const factory = if (index) |i| self.factories[i].? else blk: {
            origin = @ptrCast(connection.user.?);
            connection.user = null;
            break :blk c.PyTuple_GetItem(origin.?, 0).?;
        };
        const protocol = c.PyObject_CallNoArgs(factory) orelse
            return self.fail(worker, connection, "protocol_factory");
        defer python.decref(protocol);
        const shape = self.shape_of(protocol) orelse return self.fail(worker, connection, "protocol_factory");
        const transport = transport_object.create(self, worker, connection, protocol, shape) orelse
            return self.fail(worker, connection, "transport");
        connection.user = transport;
        const result = call(self, protocol, names.connection_made, transport) orelse
            return self.fail(worker, connection, "connection_made");
        python.decref(result);
    }

    pub fn connect_failed(self: *ProtocolHandler, worker: *PythonWorker, connection: *Connection, reason: i32) void {
        const origin: *Object = @ptrCast(connection.user orelse return);
        connection.user = null;
        defer python.decref(origin);
        defer fork_marker.stop_unless_here(self.process);
        const failed = c.PyTuple_GetItem(origin, 1).?;
        if (failed == python.none) return;
        const errno: i32 = if (reason == 0) @intFromEnum(kernel.E.CONNABORTED) else reason;
        const err = python_errors.make(errno) orelse return self.report(worker, null, "connect");
        defer python.decref(err);
        const result = c.PyObject_CallFunctionObjArgs(failed, err, @as(?*Object, null)) orelse
            return self.report(worker, null, "connect");
        python.decref(result);
    }

    pub fn received(self: *ProtocolHandler, worker: *PythonWorker, connection: *Connection, data: []const u8) void {
        if (connection.target != null) return protocol_block.received(self, worker, connection, data);
        const body = transport_body.body_of(connection);
        if (body.shape.buffered) return self.received_buffered(worker, connection, data);
        const bytes = c.PyBytes_FromStringAndSize(data.ptr, @intCast(data.len)) orelse
            return self.fail(worker, connection, "data_received");
        defer python.decref(bytes);
        self.deliver(worker, connection, body, bytes);
    }

    pub inline fn deliver(
        self: *ProtocolHandler,
        worker: *PythonWorker,
        connection: *Connection,
        body: *const transport_body.Body,
        bytes: *Object,
    ) void {
        const result = call(self, body.protocol.?, names.data_received, bytes) orelse
            return self.fail(worker, connection, "data_received");
        python.decref(result);
    }

    pub fn updated(self: *ProtocolHandler, worker: *PythonWorker, connection: *Connection, length: usize) void {
        const count = c.PyLong_FromLongLong(@intCast(length)) orelse
            return self.fail(worker, connection, "buffer_updated");
        defer python.decref(count);
        const protocol = transport_body.body_of(connection).protocol.?;
        const result = call(self, protocol, names.buffer_updated, count) orelse
            return self.fail(worker, connection, "buffer_updated");
        python.decref(result);
    }

    /// BufferedProtocol: the bytes go into memory that the protocol lends for each part.
    fn received_buffered(
        self: *ProtocolHandler,
        worker: *PythonWorker,
        connection: *Connection,
        data: []const u8,
    ) void {
        var rest = data;
        while (rest.len > 0 and connection.phase == .open) {
            // A protocol that pauses between two parts, or was replaced, gets the rest later.
            if (connection.flags.paused) return self.hold_rest(worker, connection, rest);
            const body = transport_body.body_of(connection);
            if (!body.shape.buffered) return self.received(worker, connection, rest);
            const taken = protocol_block.fill(self, body.protocol.?, rest) orelse
                return self.fail(worker, connection, "get_buffer");
            rest = rest[taken..];
            self.updated(worker, connection, taken);
        }
    }

    fn hold_rest(self: *ProtocolHandler, worker: *PythonWorker, connection: *Connection, rest: []const u8) void {
        const nomem = @intFromEnum(kernel.E.NOMEM);
        const piece = worker.pieces.take() orelse return closing.abort(worker, connection, nomem);
        if (self.hold(rest, piece)) return connection.hold_first(piece);
        worker.pieces.give(piece);
        closing.abort(worker, connection, nomem);
    }

    /// Keeps bytes that the application does not want yet, as an object of their own.
    pub fn hold(_: *ProtocolHandler, data: []const u8, piece: *connection_module.Piece) bool {
        const bytes = c.PyBytes_FromStringAndSize(data.ptr, @intCast(data.len)) orelse {
            c.PyErr_Clear();
            return false;
        };
        piece.* = .{ .next = null, .data = python.bytes_view(bytes).?, .owner = @intFromPtr(bytes) };
        return true;
    }

    pub fn received_held(
        self: *ProtocolHandler,
        worker: *PythonWorker,
        connection: *Connection,
        piece: *const connection_module.Piece,
    ) void {
        const body = transport_body.body_of(connection);
        if (body.shape.buffered) return self.received_buffered(worker, connection, piece.data);
        self.deliver(worker, connection, body, @ptrFromInt(piece.owner));
    }

    /// The peer said its end. True: the application wants to go on writing.
    pub fn ended(self: *ProtocolHandler, worker: *PythonWorker, connection: *Connection) bool {
        const body = transport_body.body_of(connection);
        if (!body.shape.eof_received) return false;
        const result = call_plain(self, body.protocol.?, names.eof_received) orelse {
            self.fail(worker, connection, "eof_received");
            return true; // aborted already
        };
        defer python.decref(result);
        const keep = c.PyObject_IsTrue(result);
        if (keep >= 0) return keep == 1;
        self.fail(worker, connection, "eof_received");
        return true;
    }

    pub fn congested(self: *ProtocolHandler, worker: *PythonWorker, connection: *Connection) void {
        const body = transport_body.body_of(connection);
        if (!body.shape.pause_writing) return;
        const result = call_plain(self, body.protocol.?, names.pause_writing) orelse
            return self.fail(worker, connection, "pause_writing");
        python.decref(result);
    }

    pub fn drained(self: *ProtocolHandler, worker: *PythonWorker, connection: *Connection) void {
        const body = transport_body.body_of(connection);
        if (!body.shape.resume_writing) return;
        const result = call_plain(self, body.protocol.?, names.resume_writing) orelse
            return self.fail(worker, connection, "resume_writing");
        python.decref(result);
    }

    /// The connection is over for the application: the last call its protocol gets.
    pub fn lost(self: *ProtocolHandler, worker: *PythonWorker, connection: *Connection, reason: i32) void {
        const transport: *Object = @ptrCast(connection.user.?);
        connection.user = null;
        defer python.decref(transport);
        const body = transport_body.body(transport);
        const cause = body.take_failure() orelse worker.handler.cause_of(reason);
        defer python.decref(cause);
        const protocol = body.detach();
        defer python.decref(protocol);
        const result = call(self, protocol, names.connection_lost, cause) orelse
            return self.report(worker, transport, "connection_lost");
        python.decref(result);
    }

    pub fn accept_failed(self: *ProtocolHandler, worker: *PythonWorker, _: u32, errno: i32) void {
        python_errors.raise(errno);
        self.report(worker, null, "accept");
    }

    pub fn close_failed(self: *ProtocolHandler, worker: *PythonWorker, errno: i32) void {
        python_errors.raise(errno);
        self.report(worker, null, "close");
    }

    /// An exception is set: report it and end the connection with it. What was written before it
    /// still goes out, as it would have gone out at once elsewhere.
    pub fn fail(self: *ProtocolHandler, worker: *PythonWorker, connection: *Connection, where: [*:0]const u8) void {
        const transport: ?*Object = @ptrCast(connection.user);
        const failure = self.report_keeping(worker, transport, where);
        if (transport) |object| {
            transport_body.body(object).set_failure(failure);
            return closing.close(worker, connection);
        }
        if (failure) |object| python.decref(object);
        closing.abort(worker, connection, 0);
    }

    pub fn report(self: *ProtocolHandler, worker: *PythonWorker, transport: ?*Object, where: [*:0]const u8) void {
        if (self.report_keeping(worker, transport, where)) |object| python.decref(object);
    }

    /// Takes the exception that is set, tells the hook, and returns it.
    fn report_keeping(
        self: *ProtocolHandler,
        worker: *PythonWorker,
        transport: ?*Object,
        where: [*:0]const u8,
    ) ?*Object {
        worker.metrics.errors_handler += 1;
        const failure = python_errors.take() orelse return null;
        self.report_object(failure, transport, where);
        return failure;
    }

    /// Tells the hook of an exception; KeyboardInterrupt and the like are kept for the turn's end.
    pub fn report_object(self: *ProtocolHandler, failure: *Object, transport: ?*Object, where: [*:0]const u8) void {
        if (!python.is_kind(failure, python.exc.PyExc_Exception.*)) {
            if (self.pending == null) self.pending = python.incref(failure);
            return;
        }
        defer fork_marker.stop_unless_here(self.process);
        const text = c.PyUnicode_FromString(where) orelse return c.PyErr_WriteUnraisable(null);
        defer python.decref(text);
        var args = [_]*Object{ self.hooks, self.hooks, failure, text, transport orelse python.none };
        const result = c.PyObject_VectorcallMethod(names.exception, args[1..].ptr, 4 | python.arguments_offset, null) orelse
            return c.PyErr_WriteUnraisable(null);
        python.decref(result);
    }

    /// The shape of a protocol's class; null with an exception when it is no protocol.
    pub fn shape_of(self: *ProtocolHandler, protocol: *Object) ?Shape {
        const class = c.PyObject_Type(protocol) orelse return null;
        if (class == self.last_type) {
            python.decref(class);
            return self.last_shape;
        }
        inline for (.{ "connection_made", "connection_lost" }) |needed| try_has(class, needed) orelse {
            python.decref(class);
            return null;
        };
        const shape = Shape{
            .buffered = has(class, "get_buffer"),
            .eof_received = has(class, "eof_received"),
            .pause_writing = has(class, "pause_writing"),
            .resume_writing = has(class, "resume_writing"),
        };
        if (!shape.buffered) try_has(class, "data_received") orelse {
            python.decref(class);
            return null;
        };
        clear(&self.last_type);
        self.last_type = class;
        self.last_shape = shape;
        return shape;
    }
};

fn has(class: *Object, name: [*:0]const u8) bool {
    return c.PyObject_HasAttrString(class, name) == 1;
}

fn try_has(class: *Object, name: [*:0]const u8) ?void {
    if (has(class, name)) return;
    _ = c.PyErr_Format(
        python.exc.PyExc_TypeError.*,
        "protocol_factory returned %R, which has no %s(): not a protocol",
        class,
        name,
    );
    return null;
}

/// Holds the object: a protocol that replaces itself by set_protocol must outlive its own method,
/// which is no matter for Python code, whose frame holds it, but is for methods written in C.
pub fn call(handler: *const ProtocolHandler, object: *Object, name: *Object, argument: *Object) ?*Object {
    const held = python.incref(object);
    defer python.decref(held);
    defer fork_marker.stop_unless_here(handler.process);
    var args = [_]*Object{ object, object, argument };
    return c.PyObject_VectorcallMethod(name, args[1..].ptr, 2 | python.arguments_offset, null);
}

fn call_plain(handler: *const ProtocolHandler, object: *Object, name: *Object) ?*Object {
    const held = python.incref(object);
    defer python.decref(held);
    defer fork_marker.stop_unless_here(handler.process);
    var args = [_]*Object{ object, object };
    return c.PyObject_VectorcallMethod(name, args[1..].ptr, 1 | python.arguments_offset, null);
}

fn clear(place: *?*Object) void {
    const object = place.* orelse return;
    place.* = null;
    python.decref(object);
}
