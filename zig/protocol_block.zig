//! The memory that a protocol's bytes are received into: in bulk (bulk.zig) a `bytes` that goes up as it
//! is, cut to what came; and a BufferedProtocol's own buffer, in bulk directly, else by a copy.
//! Owns one reference to what the memory is part of, from `block` until the bytes go up or the
//! target is released. Never decides when a connection receives so.

const python = @import("python.zig");
const protocol_handler = @import("protocol_handler.zig");
const transport_body = @import("transport_body.zig");
const connection_module = @import("connection.zig");
const Connection = connection_module.Connection;
const PythonWorker = @import("python_handler.zig").PythonWorker;
const ProtocolHandler = protocol_handler.ProtocolHandler;
const Target = connection_module.Target;
const Object = python.Object;
const assert = @import("std").debug.assert;
const c = &python.c;

/// Half of what asyncio's transports receive at once: as fast here, in less memory (decision 0014).
const block_size = 128 * 1024;

/// Memory for the next bytes. Null: none that holds more than a receive buffer does.
pub fn block(handler: *ProtocolHandler, worker: *PythonWorker, connection: *Connection) ?Target {
    const body = transport_body.body_of(connection);
    if (!body.shape.buffered) return bytes_block(worker);
    const protocol = python.incref(body.protocol.?);
    defer python.decref(protocol);
    const view = lend_buffer(handler, protocol) orelse {
        handler.fail(worker, connection, "get_buffer");
        return null;
    };
    // Asking for its buffer may have put another protocol in its place.
    if (body.protocol == protocol and view.memory.len >= worker.config.buffer_size) return view;
    python.decref(@ptrFromInt(view.owner));
    return null;
}

fn bytes_block(worker: *PythonWorker) ?Target {
    if (block_size <= worker.config.buffer_size) return null;
    const object = c.PyBytes_FromStringAndSize(null, block_size) orelse {
        c.PyErr_Clear();
        return null;
    };
    return .{ .memory = @constCast(python.bytes_view(object).?), .owner = @intFromPtr(object) };
}

/// What get_buffer returned, exported to us by a memoryview; null with an exception set.
fn lend_buffer(handler: *ProtocolHandler, protocol: *Object) ?Target {
    const hint = c.PyLong_FromLongLong(block_size) orelse return null;
    defer python.decref(hint);
    const buffer = protocol_handler.call(handler, protocol, protocol_handler.names.get_buffer, hint) orelse return null;
    defer python.decref(buffer);
    const owner = c.PyMemoryView_FromObject(buffer) orelse return null;
    var view = python.Buffer{};
    if (c.PyObject_GetBuffer(owner, &view, python.PyBUF_WRITABLE) != 0) {
        python.decref(owner);
        return null;
    }
    defer c.PyBuffer_Release(&view);
    if (view.len > 0) return .{ .memory = view.buf.?[0..@intCast(view.len)], .owner = @intFromPtr(owner) };
    python.decref(owner);
    complain_of_nothing();
    return null;
}

fn complain_of_nothing() void {
    c.PyErr_SetString(python.exc.PyExc_RuntimeError.*, "get_buffer() returned an empty buffer");
}

/// The receive into the block is complete: its bytes go up.
pub noinline fn received(handler: *ProtocolHandler, worker: *PythonWorker, connection: *Connection, data: []const u8) void {
    const lent = connection.target.?;
    connection.target = null; // ours now
    assert(data.ptr == lent.memory.ptr and data.len > 0 and data.len <= lent.memory.len);
    const body = transport_body.body_of(connection);
    var object: ?*Object = @ptrFromInt(lent.owner);
    if (body.shape.buffered) {
        python.decref(object.?); // no longer exported: the application may do with it what it likes
        return handler.updated(worker, connection, data.len);
    }
    if (data.len < lent.memory.len and c._PyBytes_Resize(&object, @intCast(data.len)) != 0) {
        return handler.fail(worker, connection, "data_received");
    }
    defer python.decref(object.?);
    handler.deliver(worker, connection, body, object.?);
}

/// Copies bytes into the buffer that a BufferedProtocol lends for them; how many had room. Null with an
/// exception set.
pub fn fill(handler: *ProtocolHandler, protocol: *Object, data: []const u8) ?usize {
    const hint = c.PyLong_FromLongLong(@intCast(data.len)) orelse return null;
    defer python.decref(hint);
    const target = protocol_handler.call(handler, protocol, protocol_handler.names.get_buffer, hint) orelse return null;
    defer python.decref(target);
    var view = python.Buffer{};
    if (c.PyObject_GetBuffer(target, &view, python.PyBUF_WRITABLE) != 0) return null;
    defer c.PyBuffer_Release(&view);
    if (view.len <= 0) {
        complain_of_nothing();
        return null;
    }
    const count = @min(data.len, @as(usize, @intCast(view.len)));
    @memcpy(view.buf.?[0..count], data[0..count]);
    return count;
}
