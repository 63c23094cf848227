//! The worker's handler of HTTP connections: the events of the worker, and what all of a worker's
//! HTTP connections share. Owns the gateway's references and the pools.
//! Runs with the interpreter lock held.

const http1 = @import("http1.zig");
const http1_writer = @import("http1_writer.zig");
const http_config = @import("http_config.zig");
const http_connection = @import("http_connection.zig");
const http_exchange = @import("http_exchange.zig");
const wsgi_object = @import("wsgi_object.zig");
const http_input = @import("http_input.zig");
const http_output = @import("http_output.zig");
const http_reply = @import("http_reply.zig");
const kernel = @import("kernel.zig");
const python = @import("python.zig");
const closing = @import("closing.zig");
const timing = @import("timing.zig");
const Connection = @import("connection.zig").Connection;
const HttpConnection = http_connection.HttpConnection;
const PoolType = @import("pool.zig").PoolType;
const PythonWorker = @import("python_handler.zig").PythonWorker;
const Object = python.Object;
const c = &python.c;

pub const HttpHandler = struct {
    gateway: ?http_connection.Gateway = null,
    connections: PoolType(HttpConnection) = .{},
    /// Parsers of heads that came in part.
    parsers: PoolType(http1.HeadParser) = .{},
    chunks: http_output.Chunks = .{},
    date: http1_writer.DateField = .{},
    /// The parser of heads that come as a whole, nearly all; its spans are good until it parses
    /// the next one.
    parser: http1.HeadParser = undefined,
    /// Whose bytes are being walked through: its request may borrow from the parser.
    walking: ?*HttpConnection = null,
    /// A request whose exchange is over and that nobody kept: the next one's.
    spare: ?*Object = null,
    /// Where a reply's head is put together.
    scratch: [http_reply.head_max]u8 = undefined,

    pub fn deinit(self: *HttpHandler) void {
        if (self.gateway) |gateway| {
            inline for (.{ "object", "function", "request_type", "response_type" }) |name| {
                python.decref(@field(gateway, name));
            }
        }
        self.gateway = null;
        if (self.spare) |request| python.decref(request);
        self.spare = null;
        self.connections.deinit();
        self.parsers.deinit();
        self.chunks.deinit();
    }

    /// Serves the listeners whose factory is `gateway` by HTTP. False with an exception set.
    pub fn serve(self: *HttpHandler, gateway: *Object, config: *const http_config.HttpConfig) bool {
        http_exchange.init_names() catch return false;
        const function = c.PyObject_GetAttrString(gateway, "handler") orelse return false;
        const request_type = c.PyObject_GetAttrString(gateway, "request_type") orelse return false;
        const response_type = c.PyObject_GetAttrString(gateway, "response_type") orelse return false;
        self.gateway = .{
            .object = python.incref(gateway),
            .function = function,
            .wsgi = wsgi_object.handler_of(function),
            .request_type = request_type,
            .response_type = response_type,
            .config = config.*,
        };
        return true;
    }

    pub fn serves(self: *const HttpHandler, factory: *Object) bool {
        return self.gateway != null and self.gateway.?.object == factory;
    }

    pub fn connected(self: *HttpHandler, worker: *PythonWorker, connection: *Connection) void {
        const http = self.connections.take() orelse
            return closing.abort(worker, connection, @intFromEnum(kernel.E.NOMEM));
        http.* = .{ .gateway = &self.gateway.?, .connection = connection };
        if (self.gateway.?.config.proxy_protocol != 0) http_input.expect_preamble(worker, http);
        connection.user = http;
        connection.flags.http = true;
        connection.flags.no_bulk = true; // large bodies have targets
        http_input.settle(worker, http);
    }

    pub fn lost(self: *HttpHandler, worker: *PythonWorker, connection: *Connection, reason: i32) void {
        const http = HttpConnection.of(connection);
        if (http.would_look_complete()) kernel.reset_when_closed(connection.fd);
        if (http.request != null) {
            const cause = worker.handler.cause_of(reason);
            defer python.decref(cause);
            http_exchange.lost(worker, http, cause);
        }
        http_input.give_parser(worker, http);
        inline for (.{ "source", "source_port", "environ" }) |name| if (@field(http, name)) |held| python.decref(held);
        http.input.clear();
        http.gathered.clear();
        http.block.drop();
        connection.user = null;
        self.connections.give(http);
    }

    /// The client has taken its replies: the application may go on, or the next request.
    pub fn drained(_: *HttpHandler, worker: *PythonWorker, connection: *Connection) void {
        const http = HttpConnection.of(connection);
        const request = http.request orelse return http_input.go_on(worker, http);
        if (http.reply.stage != .begun) return;
        if (http_exchange.tell(worker, http, http_exchange.names.drained, &.{request})) return;
        worker.handler.protocols.report(worker, null, "drained");
        http_exchange.abort(worker, http);
    }

    pub fn expired(_: *HttpHandler, worker: *PythonWorker, connection: *Connection) void {
        const http = HttpConnection.of(connection);
        http_input.expired(worker, http);
        http_input.settle(worker, http);
    }
};
