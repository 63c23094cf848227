//! A buffer group as Python meets it: which buffers the kernel has, which the application holds, and
//! which of those a memoryview still shows (F30). Owns the group's memory by a count: the ring and
//! the Python object have one each, so that it outlives every operation that may write to it (F50).
//! Never talks to the kernel itself.

const std = @import("std");
const python = @import("python.zig");
const BufferGroup = @import("buffer_group.zig").BufferGroup;
const linux = std.os.linux;
const assert = std.debug.assert;

const Slot = struct {
    /// The application has the buffer; it goes back by return_buffer.
    held: bool = false,
    /// Atomic: a view may be released, or die, in any thread.
    views: u32 = 0,
    /// Incremental: bytes of the buffer that completions have reported.
    offset: u32 = 0,
    /// Where in the ring of entries it lies, so that a bundle's buffers can be told.
    position: u16 = 0,
};

pub const Provided = struct {
    owners: u32 = 1,
    next: ?*Provided = null,
    group: BufferGroup,
    slots: [*]Slot,
    incremental: bool,
    legacy: bool,
    /// Closed while operations were in flight: only its memory is still needed.
    retired: bool = false,
    /// -errno of a PROVIDE_BUFFERS that failed after the fact (F29).
    failure: i32 = 0,

    /// Takes the group over. Null: no memory, and the group is still the caller's.
    pub fn create(group: BufferGroup, incremental: bool, legacy: bool) ?*Provided {
        const raw = python.c.PyMem_Malloc(@sizeOf(Provided)) orelse return null;
        const slots = python.c.PyMem_Malloc(@as(usize, group.count) * @sizeOf(Slot)) orelse {
            python.c.PyMem_Free(raw);
            return null;
        };
        const self: *Provided = @ptrCast(@alignCast(raw));
        self.* = .{
            .group = group,
            .slots = @ptrCast(@alignCast(slots)),
            .incremental = incremental,
            .legacy = legacy,
        };
        for (self.slots[0..group.count], 0..) |*slot, i| slot.* = .{ .position = @intCast(i) };
        return self;
    }

    pub fn share(self: *Provided) *Provided {
        _ = @atomicRmw(u32, &self.owners, .Add, 1, .monotonic);
        return self;
    }

    pub fn release(self: *Provided) void {
        if (@atomicRmw(u32, &self.owners, .Sub, 1, .acq_rel) != 1) return;
        self.group.unmap();
        python.c.PyMem_Free(@ptrCast(self.slots));
        python.c.PyMem_Free(self);
    }

    /// Notes a completion that named buffer `bid`. Returns where its bytes begin in that buffer.
    pub fn completed(self: *Provided, bid: u16, res: i32, flags: u32, bundle: bool) u32 {
        if (bid >= self.group.count) return 0;
        const begins = self.slots[bid].offset;
        var left: u32 = if (res > 0) @intCast(res) else 0;
        var position = self.slots[bid].position;
        var current = bid;
        while (true) {
            const slot = &self.slots[current];
            const room = self.group.size - slot.offset;
            const used = @min(left, room);
            left -= used;
            if (self.incremental) slot.offset += used;
            const kept = self.incremental and flags & linux.IORING_CQE_F_BUF_MORE != 0 and left == 0;
            if (!kept and !slot.held) {
                slot.held = true;
                self.group.taken();
            }
            if (!bundle or left == 0) return begins;
            position +%= 1;
            current = self.at_position(position) orelse return begins;
        }
    }

    /// The buffer that lies at a place of the ring of entries.
    pub fn at_position(self: *const Provided, position: u16) ?u16 {
        const mask = self.group.count - 1;
        for (self.slots[0..self.group.count], 0..) |*slot, bid| {
            if (slot.position & mask == position & mask and slot.position == position) return @intCast(bid);
        }
        return null;
    }

    /// Marks a held buffer as the kernel's again; the caller publishes or provides it.
    pub fn give_back(self: *Provided, bid: u16) void {
        const slot = &self.slots[bid];
        assert(slot.held and slot.views == 0);
        slot.* = .{ .position = self.group.local_tail };
        if (self.legacy) {
            self.group.available += 1;
            return;
        }
        self.group.recycle(bid);
    }
};
