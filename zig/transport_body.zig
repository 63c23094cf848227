//! What lies in a TransportCore behind the object's head, and who may look at it from where.
//! Owns references to the protocol, the hooks and what was asked of the socket. The connection is
//! the worker's: it is named here from connection_made to connection_lost, changed on the worker's
//! thread only, and looked at elsewhere under the guard.

const python = @import("python.zig");
const protocol_handler = @import("protocol_handler.zig");
const Connection = @import("connection.zig").Connection;
const Guard = @import("guard.zig").Guard;
const PythonWorker = @import("python_handler.zig").PythonWorker;
const Shape = protocol_handler.Shape;
const Object = python.Object;
const c = &python.c;

pub const Body = extern struct {
    /// The worker's thread. Compared before the worker is looked at: on another thread the worker
    /// may be gone in the next moment.
    home: ?*const u8,
    /// Null from connection_lost on.
    worker: ?*PythonWorker,
    /// Null from connection_lost on.
    connection: ?*Connection,
    protocol: ?*Object,
    hooks: ?*Object,
    /// The application's exception that ended the connection, until connection_lost has it.
    failure: ?*Object,
    /// What get_extra_info has found so far; Python's alone, and kept after the end.
    extra: ?*Object,
    shape: Shape,
    closing: bool,
    /// connection_lost was called, or is about to be.
    closed: bool,
    /// For `connection`, `protocol` and `extra`: to change them, and to look at them elsewhere
    /// than on the worker's thread.
    guard: Guard,

    pub fn set_failure(self: *Body, failure: ?*Object) void {
        if (self.failure) |old| python.decref(old);
        self.failure = failure;
    }

    pub fn take_failure(self: *Body) ?*Object {
        defer self.failure = null;
        return self.failure;
    }

    /// Cuts the object off from its connection; the protocol's reference is the caller's now.
    pub fn detach(self: *Body) *Object {
        self.guard.lock();
        defer self.guard.unlock();
        self.worker = null;
        self.connection = null;
        self.closing = true;
        self.closed = true;
        defer self.protocol = null;
        return self.protocol.?;
    }
};

pub fn body(object: *Object) *Body {
    return python.body(Body, object);
}

pub fn body_of(connection: *const Connection) *Body {
    return body(@ptrCast(connection.user.?));
}

/// The live connection, when the caller is on the worker's thread; else null, and `away` tells
/// whether that is because of the thread.
pub fn at_home(self: *const Body, away: *bool) ?*Connection {
    // No hooks: an object that no worker made.
    away.* = !self.closed and self.hooks != null and self.home != protocol_handler.this_thread();
    return if (away.*) null else self.connection;
}

/// What `read` says of the live connection, on any thread; `otherwise` once it is gone.
pub fn ask(object: *Object, comptime T: type, read: fn (*const Connection) T, otherwise: T) T {
    const self = body(object);
    self.guard.lock();
    defer self.guard.unlock();
    return read(self.connection orelse return otherwise);
}

/// Has the worker call `self.name(argument)` on its own thread.
pub fn pass_on(object: *Object, name: [*:0]const u8, argument: ?*Object) ?*Object {
    const method = c.PyObject_GetAttrString(object, name) orelse return null;
    defer python.decref(method);
    const post = c.PyObject_GetAttrString(body(object).hooks.?, "call_soon_threadsafe") orelse return null;
    defer python.decref(post);
    const result = c.PyObject_CallFunctionObjArgs(post, method, argument, @as(?*Object, null)) orelse return null;
    python.decref(result);
    return python.return_none();
}
