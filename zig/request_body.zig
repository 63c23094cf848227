//! What lies in a RequestCore behind the object's head: one request's head, and the way back to
//! its connection while the exchange lasts. Nothing here parses, sends or calls Python code.
//!
//! Who owns the head's bytes: while the handler runs they may be borrowed, from the receive buffer
//! and the worker's parser. Whoever outlives that moment gets a copy (`own`), made before either
//! is used again. On free-threaded builds the copy is made at once, for other threads may look.

const std = @import("std");
const http1 = @import("http1.zig");
const protocol_handler = @import("protocol_handler.zig");
const python = @import("python.zig");
const request_text = @import("request_text.zig");
const Guard = @import("guard.zig").Guard;
const HttpConnection = @import("http_connection.zig").HttpConnection;
const PythonWorker = @import("python_handler.zig").PythonWorker;
const Object = python.Object;
const Field = http1.Field;
const Span = http1.Span;
const c = &python.c;
const assert = std.debug.assert;

pub const Body = extern struct {
    /// The worker's thread: whether a method may act is told before anything else is looked at.
    home: ?*const u8,
    /// Both null once the exchange is over, or the connection.
    worker: ?*PythonWorker,
    http: ?*HttpConnection,
    /// pyuring.Worker.
    hooks: ?*Object,
    bytes: [*]const u8,
    fields: [*]const Field,
    /// The block that `bytes` and `fields` lie in when they are a copy of our own.
    block: ?*anyopaque,
    /// Set false when the object goes, for who lets go of it and wants to know.
    witness: ?*bool,
    /// The whole request body, once it is there; null while it is still coming.
    content: ?*Object,
    /// Python's own use.
    state: ?*Object,
    content_length: u64,
    bytes_len: u32,
    field_count: u32,
    method: Span,
    target: Span,
    path: Span,
    query: Span,
    minor: u8,
    framing: http1.Framing,
    /// The connection ended before the exchange did.
    lost: bool,
    guard: Guard,
    /// Holds `worker` for who wakes it: a system call, for which nobody else should have to wait.
    waking: Guard,

    pub fn head(self: *const Body) []const u8 {
        return self.bytes[0..self.bytes_len];
    }

    pub fn field_list(self: *const Body) []const Field {
        return self.fields[0..self.field_count];
    }

    pub fn text(self: *const Body, span: Span) []const u8 {
        return span.of(self.head());
    }

    /// The first value of a field, by its name in any case.
    pub fn find(self: *const Body, name: []const u8) ?[]const u8 {
        for (self.field_list()) |field| {
            if (std.ascii.eqlIgnoreCase(self.text(field.name), name)) return self.text(field.value);
        }
        return null;
    }

    /// Copies what is borrowed into a block of our own. False: no memory.
    pub fn own(self: *Body) bool {
        if (self.block != null) return true;
        const table = self.field_count * @sizeOf(Field);
        const block: [*]u8 = @ptrCast(c.PyMem_Malloc(table + self.bytes_len + 1) orelse return false);
        @memcpy(block[0..table], std.mem.sliceAsBytes(self.field_list()));
        @memcpy(block[table..][0..self.bytes_len], self.head());
        self.fields = @ptrCast(@alignCast(block));
        self.bytes = block + table;
        self.block = block;
        return true;
    }

    /// Cuts the request off from its connection: what is asked of it from here on is answered by
    /// itself, or not at all.
    pub fn detach(self: *Body, lost: bool) void {
        self.waking.lock();
        defer self.waking.unlock();
        self.guard.lock();
        defer self.guard.unlock();
        self.worker = null;
        self.http = null;
        self.lost = lost;
    }

    /// Leaves an empty request, which is better than foreign bytes.
    fn forget_head(self: *Body) void {
        self.framing = .none;
        self.bytes_len = 0;
        self.field_count = 0;
        inline for (.{ "method", "target", "path", "query" }) |name| @field(self, name) = .{ .start = 0, .len = 0 };
    }

    /// The whole body is there. A request that has none needs no object for it.
    pub fn take_content(self: *Body, bytes: []const u8) error{PythonRaised}!void {
        assert(self.content == null);
        if (self.framing == .none) return;
        self.content = c.PyBytes_FromStringAndSize(bytes.ptr, @intCast(bytes.len)) orelse return error.PythonRaised;
    }

    /// A new reference to the whole body; None while it is still coming.
    pub fn show_content(self: *Body) *Object {
        if (self.framing == .none) return python.incref(request_text.no_bytes);
        return self.guard.show(&self.content);
    }
};

pub fn body(object: *Object) *Body {
    return python.body(Body, object);
}

/// A new request of `request_type` for the head that was just parsed; null with an exception set.
/// Made of `spare` if there is one: making an object and ending it again costs more than all else
/// that happens to a small request outside of its handler.
pub fn create(
    request_type: *Object,
    spare: *?*Object,
    worker: *PythonWorker,
    http: *HttpConnection,
    head: *const http1.Head,
    bytes: []const u8,
) ?*Object {
    const object = take(spare) orelse new(request_type, worker) orelse return null;
    const self = body(object);
    const hooks = self.hooks;
    fill(self, head, bytes);
    self.home = worker.handler.protocols.home;
    self.worker = worker;
    self.http = http;
    self.hooks = hooks;
    if (python.free_threaded() and !self.own()) {
        python.decref(object);
        return c.PyErr_NoMemory();
    }
    return object;
}

/// A request that no connection has, as it is once the exchange is over: for tests of handlers.
/// Null with an exception set: ValueError for what would be refused.
pub fn create_alone(request_type: *Object, limits: *const http1.Limits, bytes: []const u8, content: *Object) ?*Object {
    var parser: http1.HeadParser = undefined;
    parser.reset();
    switch (parser.feed(bytes, limits)) {
        .done => |length| if (length == bytes.len) {
            const object = c.PyType_GenericAlloc(request_type, 0) orelse return null;
            const self = body(object);
            fill(self, &parser.head, bytes);
            self.content = python.incref(content);
            if (self.own()) return object;
            python.decref(object);
            return c.PyErr_NoMemory();
        },
        .failed => |failure| return c.PyErr_Format(
            python.exc.PyExc_ValueError.*,
            "%s: the server would answer %d",
            failure.reason.text().ptr,
            @as(c_int, failure.status),
        ),
        .more => {},
    }
    c.PyErr_SetString(python.exc.PyExc_ValueError.*, "that is not one request's head");
    return null;
}

/// Makes it the request of this head, with no connection and no hooks yet.
fn fill(self: *Body, head: *const http1.Head, bytes: []const u8) void {
    self.* = .{
        .home = protocol_handler.this_thread(),
        .worker = null,
        .http = null,
        .hooks = null,
        .bytes = bytes.ptr,
        .fields = &head.fields,
        .block = null,
        .witness = null,
        .content = null,
        .state = null,
        .content_length = head.content_length,
        .bytes_len = @intCast(bytes.len),
        .field_count = head.field_count,
        .method = head.method,
        .target = head.target,
        .path = head.path,
        .query = head.query,
        .minor = head.minor,
        .framing = head.framing,
        .lost = false,
        .guard = .{},
        .waking = .{},
    };
}

/// The spare one, unless the collector's list of objects has shown it to somebody meanwhile.
fn take(spare: *?*Object) ?*Object {
    const object = spare.* orelse return null;
    spare.* = null;
    if (python.is_unshared(object)) return object;
    python.decref(object);
    return null;
}

fn new(request_type: *Object, worker: *PythonWorker) ?*Object {
    const object = c.PyType_GenericAlloc(request_type, 0) orelse return null;
    body(object).hooks = python.incref(worker.handler.protocols.hooks);
    return object;
}

/// The exchange is over, by a reply. A request that nobody keeps becomes the worker's `spare`: its
/// type has no weak references, so whoever could still see it has a reference.
pub fn end(object: *Object, spare: *?*Object) void {
    const self = body(object);
    if (spare.* != null or !python.is_unshared(object)) {
        self.detach(false);
        return let_go(object);
    }
    self.worker = null;
    self.http = null;
    self.forget_head();
    if (self.block) |block| c.PyMem_Free(block);
    self.block = null;
    drop(&self.content);
    drop(&self.state); // may run Python code, and that use the worker
    if (spare.* == null) spare.* = object else python.decref(object);
}

fn drop(place: *?*Object) void {
    const held = place.* orelse return;
    place.* = null;
    python.decref(held);
}

/// Lets go of a request whose exchange is over. If somebody keeps it, it gets its own bytes first.
pub fn let_go(object: *Object) void {
    const self = body(object);
    if (self.block != null) return python.decref(object);
    var alive = true;
    self.witness = &alive;
    python.decref(object);
    if (!alive) return;
    self.witness = null;
    if (!self.own()) self.forget_head(); // no memory for a few hundred bytes
}

pub fn dealloc(object: *Object) callconv(.c) void {
    const self = body(object);
    assert(self.http == null or self.worker == null or self.http.?.request != object);
    if (self.witness) |alive| alive.* = false;
    inline for (.{ "hooks", "content", "state" }) |name| drop(&@field(self, name));
    if (self.block) |block| c.PyMem_Free(block);
    python.free_instance(object);
}
