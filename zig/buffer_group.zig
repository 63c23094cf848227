//! A group of provided buffers that the kernel picks from at receive time, shared with it as a ring
//! of entries in memory (IORING_REGISTER_PBUF_RING, 5.19).
//! Owns the entries and the buffers. Never decides when a buffer is done with: `recycle` is called by
//! whoever looked at the CQE's flags (F27). Goes through `ring.register` only, so that any ring serves.
//!
//! Source: io_uring_register(2), io_uring_setup_buf_ring(3), io_uring_buf_ring_add(3).

const std = @import("std");
const kernel = @import("kernel.zig");
const poison = @import("poison.zig");
const linux = kernel.linux;
const Entry = kernel.BufferEntry;
const Registration = kernel.BufferRegistration;
const assert = std.debug.assert;

/// Incremental consumption: one buffer serves several completions (IOU_PBUF_RING_INC, 6.12).
pub const PBUF_RING_INC: u16 = 2;

pub const max_count = 1 << 15;

/// Entries and buffers as a test build or an application wants them laid out.
pub const Options = struct {
    group_id: u16,
    /// A power of two, at most `max_count`.
    count: u16,
    /// Bytes a buffer.
    size: u32,
    flags: u16 = 0,
};

pub const BufferGroup = struct {
    group_id: u16,
    count: u16,
    size: u32,
    /// Entries written, not all published: the kernel sees the shared tail only.
    local_tail: u16 = 0,
    /// Buffers that lie in the ring for the kernel to pick, published or about to be. Right for
    /// callers that say `taken` at a buffer's first completion.
    available: u32 = 0,
    entries: []align(std.heap.page_size_min) u8,
    buffers: []align(std.heap.page_size_min) u8,

    /// Registers a group of `count` buffers, all of them available. `ring` has
    /// `register(opcode, arg, count) i32`. On failure nothing is left and `failure` is -errno.
    pub fn init(ring: anytype, group_id: u16, count: u16, size: u32, failure: *i32) error{SetupFailed}!BufferGroup {
        return init_with(ring, .{ .group_id = group_id, .count = count, .size = size }, failure);
    }

    pub fn init_with(ring: anytype, options: Options, failure: *i32) error{SetupFailed}!BufferGroup {
        var group = try allocate(options, failure);
        errdefer group.unmap();
        const registration = Registration{
            .ring_addr = @intFromPtr(group.entries.ptr),
            .ring_entries = options.count,
            .bgid = options.group_id,
            .flags = options.flags,
        };
        const result = ring.register(.REGISTER_PBUF_RING, &registration, 1);
        if (!kernel.ok(result)) {
            failure.* = result;
            return error.SetupFailed;
        }
        for (0..options.count) |bid| group.recycle(@intCast(bid));
        group.publish();
        return group;
    }

    /// The memory alone: for PROVIDE_BUFFERS, where the kernel has no ring of entries (before 5.19).
    pub fn allocate(options: Options, failure: *i32) error{SetupFailed}!BufferGroup {
        assert(std.math.isPowerOfTwo(options.count) and options.count <= max_count);
        assert(options.size > 0);
        failure.* = kernel.negative(.NOMEM);
        const count: usize = options.count;
        const entries = kernel.map_anonymous(count * @sizeOf(Entry)) orelse return error.SetupFailed;
        errdefer kernel.unmap(entries);
        const buffers = kernel.map_anonymous(count * options.size) orelse return error.SetupFailed;
        return .{
            .group_id = options.group_id,
            .count = options.count,
            .size = options.size,
            .entries = entries,
            .buffers = buffers,
        };
    }

    /// Unregisters, then unmaps. No operation that may pick from the group is in flight.
    pub fn deinit(self: *BufferGroup, ring: anytype) void {
        self.unregister(ring);
        self.unmap();
    }

    pub fn unregister(self: *const BufferGroup, ring: anytype) void {
        const registration = Registration{ .ring_addr = 0, .ring_entries = 0, .bgid = self.group_id };
        // A ring that is closing has dropped the group itself: either way it is gone.
        _ = ring.register(.UNREGISTER_PBUF_RING, &registration, 1);
    }

    /// Unmaps without a word to the kernel: unregistered, or the ring is closed already.
    pub fn unmap(self: *BufferGroup) void {
        kernel.unmap(self.buffers);
        kernel.unmap(self.entries);
        self.* = undefined;
    }

    /// The first byte of buffer `bid`; `size` bytes belong to it.
    pub fn memory(self: *const BufferGroup, bid: u16) [*]u8 {
        assert(bid < self.count);
        return self.buffers.ptr + @as(usize, bid) * self.size;
    }

    pub fn slice(self: *const BufferGroup, bid: u16) []u8 {
        return self.memory(bid)[0..self.size];
    }

    /// Notes that the kernel picked a buffer: once a buffer, at its first completion.
    pub fn taken(self: *BufferGroup) void {
        assert(self.available > 0);
        self.available -= 1;
    }

    /// Puts a whole buffer back into the ring. The kernel sees it at the next `publish`.
    pub fn recycle(self: *BufferGroup, bid: u16) void {
        if (poison.enabled) @memset(self.slice(bid), poison.filler);
        const entry = self.entry_at(self.local_tail);
        // Field by field: entry 0's last field is the tail that the kernel reads (F28).
        entry.addr = @intFromPtr(self.memory(bid));
        entry.len = self.size;
        entry.bid = bid;
        self.local_tail +%= 1;
        self.available = @min(self.available + 1, self.count);
    }

    /// Shows every recycled buffer to the kernel: one 16-bit release store at offset 14, so that the
    /// entries are written before the kernel can see them, and entry 0's id is left alone (F28).
    pub fn publish(self: *BufferGroup) void {
        @atomicStore(u16, &self.entry_at(0).tail, self.local_tail, .release);
    }

    fn entry_at(self: *const BufferGroup, position: u16) *Entry {
        const index: usize = position & (self.count - 1);
        return @ptrCast(@alignCast(self.entries.ptr + index * @sizeOf(Entry)));
    }
};

/// Serves registrations from memory and keeps what was asked.
const FakeRing = struct {
    registered: u32 = 0,
    unregistered: u32 = 0,
    answer: i32 = 0,

    fn register(self: *FakeRing, opcode: linux.IORING_REGISTER, _: ?*const anyopaque, _: u32) i32 {
        switch (opcode) {
            .REGISTER_PBUF_RING => self.registered += 1,
            .UNREGISTER_PBUF_RING => self.unregistered += 1,
            else => return kernel.negative(.INVAL),
        }
        return self.answer;
    }
};

test "f28: the tail shares memory with entry 0 and never overwrites its id" {
    var ring = FakeRing{};
    var failure: i32 = 0;
    var group = try BufferGroup.init(&ring, 7, 4, 64, &failure);
    defer group.deinit(&ring);
    try std.testing.expectEqual(4, group.available);
    var expected: [4]u16 = .{ 0, 1, 2, 3 };
    for (0..1000) |round| {
        const bid: u16 = @intCast((round * 3) & 3);
        group.taken();
        expected[group.local_tail & 3] = bid;
        group.recycle(bid);
        group.publish();
        for (expected, 0..) |want, i| try std.testing.expectEqual(want, group.entry_at(@intCast(i)).bid);
        try std.testing.expectEqual(@as(u16, @truncate(round + 5)), group.entry_at(0).tail);
    }
}

test "a refused registration leaves nothing behind" {
    var ring = FakeRing{ .answer = kernel.negative(.EXIST) };
    var failure: i32 = 0;
    try std.testing.expectError(error.SetupFailed, BufferGroup.init(&ring, 0, 2, 16, &failure));
    try std.testing.expectEqual(kernel.negative(.EXIST), failure);
}
