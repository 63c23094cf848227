//! A reply in parts: its head, pieces of its body, parts of files, its end.
//! Queues only; how much is queued is the caller's to watch, who is told when it has drained.

const std = @import("std");
const http1_writer = @import("http1_writer.zig");
const python = @import("python.zig");
const http_exchange = @import("http_exchange.zig");
const http_output = @import("http_output.zig");
const http_reply = @import("http_reply.zig");
const HttpConnection = @import("http_connection.zig").HttpConnection;
const PythonWorker = @import("python_handler.zig").PythonWorker;
const Object = python.Object;
const Error = http_reply.Error;
const c = &python.c;

/// Sends the head. `length` null: what the fields say, else nobody knows.
pub fn begin(
    worker: *PythonWorker,
    http: *HttpConnection,
    status: *Object,
    fields: *Object,
    length: ?u64,
) Error!void {
    var draft = http_reply.Draft.init(worker, http);
    try draft.put(status, fields);
    try draft.finish(worker, http, if (length) |count| .{ .promised = count } else .unknown);
    _ = http_output.copy(worker, http.connection, draft.writer.written());
}

/// Sends a part of the body: a bytes-like object. Empty ones are nothing, not the end.
pub fn send_bytes(worker: *PythonWorker, http: *HttpConnection, data: *Object) Error!void {
    const bytes = python.frozen(data) orelse return error.PythonRaised;
    defer python.decref(bytes);
    const view = python.bytes_view(bytes).?;
    if (view.len == 0 or !try admit(http, view.len)) return;
    open_frame(worker, http, view.len);
    _ = http_output.object(worker, http.connection, view, bytes);
    close_frame(worker, http);
}

/// Sends `count` bytes of a file from `offset` on, without their passing through user memory.
pub fn send_file(
    worker: *PythonWorker,
    http: *HttpConnection,
    fd: i32,
    offset: u64,
    count: u64,
    owner: *Object,
) Error!void {
    const most = std.math.maxInt(i64);
    if (offset > most or count > most - offset) {
        return http_reply.value_error("offset and count together are at most 2**63 - 1", .{});
    }
    if (count > most -| http.connection.queued_bytes) {
        return http_reply.value_error("more than 2**63 - 1 bytes would be queued", .{});
    }
    if (count == 0 or !try admit(http, count)) return;
    open_frame(worker, http, count);
    _ = http_output.file(worker, http.connection, fd, offset, count, owner);
    close_frame(worker, http);
}

/// Whether the part is to be sent; counts it. A body longer than promised is an error.
noinline fn admit(http: *HttpConnection, count: u64) Error!bool {
    const reply = &http.reply;
    if (reply.stage != .begun) return http_reply.runtime_error("the reply has no head yet");
    if (reply.bodyless) return false;
    if (reply.remaining) |left| {
        if (count > left) return http_reply.value_error("the body is longer than its Content-Length", .{});
        reply.remaining = left - count;
    }
    reply.sent +|= count;
    return true;
}

noinline fn open_frame(worker: *PythonWorker, http: *HttpConnection, count: u64) void {
    if (!http.reply.chunked) return;
    var room: [24]u8 = undefined;
    var writer = http1_writer.Writer{ .buffer = &room };
    writer.chunk_size(count);
    _ = http_output.copy(worker, http.connection, writer.written());
}

noinline fn close_frame(worker: *PythonWorker, http: *HttpConnection) void {
    if (http.reply.chunked) _ = http_output.copy(worker, http.connection, "\r\n");
}

/// The reply is complete. False: it is shorter than promised, so the connection is aborted, lest
/// the next reply be taken for its rest.
pub fn end(worker: *PythonWorker, http: *HttpConnection) Error!bool {
    if (http.reply.stage != .begun) return http_reply.runtime_error("the reply has no head yet");
    const reply = &http.reply;
    if (!reply.bodyless and reply.remaining != null and reply.remaining.? > 0) {
        http_exchange.abort(worker, http);
        return false;
    }
    if (reply.chunked and !reply.bodyless) _ = http_output.copy(worker, http.connection, http1_writer.last_chunk);
    http_exchange.finish(worker, http);
    return true;
}
