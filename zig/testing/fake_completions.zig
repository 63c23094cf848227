//! The model kernel's completion queue: a small ring, and the list of what did not fit into it.
//! Owns the completions until they are reaped. Never drops one; that is the sabotage of others.

const std = @import("std");
const kernel = @import("../kernel.zig");
const Cqe = kernel.linux.io_uring_cqe;

pub const Completions = struct {
    allocator: std.mem.Allocator,
    ring: []Cqe,
    head: u32 = 0,
    tail: u32 = 0,
    overflow: std.ArrayList(Cqe) = .empty,

    pub fn init(allocator: std.mem.Allocator, entries: u32) Completions {
        std.debug.assert(std.math.isPowerOfTwo(entries));
        const ring = allocator.alloc(Cqe, entries) catch @panic("out of memory");
        return .{ .allocator = allocator, .ring = ring };
    }

    pub fn ready(self: *const Completions) u32 {
        return self.tail -% self.head;
    }

    pub fn has_room(self: *const Completions) bool {
        return self.overflow.items.len == 0 and self.ready() < self.ring.len;
    }

    pub fn at(self: *const Completions, index: u32) *Cqe {
        return &self.ring[(self.head +% index) & (self.ring.len - 1)];
    }

    pub fn post(self: *Completions, cqe: Cqe) void {
        if (self.has_room()) return self.push(cqe);
        self.overflow.append(self.allocator, cqe) catch @panic("out of memory");
    }

    fn push(self: *Completions, cqe: Cqe) void {
        self.ring[self.tail & (self.ring.len - 1)] = cqe;
        self.tail +%= 1;
    }

    /// Moves at most `most` of those that overflowed into the ring (F6).
    pub fn flush(self: *Completions, most: usize) void {
        var moved: usize = 0;
        while (moved < most and self.overflow.items.len > moved and self.ready() < self.ring.len) : (moved += 1) {
            self.push(self.overflow.items[moved]);
        }
        self.overflow.replaceRangeAssumeCapacity(0, moved, &.{});
    }
};
