//! Every symbol that libpyuring.so exports, and nothing else: plain C types, >= 0 or -errno.
//! Each function is a line or two over the module that does the work.
//! `pyuring/_native.py` binds the same list; a test compares both with the library's symbol table.

const std = @import("std");
const python = @import("python.zig");
const accept = @import("accept.zig");
const probe = @import("probe.zig");
const python_worker = @import("python_worker.zig");
const ring_types = @import("ring_types.zig");
const transport_object = @import("transport_object.zig");
const request_body = @import("request_body.zig");
const request_object = @import("request_object.zig");
const wsgi_object = @import("wsgi_object.zig");
const Config = @import("worker_config.zig").Config;
const HttpConfig = @import("http_config.zig").HttpConfig;
const Metrics = @import("metrics.zig").Metrics;
const PythonWorker = @import("python_handler.zig").PythonWorker;

/// Raised whenever a symbol or a shared struct changes its meaning.
pub const abi_version: u32 = 3;

export fn pyuring_abi_version() u32 {
    return abi_version;
}

/// Structs that cross the border by pointer, under the names of `_native.STRUCTS`, same order.
const shared_structs = .{
    .Profile = probe.Profile,
    .WorkerConfig = Config,
    .WorkerMetrics = Metrics,
    .HttpConfig = HttpConfig,
};

/// What the compiler made of `shared_structs`: `Name:size field@offset+size …;` for each.
export fn pyuring_layouts() [*:0]const u8 {
    return comptime describe(shared_structs);
}

fn describe(comptime structs: anytype) [:0]const u8 {
    @setEvalBranchQuota(1_000_000);
    comptime var text: [:0]const u8 = "";
    inline for (@typeInfo(@TypeOf(structs)).@"struct".fields) |entry| {
        const T = @field(structs, entry.name);
        text = text ++ std.fmt.comptimePrint("{s}:{d}", .{ entry.name, @sizeOf(T) });
        inline for (@typeInfo(T).@"struct".fields) |field| {
            text = text ++ std.fmt.comptimePrint(" {s}@{d}+{d}", .{
                field.name, @offsetOf(T, field.name), @sizeOf(field.type),
            });
        }
        text = text ++ ";";
    }
    return text;
}

test "a layout is described by names, offsets and sizes" {
    const Pair = extern struct { a: u8, b: u64 };
    try std.testing.expectEqualStrings("Pair:16 a@0+1 b@8+8;", comptime describe(.{ .Pair = Pair }));
}

/// With the interpreter lock held: resolves CPython's functions, makes the native types.
/// Returns a new dict, name -> type; null with an exception set on failure.
export fn pyuring_python_types() ?*python.Object {
    python.init() catch return null;
    const types = python.c.PyDict_New() orelse return null;
    fill(types) catch {
        python.decref(types);
        return null;
    };
    return types;
}

fn fill(types: *python.Object) error{PythonRaised}!void {
    if (!ring_types.add_types(types)) return error.PythonRaised;
    try transport_object.add_types(types);
    try request_object.add_types(types);
    try wsgi_object.add_types(types);
}

/// Asks the kernel what it really does; blocks for some milliseconds, so without the lock.
/// Returns 0, or why no ring can be had; `out` is filled either way.
export fn pyuring_probe(out: *probe.Profile) i32 {
    return probe.run(out);
}

// The worker. A handle is the pointer that create returned; all but wake and metrics are called by
// the thread that made it, with the interpreter lock held.

export fn pyuring_worker_create(
    config: *const Config,
    transport_type: *python.Object,
    hooks: *python.Object,
) ?*PythonWorker {
    return python_worker.create(config, transport_type, hooks);
}

/// 0, or -errno; `factory` makes the protocols of the connections accepted there.
export fn pyuring_worker_listen(worker: *PythonWorker, fd: i32, factory: *python.Object) i32 {
    return python_worker.listen(worker, fd, factory);
}

/// Before `listen` with `gateway` as the factory: its connections speak HTTP. -1 with an exception.
export fn pyuring_worker_serve_http(worker: *PythonWorker, config: *const HttpConfig, gateway: *python.Object) i32 {
    return if (worker.handler.http.serve(gateway, config)) 0 else -1;
}

/// A request without a connection, from a whole head and a body; null with an exception set.
export fn pyuring_request_alone(
    request_type: *python.Object,
    config: *const HttpConfig,
    head: *python.Object,
    content: *python.Object,
) ?*python.Object {
    const bytes = python.bytes_view(head) orelse {
        python.c.PyErr_SetString(python.exc.PyExc_TypeError.*, "a head is bytes");
        return null;
    };
    return request_body.create_alone(request_type, &config.limits, bytes, content);
}

/// Forgets every listening socket, once accepting has stopped.
export fn pyuring_worker_unlisten(worker: *PythonWorker) void {
    accept.remove_all(worker);
}

/// Turns until Python has something to do. The bits of `worker.Turn`, or -1 with an exception set.
/// `timeout_ns` < 0: none.
export fn pyuring_worker_turn(worker: *PythonWorker, timeout_ns: i64) i32 {
    return python_worker.turn(worker, timeout_ns);
}

/// Within a turn: the timeout that was given no longer holds, do not sleep in this turn.
export fn pyuring_worker_stay_awake(worker: *PythonWorker) void {
    worker.stay_awake = true;
}

/// From any thread.
export fn pyuring_worker_wake(worker: *PythonWorker) void {
    worker.mailbox.notify();
}

export fn pyuring_worker_pause_accept(worker: *PythonWorker) void {
    worker.listeners.paused = true;
}

export fn pyuring_worker_resume_accept(worker: *PythonWorker) void {
    accept.resume_all(worker);
}

export fn pyuring_worker_drain(worker: *PythonWorker, quiet_ns: u64) void {
    worker.drain(quiet_ns);
}

export fn pyuring_worker_abort_all(worker: *PythonWorker) void {
    worker.abort_all(0);
}

export fn pyuring_worker_connect(
    worker: *PythonWorker,
    factory: *python.Object,
    failed: *python.Object,
    fd: i32,
    address: *python.Object,
    timeout_ns: u64,
) i32 {
    return python_worker.start_connect(worker, factory, failed, fd, address, timeout_ns);
}

/// From any thread.
export fn pyuring_worker_metrics(worker: *const PythonWorker, out: *Metrics) void {
    worker.metrics.snapshot(out);
}

/// The set-up flags that are in force.
export fn pyuring_worker_achieved(worker: *const PythonWorker, out: *u32) void {
    out.* = worker.ring.setup_flags();
}

/// 1 when all is freed; 0 when the kernel held on to something and the memory was left to it.
export fn pyuring_worker_destroy(worker: *PythonWorker) i32 {
    return @intFromBool(python_worker.destroy(worker));
}
