//! One exchange: from a request's head to its reply's end, and what the application has to do with
//! it. Owns the order of things; bytes come by http_input.zig and go by http_reply and http_stream.
//!
//! The application is called by its callable alone when the whole request is there and handlers
//! run on this thread. Everything else is its gateway's: bodies that still come, threads, what is
//! no plain reply, exceptions, the end of a connection.

const std = @import("std");
const http1 = @import("http1.zig");
const http1_scan = @import("http1_scan.zig");
const http1_writer = @import("http1_writer.zig");
const kernel = @import("kernel.zig");
const python = @import("python.zig");
const python_errors = @import("python_errors.zig");
const closing = @import("closing.zig");
const fork_marker = @import("fork_marker.zig");
const http_input = @import("http_input.zig");
const http_output = @import("http_output.zig");
const http_reply = @import("http_reply.zig");
const request_body = @import("request_body.zig");
const wsgi_object = @import("wsgi_object.zig");
const HttpConnection = @import("http_connection.zig").HttpConnection;
const PythonWorker = @import("python_handler.zig").PythonWorker;
const Object = python.Object;
const Error = http_reply.Error;
const c = &python.c;
const assert = std.debug.assert;

/// Names of what a gateway is asked, interned once.
const Names = struct {
    start: *Object,
    reply: *Object,
    failed: *Object,
    body_data: *Object,
    body_end: *Object,
    drained: *Object,
    lost: *Object,
    finished: *Object,
    proxied: *Object,
    status: *Object,
    _fields: *Object,
    _body: *Object,
};
pub var names: Names = undefined;
var names_ready = false;

pub fn init_names() Error!void {
    if (names_ready) return;
    inline for (@typeInfo(Names).@"struct".fields) |field| {
        @field(names, field.name) = c.PyUnicode_InternFromString(field.name) orelse return error.PythonRaised;
    }
    names_ready = true;
}

/// A head has been parsed. False: the exchange could not begin, and the connection ends.
pub fn begin(worker: *PythonWorker, http: *HttpConnection, head: *const http1.Head, bytes: []const u8) bool {
    assert(http.request == null);
    const config = &http.gateway.config;
    http.requests += 1;
    worker.metrics.requests += 1;
    http.request = request_body.create(http.gateway.request_type, &worker.handler.http.spare, worker, http, head, bytes) orelse {
        worker.handler.protocols.report(worker, null, "request");
        closing.abort(worker, http.connection, @intFromEnum(kernel.E.NOMEM));
        return false;
    };
    worker.metrics.requests_active += 1;
    http.connection.flags.busy = true;
    http.reply = .{};
    http.started_ns = worker.now_ns;
    http.keep_alive = head.keep_alive and !worker.draining and
        (config.requests_per_connection == 0 or http.requests < config.requests_per_connection);
    http.head_only = http1_scan.equals(head.method.of(bytes), "HEAD");
    http.old = head.minor == 0;
    http.expects = head.expect_continue;
    http.unread = 0;
    return true;
}

/// The whole body is there: the application's turn.
pub fn complete(worker: *PythonWorker, http: *HttpConnection, content: []const u8) void {
    http.reading = .waiting;
    const request = http.request.?;
    request_body.body(request).take_content(content) catch return raised(worker, http, request);
    if (http.gateway.config.@"inline" == 0) return start(worker, http);
    if (http.gateway.wsgi) |handler| return complete_wsgi(worker, http, request, handler);
    const result = call(worker, http.gateway.function, request) orelse return raised(worker, http, request);
    answered(worker, http, request, result);
}

/// The same without a function between, and without a tuple around a reply of one block.
fn complete_wsgi(worker: *PythonWorker, http: *HttpConnection, request: *Object, handler: *Object) void {
    const said = wsgi_object.ask(handler, request, .connection);
    fork_marker.stop_unless_here(worker.handler.protocols.process);
    switch (said catch return raised(worker, http, request)) {
        .whole => |whole| {
            defer whole.release();
            if (http.request != request) return;
            reply_bytes(worker, http, whole.status, whole.fields, whole.block) catch raised(worker, http, request);
        },
        .other => |result| answered(worker, http, request, result),
    }
}

/// Takes over what the application returned.
fn answered(worker: *PythonWorker, http: *HttpConnection, request: *Object, result: *Object) void {
    defer python.decref(result);
    // Answered already, by the request's own methods; or the connection has ended.
    if (http.request != request) return;
    answer(worker, http, result) catch raised(worker, http, request);
}

/// The application is asked on another thread, or while the body still comes.
pub fn start(worker: *PythonWorker, http: *HttpConnection) void {
    const request = http.request.?;
    if (!tell(worker, http, names.start, &.{request})) raised(worker, http, request);
}

/// What the application returned: a plain reply, or the gateway's matter.
fn answer(worker: *PythonWorker, http: *HttpConnection, result: *Object) Error!void {
    const class = python.class_of(result);
    if (class == python.types.str) {
        const text = python.text_view(result) orelse return error.PythonRaised;
        return reply_plain(worker, http, "text/plain; charset=utf-8", text, result);
    }
    if (class == python.types.bytes) {
        return reply_plain(worker, http, "application/octet-stream", python.bytes_view(result).?, result);
    }
    if (class == http.gateway.response_type) if (try answer_response(worker, http, result)) return;
    if (class == python.types.tuple and c.PyTuple_Size(result) == 3) {
        const fields = c.PyTuple_GetItem(result, 1).?;
        const content = c.PyTuple_GetItem(result, 2).?;
        if (python.is_exactly(content, python.types.bytes) and fields != python.none) {
            return reply(worker, http, c.PyTuple_GetItem(result, 0).?, fields, content);
        }
    }
    // Nothing, and something is under way: the gateway knows.
    if (result == python.none and http.reply.stage != .none) return;
    if (!tell(worker, http, names.reply, &.{ http.request.?, result })) return error.PythonRaised;
}

/// A Response of plain bytes; false when its body is something else.
fn answer_response(worker: *PythonWorker, http: *HttpConnection, result: *Object) Error!bool {
    const content = c.PyObject_GetAttr(result, names._body) orelse return error.PythonRaised;
    defer python.decref(content);
    if (!python.is_exactly(content, python.types.bytes)) return false;
    const status = c.PyObject_GetAttr(result, names.status) orelse return error.PythonRaised;
    defer python.decref(status);
    const fields = c.PyObject_GetAttr(result, names._fields) orelse return error.PythonRaised;
    defer python.decref(fields);
    try reply(worker, http, status, fields, content);
    return true;
}

fn reply_plain(
    worker: *PythonWorker,
    http: *HttpConnection,
    comptime content_type: []const u8,
    content: []const u8,
    owner: *Object,
) Error!void {
    const start_line = "HTTP/1.1 200 OK\r\nContent-Type: " ++ content_type ++ "\r\n";
    var draft = http_reply.Draft.init(worker, http);
    const least = http_reply.plain_max + content.len;
    const place = if (content.len > http_output.copy_max) null else http_output.Place.take(worker, http.connection, least);
    if (place) |known| draft.writer.buffer = known.room();
    draft.writer.bytes(start_line);
    draft.finish(worker, http, .{ .exactly = content.len }) catch |failure| {
        if (place) |unused| unused.give_back(worker);
        return failure;
    };
    const used = place orelse return send_whole(worker, http, &draft, content, owner);
    if (!http.reply.bodyless) draft.writer.bytes(content);
    assert(!draft.writer.full);
    http.reply.sent = if (http.reply.bodyless) 0 else content.len;
    used.queue(worker, http.connection, draft.writer.len);
    finish(worker, http);
}

/// Sends a whole reply. On an error nothing was sent.
pub fn reply(
    worker: *PythonWorker,
    http: *HttpConnection,
    status: *Object,
    fields: *Object,
    content: *Object,
) Error!void {
    const bytes = python.frozen(content) orelse return error.PythonRaised;
    defer python.decref(bytes);
    return reply_bytes(worker, http, status, fields, bytes);
}

/// The same with a body that is bytes already.
fn reply_bytes(worker: *PythonWorker, http: *HttpConnection, status: *Object, fields: *Object, bytes: *Object) Error!void {
    var draft = http_reply.Draft.init(worker, http);
    const view = python.bytes_view(bytes).?;
    try draft.put(status, fields);
    try draft.finish(worker, http, .{ .exactly = view.len });
    send_whole(worker, http, &draft, view, bytes);
}

fn send_whole(
    worker: *PythonWorker,
    http: *HttpConnection,
    draft: *http_reply.Draft,
    content: []const u8,
    owner: *Object,
) void {
    const connection = http.connection;
    const sent = if (http.reply.bodyless) content[0..0] else content;
    http.reply.sent = sent.len;
    if (sent.len <= http_output.copy_max) {
        draft.writer.bytes(sent);
        if (!draft.writer.full) {
            _ = http_output.copy(worker, connection, draft.writer.written());
            return finish(worker, http);
        }
    }
    _ = http_output.copy(worker, connection, draft.writer.written());
    _ = http_output.object(worker, connection, sent, owner);
    finish(worker, http);
}

/// The reply is complete: the exchange is over, the connection goes on or ends.
pub fn finish(worker: *PythonWorker, http: *HttpConnection) void {
    http.reply.stage = .ended;
    count(worker, http);
    const request = http.request.?;
    if (http.gateway.config.log != 0) log(worker, http, request);
    http.request = null;
    worker.metrics.requests_active -= 1;
    request_body.end(request, &worker.handler.http.spare);
    http.connection.flags.busy = false;
    http_input.next(worker, http);
}

noinline fn count(worker: *PythonWorker, http: *HttpConnection) void {
    const metrics = &worker.metrics;
    switch (http.reply.status / 100) {
        2 => metrics.responses_2xx += 1,
        3 => metrics.responses_3xx += 1,
        4 => metrics.responses_4xx += 1,
        else => metrics.responses_5xx += 1,
    }
    if (http.gateway.config.timed != 0) metrics.took(worker.ring.now_ns() -| http.started_ns);
}

fn log(worker: *PythonWorker, http: *HttpConnection, request: *Object) void {
    const numbers = [_]u64{ http.reply.status, http.reply.sent, http.started_ns };
    var arguments: [4]*Object = .{ request, request, request, request };
    for (numbers, arguments[1..], 0..) |number, *place, index| {
        place.* = c.PyLong_FromUnsignedLongLong(number) orelse {
            for (arguments[1..][0..index]) |made| python.decref(made);
            return worker.handler.protocols.report(worker, null, "finished");
        };
    }
    defer for (arguments[1..]) |made| python.decref(made);
    if (!tell(worker, http, names.finished, &arguments)) worker.handler.protocols.report(worker, null, "finished");
}

/// An exception is set: the gateway replies 500, once, if nothing else was said before.
noinline fn raised(worker: *PythonWorker, http: *HttpConnection, request: *Object) void {
    worker.metrics.errors_handler += 1;
    const failure = python_errors.take() orelse return abort(worker, http);
    defer python.decref(failure);
    if (http.request != request or python_errors.ends_the_worker(failure)) {
        worker.handler.protocols.report_object(failure, null, "handler");
        return abort(worker, http);
    }
    if (tell(worker, http, names.failed, &.{ request, failure })) return;
    worker.handler.protocols.report(worker, null, "failed");
    abort(worker, http);
}

/// Ends the connection now, so that nobody takes what was sent for a whole reply.
pub fn abort(worker: *PythonWorker, http: *HttpConnection) void {
    closing.abort(worker, http.connection, 0);
}

/// The request cannot go on: the client is told why and the connection ends, or is just ended when
/// a reply was under way.
pub noinline fn refuse(worker: *PythonWorker, http: *HttpConnection, status: u16, reason: []const u8) void {
    worker.metrics.requests_malformed += 1;
    const untouched = http.reply.stage == .none or http.request == null;
    if (http.request != null) lost(worker, http, python.none);
    if (!untouched) return abort(worker, http);
    var draft = http_reply.Draft.init(worker, http);
    http.keep_alive = false;
    http.head_only = false;
    http.old = false;
    draft.writer.status(status);
    draft.writer.field("Content-Type", "text/plain; charset=utf-8");
    draft.finish(worker, http, .{ .exactly = reason.len + 1 }) catch unreachable;
    draft.writer.bytes(reason);
    draft.writer.bytes("\n");
    _ = http_output.copy(worker, http.connection, draft.writer.written());
    if (status < 500) worker.metrics.responses_4xx += 1 else worker.metrics.responses_5xx += 1;
    http.reply = .{};
    closing.close(worker, http.connection);
}

/// The connection ended before the exchange: the gateway hears of it, if it knows the request.
pub noinline fn lost(worker: *PythonWorker, http: *HttpConnection, cause: *Object) void {
    const request = http.request.?;
    // What came of the body comes before the news that there will be no more.
    if (http.block.object != null and (!http_input.hand_up(worker, http) or http.request != request)) return;
    const told = http.reading != .gathering;
    http.request = null;
    worker.metrics.requests_active -= 1;
    http.connection.flags.busy = false;
    request_body.body(request).detach(true);
    if (told and !tell(worker, http, names.lost, &.{ request, cause })) {
        worker.handler.protocols.report(worker, null, "lost");
    }
    request_body.let_go(request);
}

/// Calls a method of the gateway. False: it raised.
pub noinline fn tell(worker: *PythonWorker, http: *HttpConnection, name: *Object, arguments: []const *Object) bool {
    defer fork_marker.stop_unless_here(worker.handler.protocols.process);
    var all: [6]*Object = @splat(http.gateway.object);
    @memcpy(all[2..][0..arguments.len], arguments);
    const result = c.PyObject_VectorcallMethod(name, all[1..].ptr, (1 + arguments.len) | python.arguments_offset, null) orelse return false;
    python.decref(result);
    return true;
}

fn call(worker: *PythonWorker, function: *Object, argument: *Object) ?*Object {
    defer fork_marker.stop_unless_here(worker.handler.protocols.process);
    const arguments = [_]*Object{ argument, argument }; // the first is the callee's to use
    return c.PyObject_VectorcallDict(function, arguments[1..].ptr, 1 | python.arguments_offset, null);
}
