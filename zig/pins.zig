//! Python memory that is lent to the kernel: a counted set of held buffers (Py_buffer).
//! While a set lives, no buffer in it can be freed, moved or resized (F51). It never looks at what
//! an operation does with the memory; the SQE and every operation in flight each own a count.

const std = @import("std");
const python = @import("python.zig");
const Guard = @import("guard.zig").Guard;
const Object = python.Object;

pub const Error = error{PythonRaised};

pub const Pins = struct {
    /// Owners: SQEs and operations in flight. Atomic, for an SQE object may die in any thread.
    owners: u32,
    count: u32,
    capacity: u32,
    /// For what follows a hold: threads of a free-threaded build may hold at the same time.
    guard: Guard,
    buffers: [*]python.Buffer,

    pub fn create() Error!*Pins {
        const raw = python.c.PyMem_Malloc(@sizeOf(Pins) + first * @sizeOf(python.Buffer)) orelse
            return out_of_memory();
        const pins: *Pins = @ptrCast(@alignCast(raw));
        pins.* = .{ .owners = 1, .count = 0, .capacity = first, .guard = .{}, .buffers = pins.inline_buffers() };
        return pins;
    }

    pub fn share(self: *Pins) *Pins {
        _ = @atomicRmw(u32, &self.owners, .Add, 1, .monotonic);
        return self;
    }

    /// Gives one owner's count up; the last one releases the buffers, which may run Python code.
    pub fn release(self: *Pins) void {
        if (@atomicRmw(u32, &self.owners, .Sub, 1, .acq_rel) != 1) return;
        for (self.buffers[0..self.count]) |*buffer| python.c.PyBuffer_Release(buffer);
        if (self.buffers != self.inline_buffers()) python.c.PyMem_Free(@ptrCast(self.buffers));
        python.c.PyMem_Free(self);
    }

    /// Holds what `object` shows as bytes. Raises TypeError or BufferError. Asking for it may run Python
    /// code: the caller owns a count of its own, and this set is looked at only afterwards.
    pub fn hold(self: *Pins, object: *Object, writable: bool) Error![]u8 {
        var buffer = python.Buffer{};
        const flags: c_int = if (writable) python.PyBUF_WRITABLE else python.PyBUF_SIMPLE;
        if (python.c.PyObject_GetBuffer(object, &buffer, flags) != 0) return error.PythonRaised;
        self.append(buffer) catch |failure| {
            python.c.PyBuffer_Release(&buffer);
            return failure;
        };
        const length: usize = @intCast(buffer.len);
        if (length == 0) return &.{};
        return buffer.buf.?[0..length];
    }

    fn append(self: *Pins, buffer: python.Buffer) Error!void {
        self.guard.lock();
        defer self.guard.unlock();
        if (self.count == self.capacity) try self.grow();
        self.buffers[self.count] = buffer;
        self.count += 1;
    }

    /// New zeroed memory that lives as long as the set: for structs that the kernel reads.
    pub fn scratch(self: *Pins, size: usize) Error![]align(8) u8 {
        if (size == 0) return &.{};
        const bytes = python.c.PyBytes_FromStringAndSize(null, @intCast(size)) orelse
            return error.PythonRaised;
        defer python.decref(bytes); // the held buffer owns it
        const memory = try self.hold(bytes, false);
        @memset(memory, 0);
        return @alignCast(memory);
    }

    // Buffers were asked for with SIMPLE, so that nothing in a Py_buffer points into itself.
    fn grow(self: *Pins) Error!void {
        const size = @sizeOf(python.Buffer) * @as(usize, self.capacity) * 4;
        const old: ?*anyopaque = if (self.buffers == self.inline_buffers()) null else @ptrCast(self.buffers);
        const raw = python.c.PyMem_Realloc(old, size) orelse return out_of_memory();
        const buffers: [*]python.Buffer = @ptrCast(@alignCast(raw));
        if (old == null) @memcpy(buffers[0..self.count], self.inline_buffers()[0..self.count]);
        self.buffers = buffers;
        self.capacity *= 4;
    }

    const first = 2;

    fn inline_buffers(self: *Pins) [*]python.Buffer {
        return @ptrFromInt(@intFromPtr(self) + @sizeOf(Pins));
    }
};

fn out_of_memory() Error {
    _ = python.c.PyErr_NoMemory();
    return error.PythonRaised;
}
