//! Python arguments become the parameters of the SQE builders (sqe_builders.zig), each checked by its kind.
//! Owns nothing: memory behind an argument is held by the `Pins` that the caller passes. Every wrong
//! argument raises TypeError, ValueError, OverflowError or BufferError before anything is kept (F53).

const std = @import("std");
const builtin = @import("builtin");
const python = @import("python.zig");
const Kind = @import("sqe_builders.zig").Kind;
const Numbers = @import("sqe_builders.zig").Numbers;
const Pins = @import("pins.zig").Pins;
const Object = python.Object;
const linux = std.os.linux;

pub const Error = error{PythonRaised};

/// What a call collects besides numbers: memory, and the operations it names.
pub const Collected = struct {
    pins: ?*Pins = null,
    target: ?*Object = null,
    new_data: ?*Object = null,

    pub fn held(self: *Collected) Error!*Pins {
        if (self.pins == null) self.pins = try Pins.create();
        return self.pins.?;
    }

    pub fn release(self: *Collected) void {
        if (self.pins) |pins| pins.release();
        if (self.target) |object| python.decref(object);
        if (self.new_data) |object| python.decref(object);
        self.* = .{};
    }
};

pub fn raise(kind: *const *Object, text: [*:0]const u8) Error {
    python.c.PyErr_SetString(kind.*, text);
    return error.PythonRaised;
}

/// One argument of a builder as its numbers.
pub fn convert(kind: Kind, object: *Object, collected: *Collected) Error!Numbers {
    switch (kind) {
        .u16 => return one(try integer(u16, object)),
        .u32, .file_index => return one(try integer(u32, object)),
        .u64 => return one(try integer(u64, object)),
        .i32 => return one(signed(try integer(i32, object))),
        .i64 => return one(signed(try integer(i64, object))),
        .fd => return one(signed(try descriptor(object))),
        .offset => return one(try offset(object)),
        .source => return memory(object, false, collected),
        .target => return memory(object, true, collected),
        .user_data => return one(try keep_number(object, &collected.target)),
        .new_user_data => return one(try keep_number(object, &collected.new_data)),
        .siginfo, .address_room, .epoll_event => if (object == python.none) return .{ 0, 0 },
        else => {},
    }
    const pins = try collected.held();
    return switch (kind) {
        .source_vector => vector(object, false, pins),
        .target_vector => vector(object, true, pins),
        .path => one(try path(object, pins)),
        .address => address(object, pins),
        .address_room => address_room(object, pins),
        .time => one(try time(object, pins)),
        .send_message => one(try message(object, false, pins)),
        .receive_message => one(try message(object, true, pins)),
        .open_how => one(try open_how(object, pins)),
        .epoll_event => one(try epoll_event(object, pins)),
        .epoll_room => epoll_room(object, pins),
        .ints => ints(object, pins),
        .futex_waiters => futex_waiters(object, pins),
        .siginfo => one(try room(object, 128, pins)),
        .room_4 => one(try room(object, 4, pins)),
        .room_8 => one(try room(object, 8, pins)),
        .room_256 => one(try room(object, 256, pins)),
        else => unreachable, // returned above
    };
}

fn one(number: u64) Numbers {
    return .{ number, 0 };
}

fn signed(number: i64) u64 {
    return @bitCast(number);
}

/// An int in T's range; anything with __index__ counts as one, a float does not.
pub fn integer(comptime T: type, object: *Object) Error!T {
    if (T == u64) return unsigned_64(object);
    return @intCast(try integer_between(object, std.math.minInt(T), std.math.maxInt(T)));
}

fn integer_between(object: *Object, least: i64, most: i64) Error!i64 {
    const number = python.c.PyNumber_Index(object) orelse return error.PythonRaised;
    defer python.decref(number);
    const value = python.c.PyLong_AsLongLong(number);
    if (value == -1 and python.c.PyErr_Occurred() != null) return error.PythonRaised;
    if (value >= least and value <= most) return value;
    _ = python.c.PyErr_Format(
        python.exc.PyExc_OverflowError.*,
        "%lld is outside of %lld .. %lld",
        @as(c_longlong, value),
        @as(c_longlong, least),
        @as(c_longlong, most),
    );
    return error.PythonRaised;
}

fn unsigned_64(object: *Object) Error!u64 {
    const number = python.c.PyNumber_Index(object) orelse return error.PythonRaised;
    defer python.decref(number);
    const value = python.c.PyLong_AsUnsignedLongLong(number);
    if (value == std.math.maxInt(u64) and python.c.PyErr_Occurred() != null) return error.PythonRaised;
    return value;
}

/// Any int, kept as it is; the result is its value modulo 2^64.
pub fn keep_number(object: *Object, place: *?*Object) Error!u64 {
    const number = python.c.PyNumber_Index(object) orelse return error.PythonRaised;
    if (place.*) |old| python.decref(old);
    place.* = number;
    return python.c.PyLong_AsUnsignedLongLongMask(number);
}

fn descriptor(object: *Object) Error!i32 {
    const number = python.c.PyObject_AsFileDescriptor(object);
    return if (number < 0) error.PythonRaised else number;
}

pub fn offset(object: *Object) Error!u64 {
    const value = try integer(i64, object);
    if (value < -1) return raise(python.exc.PyExc_ValueError, "an offset is >= 0, or -1 for the file's own");
    return @bitCast(value);
}

fn length_of(bytes: []const u8) Error!u32 {
    return std.math.cast(u32, bytes.len) orelse
        raise(python.exc.PyExc_OverflowError, "one operation takes at most 4294967295 bytes");
}

fn memory(object: *Object, writable: bool, collected: *Collected) Error!Numbers {
    if (python.c.PyObject_CheckBuffer(object) == 0) {
        // A length alone: the kernel picks the memory. Neither: the buffer's own error says more.
        if (python.c.PyIndex_Check(object) != 0) return .{ 0, try integer(u32, object) };
    }
    const bytes = try (try collected.held()).hold(object, writable);
    return .{ @intFromPtr(bytes.ptr), try length_of(bytes) };
}

fn room(object: *Object, size: u32, pins: *Pins) Error!u64 {
    const bytes = try pins.hold(object, true);
    if (bytes.len < size) {
        _ = python.c.PyErr_Format(python.exc.PyExc_ValueError.*, "the buffer must have at least %u bytes", size);
        return error.PythonRaised;
    }
    if (@intFromPtr(bytes.ptr) % 4 != 0) return raise(python.exc.PyExc_ValueError, "the buffer is not aligned");
    return @intFromPtr(bytes.ptr);
}

const Iovec = extern struct { addr: u64, len: u64 };

/// Iovecs over a sequence of bytes-like objects.
fn iovecs(object: *Object, writable: bool, pins: *Pins) Error![]Iovec {
    const items = python.c.PySequence_Tuple(object) orelse return error.PythonRaised;
    defer python.decref(items);
    const count: usize = @intCast(python.c.PyTuple_Size(items));
    if (count > 1024) return raise(python.exc.PyExc_ValueError, "at most 1024 buffers (IOV_MAX)");
    const table = try pins.scratch(count * @sizeOf(Iovec));
    const vectors: [*]Iovec = @ptrCast(table.ptr);
    for (vectors[0..count], 0..) |*entry, i| {
        const item = python.c.PyTuple_GetItem(items, @intCast(i)) orelse return error.PythonRaised;
        const bytes = try pins.hold(item, writable);
        entry.* = .{ .addr = @intFromPtr(bytes.ptr), .len = bytes.len };
    }
    return vectors[0..count];
}

fn vector(object: *Object, writable: bool, pins: *Pins) Error!Numbers {
    const vectors = try iovecs(object, writable, pins);
    return .{ @intFromPtr(vectors.ptr), vectors.len };
}

/// str, bytes or os.PathLike, as os.fsencode() takes them.
fn path(object: *Object, pins: *Pins) Error!u64 {
    var bytes: ?*Object = null;
    if (python.c.PyUnicode_FSConverter(object, &bytes) == 0) return error.PythonRaised;
    defer python.decref(bytes.?);
    const text = try pins.hold(bytes.?, false);
    if (text.len == 0) return @intFromPtr(pins.buffers[pins.count - 1].buf);
    return @intFromPtr(text.ptr); // a bytes object ends in a zero byte
}

fn address(object: *Object, pins: *Pins) Error!Numbers {
    const bytes = try pins.hold(object, false);
    if (bytes.len < 2 or bytes.len > @sizeOf(linux.sockaddr.storage)) {
        return raise(python.exc.PyExc_ValueError, "an address has 2 to 128 bytes; pack_address() makes one");
    }
    return .{ @intFromPtr(bytes.ptr), bytes.len };
}

fn address_room(object: *Object, pins: *Pins) Error!Numbers {
    const bytes = try pins.hold(object, true);
    if (bytes.len < 2) return raise(python.exc.PyExc_ValueError, "an address needs 2 bytes of room or more");
    const length = try pins.scratch(4);
    std.mem.writeInt(u32, length[0..4], try length_of(bytes), .little);
    return .{ @intFromPtr(bytes.ptr), @intFromPtr(length.ptr) };
}

fn time(object: *Object, pins: *Pins) Error!u64 {
    const seconds = try seconds_of(object, "1e9");
    const spec: *linux.kernel_timespec = @ptrCast(try pins.scratch(@sizeOf(linux.kernel_timespec)));
    const whole = @floor(seconds);
    const rest: i64 = @intFromFloat(@round((seconds - whole) * 1e9));
    spec.sec = @as(i64, @intFromFloat(whole)) + @divFloor(rest, std.time.ns_per_s);
    spec.nsec = @mod(rest, std.time.ns_per_s);
    return @intFromPtr(spec);
}

/// A Python number of seconds, from 0 to the most.
pub fn seconds_of(object: *Object, comptime most: []const u8) Error!f64 {
    const seconds = python.c.PyFloat_AsDouble(object);
    if (seconds == -1.0 and python.c.PyErr_Occurred() != null) return error.PythonRaised;
    const limit = comptime std.fmt.parseFloat(f64, most) catch unreachable;
    if (seconds >= 0 and seconds <= limit) return seconds; // false for NaN
    return raise(python.exc.PyExc_ValueError, "seconds must be between 0 and " ++ most);
}

/// struct msghdr (linux/socket.h).
const MessageHeader = extern struct {
    name: u64 = 0,
    name_length: u32 = 0,
    padding: u32 = 0,
    vectors: u64 = 0,
    vector_count: u64 = 0,
    control: u64 = 0,
    control_length: u64 = 0,
    flags: u32 = 0,
    padding_end: u32 = 0,
};

/// A Message (ring.py): buffers, address, control, and `header`, room for the msghdr itself, where
/// the kernel leaves lengths and flags.
fn message(object: *Object, writable: bool, pins: *Pins) Error!u64 {
    var header = MessageHeader{};
    const buffers = python.c.PyObject_GetAttrString(object, "buffers") orelse return error.PythonRaised;
    defer python.decref(buffers);
    const vectors = try iovecs(buffers, writable, pins);
    header.vectors = @intFromPtr(vectors.ptr);
    header.vector_count = vectors.len;
    const name = try attribute_bytes(object, "address", writable, pins);
    header.name = @intFromPtr(name.ptr);
    header.name_length = try length_of(name);
    if (name.len == 0) header.name = 0;
    const control = try attribute_bytes(object, "control", writable, pins);
    header.control = if (control.len == 0) 0 else @intFromPtr(control.ptr);
    header.control_length = control.len;
    const place = python.c.PyObject_GetAttrString(object, "header") orelse return error.PythonRaised;
    defer python.decref(place);
    const addr = try room(place, @sizeOf(MessageHeader), pins);
    @memcpy(@as([*]u8, @ptrFromInt(addr))[0..@sizeOf(MessageHeader)], std.mem.asBytes(&header));
    return addr;
}

fn attribute_bytes(object: *Object, name: [*:0]const u8, writable: bool, pins: *Pins) Error![]u8 {
    const value = python.c.PyObject_GetAttrString(object, name) orelse return error.PythonRaised;
    defer python.decref(value);
    if (value == python.none) return &.{};
    return pins.hold(value, writable);
}

fn tuple_item(comptime T: type, tuple: *Object, index: usize) Error!T {
    const item = python.c.PyTuple_GetItem(tuple, @intCast(index)) orelse return error.PythonRaised;
    return integer(T, item);
}

fn exact_tuple(object: *Object, length: python.Ssize, what: [*:0]const u8) Error!*Object {
    const tuple = python.c.PySequence_Tuple(object) orelse return error.PythonRaised;
    if (python.c.PyTuple_Size(tuple) == length) return tuple;
    python.decref(tuple);
    return raise(python.exc.PyExc_ValueError, what);
}

fn open_how(object: *Object, pins: *Pins) Error!u64 {
    const tuple = try exact_tuple(object, 3, "how is (flags, mode, resolve)");
    defer python.decref(tuple);
    const place: *[3]u64 = @ptrCast(try pins.scratch(24));
    for (place, 0..) |*field, i| field.* = try tuple_item(u64, tuple, i);
    return @intFromPtr(place);
}

/// struct epoll_event is packed on x86_64 only (uapi/linux/eventpoll.h).
const epoll_size = if (builtin.cpu.arch == .x86_64) 12 else 16;

fn epoll_event(object: *Object, pins: *Pins) Error!u64 {
    const tuple = try exact_tuple(object, 2, "an event is (events, data)");
    defer python.decref(tuple);
    const place = try pins.scratch(epoll_size);
    std.mem.writeInt(u32, place[0..4], try tuple_item(u32, tuple, 0), .little);
    std.mem.writeInt(u64, place[epoll_size - 8 ..][0..8], try tuple_item(u64, tuple, 1), .little);
    return @intFromPtr(place.ptr);
}

fn epoll_room(object: *Object, pins: *Pins) Error!Numbers {
    const bytes = try pins.hold(object, true);
    if (bytes.len < epoll_size) return raise(python.exc.PyExc_ValueError, "no room for one epoll event");
    return .{ @intFromPtr(bytes.ptr), try length_of(bytes) / epoll_size };
}

fn ints(object: *Object, pins: *Pins) Error!Numbers {
    const bytes = try pins.hold(object, true);
    if (bytes.len % 4 != 0 or bytes.len == 0 or @intFromPtr(bytes.ptr) % 4 != 0) {
        return raise(python.exc.PyExc_ValueError, "descriptors come in an array('i')");
    }
    return .{ @intFromPtr(bytes.ptr), try length_of(bytes) / 4 };
}

/// struct futex_waitv (uapi/linux/futex.h).
const FutexWaiter = extern struct { value: u64, addr: u64, flags: u32, reserved: u32 = 0 };

fn futex_waiters(object: *Object, pins: *Pins) Error!Numbers {
    const items = python.c.PySequence_Tuple(object) orelse return error.PythonRaised;
    defer python.decref(items);
    const count: usize = @intCast(python.c.PyTuple_Size(items));
    if (count == 0 or count > 128) return raise(python.exc.PyExc_ValueError, "1 to 128 waiters");
    const table = try pins.scratch(count * @sizeOf(FutexWaiter));
    const waiters: [*]FutexWaiter = @ptrCast(table.ptr);
    for (waiters[0..count], 0..) |*waiter, i| {
        const item = python.c.PyTuple_GetItem(items, @intCast(i)) orelse return error.PythonRaised;
        const tuple = try exact_tuple(item, 3, "a waiter is (futex, value, flags)");
        defer python.decref(tuple);
        const futex = python.c.PyTuple_GetItem(tuple, 0) orelse return error.PythonRaised;
        waiter.* = .{
            .addr = try room(futex, 4, pins),
            .value = try tuple_item(u64, tuple, 1),
            .flags = try tuple_item(u32, tuple, 2),
        };
    }
    return .{ @intFromPtr(waiters), count };
}
