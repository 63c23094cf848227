//! One HTTP connection: how far its request has come, how far its reply, and what waits.
//! Owns the bytes that were received and not yet used, and a reference to the request under way.
//! What happens to it lies in http_input.zig (what comes), http_reply.zig and http_stream.zig
//! (what goes), and http_handler.zig (the exchange as a whole).
//!
//! One exchange at a time: the bytes of later requests wait until its reply is complete, so that
//! replies keep the order of their requests (RFC 9112 §9.3.2).

const std = @import("std");
const http1 = @import("http1.zig");
const python = @import("python.zig");
const Block = @import("http_block.zig").Block;
const Connection = @import("connection.zig").Connection;
const HttpConfig = @import("http_config.zig").HttpConfig;
const Object = python.Object;
const c = &python.c;

/// The application behind the HTTP listeners of a worker: pyuring/gateway.py's Gateway.
pub const Gateway = struct {
    object: *Object,
    /// The application's callable: request -> what to reply.
    function: *Object,
    /// The WsgiHandler whose method that is, if it is one.
    wsgi: ?*Object,
    request_type: *Object,
    response_type: *Object,
    config: HttpConfig,
};

pub const Reading = enum(u8) {
    /// Waiting for the PROXY protocol's header in front of everything.
    preamble,
    /// Waiting for a request, or in the middle of its head.
    head,
    /// A body that the handler gets as a whole.
    gathering,
    /// A body that goes up as it comes.
    streaming,
    /// The reply is complete, the rest of the request's body is dropped.
    discarding,
    /// The request is complete, its exchange is not.
    waiting,
};

pub const Stage = enum(u8) { none, begun, ended };

/// The reply under way.
pub const Reply = struct {
    stage: Stage = .none,
    status: u16 = 0,
    chunked: bool = false,
    /// Neither HEAD's replies nor 204 and 304 have a body: what the application sends is dropped.
    bodyless: bool = false,
    /// Bytes of the body still to come; null when nobody said how many there will be.
    remaining: ?u64 = null,
    /// Bytes of the body so far.
    sent: u64 = 0,
};

pub const HttpConnection = struct {
    gateway: *const Gateway,
    connection: *Connection,
    request: ?*Object = null,
    reply: Reply = .{},
    /// The parser of a head that has not come as a whole yet.
    parser: ?*http1.HeadParser = null,
    decoder: http1.BodyDecoder = undefined,
    /// Received and not used: a head's beginning, or later requests.
    input: Bytes = .{},
    /// A body on its way to being whole.
    gathered: Bytes = .{},
    /// A part of a body that goes up as it comes.
    block: Block = .{},
    /// (host, port) of the client: as a proxy named it, else the peer's once it was asked for.
    source: ?*Object = null,
    /// The port as text, for environs.
    source_port: ?*Object = null,
    /// The part of a WSGI environ that all requests of this connection have in common.
    environ: ?*Object = null,
    discarded: u64 = 0,
    /// Bytes of the body that went up since the reader last asked for more.
    unread: u64 = 0,
    requests: u64 = 0,
    /// When the head under way must be complete; 0 when none has begun (F44).
    head_until_ns: u64 = 0,
    started_ns: u64 = 0,
    reading: Reading = .head,
    keep_alive: bool = true,
    /// HEAD; HTTP/1.0.
    head_only: bool = false,
    old: bool = false,
    /// The client waits for a 100 before it sends the body.
    expects: bool = false,
    peer_ended: bool = false,
    /// `input` or received data is being walked through, further up the stack.
    processing: bool = false,

    pub fn of(connection: *const Connection) *HttpConnection {
        return @ptrCast(@alignCast(connection.user.?));
    }

    /// Whether the bytes of a next request have to wait: for a reply, or for the client to take
    /// those it was sent already.
    pub fn must_wait(self: *const HttpConnection) bool {
        return switch (self.reading) {
            .waiting => true,
            .head => self.connection.flags.congested,
            .preamble, .gathering, .streaming, .discarding => false,
        };
    }

    /// Whether the connection's end, now, would be taken for the end of a reply that is not all
    /// out: only a body without a length and without chunks ends so (RFC 9112 §6.3, §8).
    pub fn would_look_complete(self: *const HttpConnection) bool {
        const reply = &self.reply;
        if (reply.bodyless or reply.chunked or reply.remaining != null) return false;
        return switch (reply.stage) {
            .none => false,
            .begun => true,
            .ended => self.connection.queue_first != null,
        };
    }
};

/// Bytes in memory that grows. Given back when empty, so an idle connection has none.
pub const Bytes = struct {
    pointer: ?[*]u8 = null,
    len: usize = 0,
    capacity: usize = 0,

    pub fn slice(self: *const Bytes) []u8 {
        return if (self.pointer) |pointer| pointer[0..self.len] else &.{};
    }

    /// False: no memory, and nothing was added.
    pub fn append(self: *Bytes, data: []const u8) bool {
        if (self.capacity - self.len < data.len) {
            const wanted = @max(self.len + data.len, self.capacity * 2, 512);
            const grown = c.PyMem_Realloc(self.pointer, wanted) orelse return false;
            self.pointer = @ptrCast(grown);
            self.capacity = wanted;
        }
        @memcpy(self.pointer.?[self.len..][0..data.len], data);
        self.len += data.len;
        return true;
    }

    /// Takes `count` bytes off the front.
    pub fn drop(self: *Bytes, count: usize) void {
        if (count == self.len) return self.clear();
        std.mem.copyForwards(u8, self.pointer.?[0 .. self.len - count], self.slice()[count..]);
        self.len -= count;
    }

    pub fn clear(self: *Bytes) void {
        if (self.pointer) |pointer| c.PyMem_Free(pointer);
        self.* = .{};
    }
};
