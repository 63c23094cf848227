//! A worker as Python holds it: made, turned and ended through abi.zig by the thread it lives on.
//! Owns the memory of the worker itself. Every function here needs the interpreter lock.

const std = @import("std");
const kernel = @import("kernel.zig");
const linux = kernel.linux;
const python = @import("python.zig");
const python_errors = @import("python_errors.zig");
const accept = @import("accept.zig");
const bell_object = @import("bell_object.zig");
const connect = @import("connect.zig");
const fork_marker = @import("fork_marker.zig");
const protocol_handler = @import("protocol_handler.zig");
const Config = @import("worker_config.zig").Config;
const AnyRing = @import("any_ring.zig").AnyRing;
const EpollRing = @import("epoll_ring.zig").EpollRing;
const Ring = @import("ring.zig").Ring;
const python_handler = @import("python_handler.zig");
const PythonWorker = python_handler.PythonWorker;
const ProtocolHandler = protocol_handler.ProtocolHandler;
const Object = python.Object;
const c = &python.c;

/// How long the end of a worker waits for the kernel to give everything back (F58).
const destroy_limit_ns = 5 * std.time.ns_per_s;

/// A new worker on this thread, or null with an exception set.
pub fn create(config: *const Config, transport_type: *Object, hooks: *Object) ?*PythonWorker {
    const memory = kernel.map_anonymous(@sizeOf(PythonWorker)) orelse {
        _ = c.PyErr_NoMemory();
        return null;
    };
    const self: *PythonWorker = @ptrCast(@alignCast(memory.ptr));
    var failure: i32 = 0;
    init(self, config, transport_type, hooks, &failure) catch {
        kernel.unmap(memory);
        python_errors.raise(-failure);
        return null;
    };
    return self;
}

fn init(
    self: *PythonWorker,
    config: *const Config,
    transport_type: *Object,
    hooks: *Object,
    failure: *i32,
) error{SetupFailed}!void {
    var ring = try open_ring(config, failure);
    errdefer ring.deinit();
    var handler = ProtocolHandler.init(hooks, transport_type);
    errdefer handler.deinit();
    try self.init(ring, .{ .protocols = handler }, config.*, failure);
}

fn open_ring(config: *const Config, failure: *i32) error{SetupFailed}!AnyRing {
    if (config.epoll != 0) return .{ .epoll = try EpollRing.init(config.ring_entries, config.cq_entries, failure) };
    const pinned = config.sq_thread_cpu != Config.no_cpu;
    var ring = try Ring.init(.{
        .entries = config.ring_entries,
        .cq_entries = config.cq_entries,
        .flags = config.setup_flags | if (pinned) @as(u32, linux.IORING_SETUP_SQ_AFF) else 0,
        .sq_thread_cpu = if (pinned) config.sq_thread_cpu else 0,
        .sq_thread_idle_ms = config.sq_thread_idle_ms,
    }, failure);
    errdefer ring.deinit();
    if (config.setup_flags & linux.IORING_SETUP_R_DISABLED != 0) {
        failure.* = ring.enable();
        if (failure.* < 0) return error.SetupFailed;
    }
    _ = ring.register_ring_fd(); // a saving only: without it (before 5.18) the descriptor serves
    return .{ .kernel = ring };
}

/// Adds a listening socket whose connections get their protocols from `factory`.
pub fn listen(self: *PythonWorker, fd: i32, factory: *Object) i32 {
    const index = accept.add(self, fd);
    if (index < 0) return index;
    const place = &self.handler.protocols.factories[@intCast(index)];
    if (place.*) |old| python.decref(old);
    place.* = python.incref(factory);
    return 0;
}

pub fn start_connect(
    self: *PythonWorker,
    factory: *Object,
    failed: *Object,
    fd: i32,
    address: *Object,
    timeout_ns: u64,
) i32 {
    const bytes = python.bytes_view(address) orelse return kernel.negative(.INVAL);
    const origin = c.PyTuple_New(2) orelse {
        c.PyErr_Clear();
        return kernel.negative(.NOMEM);
    };
    _ = c.PyTuple_SetItem(origin, 0, python.incref(factory));
    _ = c.PyTuple_SetItem(origin, 1, python.incref(failed));
    self.now_ns = self.ring.now_ns();
    const result = connect.start(self, fd, bytes, timeout_ns, origin);
    if (result < 0) python.decref(origin);
    return result;
}

/// Turns until there is something for Python's half to do: another thread notified, a handler asked
/// for a call or a timer, the time is over, accepting stopped, all is drained. Returns the last
/// turn's flags, or -1 with an exception set: a signal's handler that raised, the application's
/// KeyboardInterrupt, the ring's failure.
pub fn turn(self: *PythonWorker, timeout_ns: i64) i32 {
    std.debug.assert(self.handler.protocols.home == protocol_handler.this_thread());
    // Whatever ran since the last turn may have forked: the ring is the parent's alone.
    fork_marker.stop_unless_here(self.handler.protocols.process);
    bell_object.current = &self.handler.bells;
    defer bell_object.current = null;
    self.now_ns = self.ring.now_ns();
    const until: ?u64 = if (timeout_ns < 0) null else self.now_ns +| @as(u64, @intCast(timeout_ns));
    while (true) {
        const left: ?u64 = if (until) |at| at -| self.now_ns else null;
        const result, const state = self.turn(left);
        if (c.PyErr_CheckSignals() != 0) return -1;
        if (self.handler.protocols.pending) |failure| return raise_pending(self, failure);
        if (result < 0) {
            self.handler.ring_failed(self, -result);
            return -1;
        }
        const flags: u32 = @bitCast(state);
        if (flags != 0 or self.stay_awake) return @bitCast(flags);
        if (until) |at| if (self.now_ns >= at) return 0;
    }
}

fn raise_pending(self: *PythonWorker, failure: *Object) i32 {
    self.handler.protocols.pending = null;
    defer python.decref(failure);
    python_errors.raise_object(failure);
    return -1;
}

/// Ends the worker. False when the kernel would not let go in time: then its memory is never
/// freed, for late bytes may still land there.
pub fn destroy(self: *PythonWorker) bool {
    if (!self.destroy_turns(destroy_limit_ns)) {
        // No ring closes them: the peers see our end all the same.
        for (self.slab.slots()) |*connection| {
            if (connection.phase != .free) _ = kernel.shutdown(connection.fd, linux.SHUT.RDWR);
        }
        return false;
    }
    self.handler.deinit();
    self.deinit();
    const pointer: [*]align(std.heap.page_size_min) u8 = @ptrCast(@alignCast(self));
    kernel.unmap(pointer[0..std.mem.alignForward(usize, @sizeOf(PythonWorker), std.heap.page_size_min)]);
    return true;
}
