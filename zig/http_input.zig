//! What comes in on an HTTP connection: heads for the parser, bodies for the decoder, and what has
//! to wait until the exchange before it is over. Never writes a reply of its own but refusals.
//!
//! Received bytes are used where they lie, in the receive buffer, as far as they go; only what has
//! to wait is copied. When this returns nothing points into that buffer any more.

const std = @import("std");
const kernel = @import("kernel.zig");
const python = @import("python.zig");
const closing = @import("closing.zig");
const http1 = @import("http1.zig");
const http_config = @import("http_config.zig");
const http_connection = @import("http_connection.zig");
const http_exchange = @import("http_exchange.zig");
const http_output = @import("http_output.zig");
const request_body = @import("request_body.zig");
const timing = @import("timing.zig");
const Connection = @import("connection.zig").Connection;
const HttpConnection = http_connection.HttpConnection;
const Target = @import("connection.zig").Target;
const PythonWorker = @import("python_handler.zig").PythonWorker;
const assert = std.debug.assert;
const c = &python.c;

/// Bytes came. They are used, or kept, or the connection ends.
pub fn received(worker: *PythonWorker, http: *HttpConnection, data: []const u8) void {
    assert(!http.processing);
    if (http.input.len == 0 and !http.must_wait()) {
        const used = process(worker, http, data);
        if (!keep(worker, http, data[used..])) return;
    } else {
        if (!keep(worker, http, data)) return;
        process_kept(worker, http);
    }
    settle(worker, http);
}

/// Goes on with what was kept: an exchange is over, or the client has taken its replies.
pub fn go_on(worker: *PythonWorker, http: *HttpConnection) void {
    if (http.processing or http.connection.phase != .open) return;
    process_kept(worker, http);
    settle(worker, http);
}

fn keep(worker: *PythonWorker, http: *HttpConnection, data: []const u8) bool {
    if (http.connection.phase != .open) return false;
    if (data.len == 0 or http.input.append(data)) return true;
    closing.abort(worker, http.connection, @intFromEnum(kernel.E.NOMEM));
    return false;
}

fn process_kept(worker: *PythonWorker, http: *HttpConnection) void {
    if (http.input.len == 0 or http.must_wait()) return;
    const used = process(worker, http, http.input.slice());
    http.input.drop(used);
}

/// Uses `bytes` from the front, as far as the connection's state lets it; returns how many.
fn process(worker: *PythonWorker, http: *HttpConnection, bytes: []const u8) usize {
    // A handler may answer another connection's request: that one's next may be parsed meanwhile.
    const outer = worker.handler.http.walking;
    if (outer) |other| own_head(worker, other);
    worker.handler.http.walking = http;
    defer worker.handler.http.walking = outer;
    http.processing = true;
    defer http.processing = false;
    var used: usize = 0;
    while (used < bytes.len and http.connection.phase == .open and !http.must_wait()) {
        const rest = bytes[used..];
        const step = switch (http.reading) {
            .preamble => preamble(worker, http, rest),
            .head => head(worker, http, rest),
            .gathering, .streaming, .discarding => body(worker, http, rest),
            .waiting => unreachable,
        };
        if (step == 0) break;
        used += step;
    }
    own_head(worker, http); // a request that is still under way outlives these bytes
    return used;
}

noinline fn own_head(worker: *PythonWorker, http: *HttpConnection) void {
    const request = http.request orelse return;
    if (!request_body.body(request).own()) closing.abort(worker, http.connection, @intFromEnum(kernel.E.NOMEM));
}

pub fn expect_preamble(worker: *PythonWorker, http: *HttpConnection) void {
    http.reading = .preamble;
    http.head_until_ns = after(worker, http.gateway.config.head_timeout_ns);
}

/// The PROXY protocol's header, once a connection: its gateway reads it. 0: not complete.
fn preamble(worker: *PythonWorker, http: *HttpConnection, bytes: []const u8) usize {
    const answer = ask_preamble(http, bytes) orelse {
        worker.metrics.requests_malformed += 1;
        worker.handler.protocols.report(worker, null, "proxy_protocol");
        http_exchange.abort(worker, http);
        return 0;
    };
    defer python.decref(answer);
    if (answer == python.none) return 0;
    if (c.PyTuple_Size(answer) == 0) { // no such header
        worker.metrics.requests_malformed += 1;
        http_exchange.abort(worker, http);
        return 0;
    }
    const count = c.PyLong_AsLong(c.PyTuple_GetItem(answer, 0).?);
    const source = c.PyTuple_GetItem(answer, 1).?;
    if (source != python.none) http.source = python.incref(source);
    http.reading = .head;
    http.head_until_ns = 0;
    return @intCast(count);
}

/// (length, source or None) of a header, None for a part of one; null with an exception set.
noinline fn ask_preamble(http: *HttpConnection, bytes: []const u8) ?*python.Object {
    const object = c.PyBytes_FromStringAndSize(bytes.ptr, @intCast(bytes.len)) orelse return null;
    defer python.decref(object);
    const method = c.PyObject_GetAttr(http.gateway.object, http_exchange.names.proxied) orelse return null;
    defer python.decref(method);
    return c.PyObject_CallFunctionObjArgs(method, object, @as(?*python.Object, null));
}

/// Parses; 0 when the head is not complete, and its bytes are to be kept.
fn head(worker: *PythonWorker, http: *HttpConnection, bytes: []const u8) usize {
    const handler = &worker.handler.http;
    const parser = http.parser orelse blk: {
        handler.parser.reset();
        break :blk &handler.parser;
    };
    switch (parser.feed(bytes, &http.gateway.config.limits)) {
        .more => {
            if (http.parser == null) {
                http.parser = handler.parsers.take() orelse {
                    closing.abort(worker, http.connection, @intFromEnum(kernel.E.NOMEM));
                    return 0;
                };
                http.parser.?.copy_from(parser);
            }
            if (http.head_until_ns == 0 and parser.started() and http.gateway.config.head_timeout_ns != 0) {
                http.head_until_ns = worker.now_ns + http.gateway.config.head_timeout_ns;
                http.connection.flags.busy = true; // a pause within a head is not the quiet of a drain
            }
            return 0;
        },
        .failed => |failure| {
            http_exchange.refuse(worker, http, failure.status, failure.reason.text());
            return 0;
        },
        .done => |length| {
            defer if (http.parser != null) { // the request borrows its fields from it
                own_head(worker, http);
                give_parser(worker, http);
            };
            http.head_until_ns = 0;
            if (http_exchange.begin(worker, http, &parser.head, bytes[0..length])) {
                admit(worker, http, &parser.head);
            }
            return length;
        },
    }
}

pub fn give_parser(worker: *PythonWorker, http: *HttpConnection) void {
    if (http.parser) |parser| worker.handler.http.parsers.give(parser);
    http.parser = null;
}

/// A request has begun: how its body will be read, and the application's turn if there is none.
fn admit(worker: *PythonWorker, http: *HttpConnection, parsed: *const http1.Head) void {
    if (parsed.framing == .none) return http_exchange.complete(worker, http, "");
    const config = &http.gateway.config;
    switch (http1.BodyDecoder.init(parsed, &config.limits)) {
        .ok => |decoder| http.decoder = decoder,
        .failed => |failure| {
            http.reading = .gathering; // nobody has heard of it
            return http_exchange.refuse(worker, http, failure.status, failure.reason.text());
        },
    }
    if (http.decoder.is_done()) return http_exchange.complete(worker, http, "");
    const large = parsed.framing == .length and parsed.content_length > config.buffered_body;
    if (large or http.expects) begin_stream(worker, http) else http.reading = .gathering;
}

/// One step of a body; 0 when it came to an end that ends the connection.
fn body(worker: *PythonWorker, http: *HttpConnection, bytes: []const u8) usize {
    const step = switch (http.decoder.next(bytes, &http.gateway.config.limits)) {
        .step => |step| step,
        .failed => |failure| {
            if (http.reading == .discarding) {
                http_exchange.abort(worker, http);
            } else http_exchange.refuse(worker, http, failure.status, failure.reason.text());
            return 0;
        },
    };
    http.expects = false; // the client did not wait
    const done = step.state == .done;
    switch (http.reading) {
        .gathering => gather(worker, http, step.data, done),
        .streaming => stream(worker, http, step.data, done),
        .discarding => discard(worker, http, step.data.len, done),
        .preamble, .head, .waiting => unreachable,
    }
    return step.consumed;
}

fn gather(worker: *PythonWorker, http: *HttpConnection, data: []const u8, done: bool) void {
    if (done and http.gathered.len == 0) return http_exchange.complete(worker, http, data);
    if (data.len > 0 and !http.gathered.append(data)) {
        return closing.abort(worker, http.connection, @intFromEnum(kernel.E.NOMEM));
    }
    if (done) {
        var whole = http.gathered;
        http.gathered = .{};
        defer whole.clear();
        return http_exchange.complete(worker, http, whole.slice());
    }
    if (http.gathered.len <= http.gateway.config.buffered_body) return;
    // A chunked body that turns out to be large.
    var first = http.gathered;
    http.gathered = .{};
    defer first.clear();
    begin_stream(worker, http);
    if (http.reading == .streaming and http.request != null) stream(worker, http, first.slice(), false);
}

/// The body goes up as it comes, on a thread of its own. Nothing more is received until that
/// thread asks: it may have to wait for its turn, as many others do.
noinline fn begin_stream(worker: *PythonWorker, http: *HttpConnection) void {
    http.reading = .streaming;
    http.unread = http_config.stream_max;
    http_exchange.start(worker, http);
}

fn stream(worker: *PythonWorker, http: *HttpConnection, data: []const u8, done: bool) void {
    const request = http.request.?;
    if (done) http.reading = .waiting;
    http.unread += data.len;
    var rest = data;
    while (rest.len > 0) {
        const used = http.block.put(http.connection, rest) orelse return stream_failed(worker, http, "body_data");
        rest = rest[used..];
        if (http.block.is_ready() and !hand_up(worker, http)) return;
        if (http.request != request) return;
    }
    if (!done) {
        // Nothing more is received then: a reader that asks only after a good part must get its part.
        if (http.unread >= http_config.stream_max) _ = hand_up(worker, http);
        return;
    }
    if (!hand_up(worker, http) or http.request != request) return;
    if (!http_exchange.tell(worker, http, http_exchange.names.body_end, &.{request})) {
        stream_failed(worker, http, "body_end");
    }
}

/// Gives the reader what there is of a block. False: that failed, and the connection ends.
pub noinline fn hand_up(worker: *PythonWorker, http: *HttpConnection) bool {
    if (http.block.object == null) return true;
    const bytes = http.block.give(http.connection);
    defer if (bytes) |object| python.decref(object);
    if (bytes != null and http_exchange.tell(worker, http, http_exchange.names.body_data, &.{ http.request.?, bytes.? })) {
        return true;
    }
    stream_failed(worker, http, "body_data");
    return false;
}

noinline fn stream_failed(worker: *PythonWorker, http: *HttpConnection, where: [*:0]const u8) void {
    worker.handler.protocols.report(worker, null, where);
    http_exchange.abort(worker, http);
}

/// Memory for the next bytes of a large body.
pub noinline fn target(http: *const HttpConnection) ?Target {
    if (http.reading != .streaming) return null;
    return http.block.target(http.decoder.remaining() orelse return null);
}

/// The handler has replied without reading it all: never parsed as a request (RFC 9112 §9.3).
fn discard(worker: *PythonWorker, http: *HttpConnection, count: usize, done: bool) void {
    http.discarded += count;
    if (done) {
        http.reading = .head;
    } else if (http.discarded > http.gateway.config.drain_unread) closing.close(worker, http.connection);
}

/// The exchange is over: what the connection does next.
pub fn next(worker: *PythonWorker, http: *HttpConnection) void {
    const unread = http.reading != .waiting;
    if (leaves_too_much(http)) http.keep_alive = false;
    http.gathered.clear();
    http.block.drop();
    http.expects = false;
    http.discarded = 0;
    if (!http.keep_alive) return closing.close(worker, http.connection);
    http.reading = if (unread) .discarding else .head;
    if (!http.processing) go_on(worker, http);
}

/// Whether more of the body would have to be dropped than the connection is worth. A client that
/// waits for its 100 may never send it, or send it all the same: nobody could tell.
pub fn leaves_too_much(http: *const HttpConnection) bool {
    if (http.reading != .streaming) return false;
    return http.expects or (http.decoder.remaining() orelse 0) > http.gateway.config.drain_unread;
}

/// The reader of a streamed body wants more: it waits for `needed` bytes, at least one.
pub fn want(worker: *PythonWorker, http: *HttpConnection, needed: u64) void {
    if (http.reading != .streaming) return;
    http.unread = 0;
    http.block.needed = @max(1, needed);
    if (http.block.is_ready() and !hand_up(worker, http)) return;
    if (http.expects) {
        http.expects = false;
        // Once the reply has begun a 100 would be taken for a part of it (RFC 9110 §10.1.1).
        if (http.reply.stage == .none) _ = http_output.copy(worker, http.connection, "HTTP/1.1 100 Continue\r\n\r\n");
    }
    settle(worker, http);
}

/// Whether more is to be received, and until when it has to come.
pub fn settle(worker: *PythonWorker, http: *HttpConnection) void {
    const connection = http.connection;
    if (connection.phase != .open) return;
    if (http.peer_ended and http.reading != .waiting and !(http.must_wait() and http.input.len > 0)) {
        return closing.close(worker, connection); // what is missing will never come
    }
    const full = http.input.len >= http_config.input_max and http.must_wait();
    const behind = http.reading == .streaming and http.unread >= http_config.stream_max;
    const paused = full or behind;
    if (connection.flags.paused != paused) {
        connection.flags.paused = paused;
        worker.mark_dirty(connection);
    }
    const config = &http.gateway.config;
    connection.handler_until_ns = switch (http.reading) {
        .waiting => 0,
        .preamble, .head => if (http.head_until_ns != 0) http.head_until_ns else after(worker, config.keep_alive_timeout_ns),
        .streaming => if (paused or http.expects) 0 else after(worker, config.body_timeout_ns),
        .gathering, .discarding => after(worker, config.body_timeout_ns),
    };
    if (connection.handler_until_ns != 0) timing.refresh(worker, connection);
}

fn after(worker: *PythonWorker, timeout_ns: u64) u64 {
    return if (timeout_ns == 0) 0 else worker.now_ns + timeout_ns;
}

/// The client said its end. True: its reply is still to come (RFC 9112 §9.6).
pub noinline fn ended(worker: *PythonWorker, http: *HttpConnection) bool {
    http.peer_ended = true;
    switch (http.reading) {
        .waiting => return true,
        .preamble => return false,
        .head => return http.input.len > 0 and http.must_wait(),
        .discarding => return false,
        // A body that will never be whole is never handed over as if it were (RFC 9112 §8).
        .gathering, .streaming => {
            http_exchange.refuse(worker, http, 400, "the request's body is incomplete");
            return true;
        },
    }
}

/// What had to come by now has not.
pub noinline fn expired(worker: *PythonWorker, http: *HttpConnection) void {
    switch (http.reading) {
        .waiting => {},
        .preamble, .discarding => closing.close(worker, http.connection),
        .head => {
            if (http.connection.flags.congested) return; // the write time-out's matter
            worker.metrics.timeouts += 1;
            if (http.head_until_ns == 0) return closing.close(worker, http.connection);
            http_exchange.refuse(worker, http, 408, "the request did not come in time");
        },
        .gathering, .streaming => {
            worker.metrics.timeouts += 1;
            http_exchange.refuse(worker, http, 408, "the request's body did not come in time");
        },
    }
}
