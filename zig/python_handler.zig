//! The worker's handler in the library: each event goes to the connection's kind, a protocol's
//! (protocol_handler.zig) or HTTP's (http_handler.zig). Owns both; decides nothing else.

const AnyRing = @import("any_ring.zig").AnyRing;
const Bells = @import("bell_object.zig").Bells;
const connection_module = @import("connection.zig");
const fork_marker = @import("fork_marker.zig");
const http_input = @import("http_input.zig");
const http_output = @import("http_output.zig");
const kernel = @import("kernel.zig");
const protocol_block = @import("protocol_block.zig");
const python = @import("python.zig");
const python_errors = @import("python_errors.zig");
const Connection = connection_module.Connection;
const HttpConnection = @import("http_connection.zig").HttpConnection;
const HttpHandler = @import("http_handler.zig").HttpHandler;
const ProtocolHandler = @import("protocol_handler.zig").ProtocolHandler;
const WorkerType = @import("worker.zig").WorkerType;

pub const PythonWorker = WorkerType(AnyRing, PythonHandler);

pub const PythonHandler = struct {
    protocols: ProtocolHandler,
    http: HttpHandler = .{},
    bells: Bells = .{},
    /// What ended the ring: the cause of every connection's end from there on.
    ring_failure: ?*python.Object = null,

    pub fn deinit(self: *PythonHandler) void {
        self.bells.ring_all();
        self.bells.let_go();
        self.http.deinit();
        self.protocols.deinit();
        if (self.ring_failure) |failure| python.decref(failure);
    }

    /// Every connection ends with this exception; it is set as raised.
    pub fn ring_failed(self: *PythonHandler, worker: *PythonWorker, errno: i32) void {
        worker.abort_all(errno);
        if (self.ring_failure == null) self.ring_failure = python_errors.make_ring_failure(errno) orelse return;
        python_errors.raise_object(self.ring_failure.?);
    }

    /// What the end of a connection is told with: a new reference.
    pub fn cause_of(self: *const PythonHandler, reason: i32) *python.Object {
        if (reason != 0) if (self.ring_failure) |failure| return python.incref(failure);
        return python_errors.make_or_none(reason);
    }

    pub fn before_wait(self: *PythonHandler) void {
        self.protocols.before_wait();
        self.bells.ring_all();
    }

    pub fn after_wait(self: *PythonHandler) void {
        self.protocols.after_wait();
        self.bells.let_go();
    }

    pub fn connected(self: *PythonHandler, worker: *PythonWorker, connection: *Connection, index: ?u32) void {
        if (index) |listener| if (self.http.serves(self.protocols.factories[listener].?)) {
            return self.http.connected(worker, connection);
        };
        self.protocols.connected(worker, connection, index);
    }

    pub fn connect_failed(self: *PythonHandler, worker: *PythonWorker, connection: *Connection, reason: i32) void {
        self.protocols.connect_failed(worker, connection, reason);
    }

    pub fn received(self: *PythonHandler, worker: *PythonWorker, connection: *Connection, data: []const u8) void {
        if (connection.flags.http) return http_input.received(worker, HttpConnection.of(connection), data);
        self.protocols.received(worker, connection, data);
    }

    pub fn hold(self: *PythonHandler, data: []const u8, piece: *connection_module.Piece) bool {
        return self.protocols.hold(data, piece);
    }

    pub fn received_held(
        self: *PythonHandler,
        worker: *PythonWorker,
        connection: *Connection,
        piece: *const connection_module.Piece,
    ) void {
        if (connection.flags.http) return http_input.received(worker, HttpConnection.of(connection), piece.data);
        self.protocols.received_held(worker, connection, piece);
    }

    pub fn ended(self: *PythonHandler, worker: *PythonWorker, connection: *Connection) bool {
        if (connection.flags.http) return http_input.ended(worker, HttpConnection.of(connection));
        return self.protocols.ended(worker, connection);
    }

    pub fn congested(self: *PythonHandler, worker: *PythonWorker, connection: *Connection) void {
        // Whoever replies over HTTP asks how much is queued.
        if (!connection.flags.http) self.protocols.congested(worker, connection);
    }

    pub fn drained(self: *PythonHandler, worker: *PythonWorker, connection: *Connection) void {
        if (connection.flags.http) return self.http.drained(worker, connection);
        self.protocols.drained(worker, connection);
    }

    pub fn lost(self: *PythonHandler, worker: *PythonWorker, connection: *Connection, reason: i32) void {
        if (connection.flags.http) return self.http.lost(worker, connection, reason);
        self.protocols.lost(worker, connection, reason);
    }

    /// Where the next bytes are to be received to, instead of a buffer of the worker's.
    pub fn target(_: *PythonHandler, _: *PythonWorker, connection: *Connection) ?connection_module.Target {
        return if (connection.flags.http) http_input.target(HttpConnection.of(connection)) else null;
    }

    /// Where many bytes that are there are to be received to, at once.
    pub fn block(self: *PythonHandler, worker: *PythonWorker, connection: *Connection) ?connection_module.Target {
        return if (connection.flags.http) null else protocol_block.block(&self.protocols, worker, connection);
    }

    /// The time that `handler_until_ns` named has come.
    pub fn expired(self: *PythonHandler, worker: *PythonWorker, connection: *Connection) void {
        if (connection.flags.http) self.http.expired(worker, connection);
    }

    pub fn release(self: *PythonHandler, owner: usize) void {
        if (http_output.release(&self.http.chunks, owner)) return;
        python.decref(@ptrFromInt(owner)); // may run a __del__
        fork_marker.stop_unless_here(self.protocols.process);
    }

    pub fn accept_failed(self: *PythonHandler, worker: *PythonWorker, listener: u32, errno: i32) void {
        self.protocols.accept_failed(worker, listener, errno);
    }

    pub fn close_failed(self: *PythonHandler, worker: *PythonWorker, errno: i32) void {
        self.protocols.close_failed(worker, errno);
    }

    pub fn deaf(self: *PythonHandler, worker: *PythonWorker, errno: i32) void {
        const late = ", so this worker hears other threads up to 10 ms late";
        python_errors.raise_with(errno, if (errno == @intFromEnum(kernel.E.NOSPC))
            "epoll's watches are used up (sysctl fs.epoll.max_user_watches)" ++ late
        else
            "the eventfd that wakes it cannot be read" ++ late);
        self.protocols.report(worker, null, "wake-up");
    }
};
