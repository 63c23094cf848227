//! Fixed-size items that are taken and given back without a system call.
//! Owns the pages they live in; grows by whole chunks when empty and shrinks only at deinit, so
//! that an item's address stays good for as long as the kernel may read it.

const std = @import("std");
const kernel = @import("kernel.zig");
const poison = @import("poison.zig");
const assert = std.debug.assert;

pub fn PoolType(comptime T: type) type {
    return struct {
        const Self = @This();
        const Node = union { item: T, next: ?*Node };
        const Chunk = struct {
            next: ?*Chunk,
            memory: []align(std.heap.page_size_min) u8,
        };
        const chunk_size = 64 * 1024;

        free: ?*Node = null,
        chunks: ?*Chunk = null,
        /// Items out of the pool.
        taken: usize = 0,

        /// An item with undefined contents, or null when the process is out of memory.
        pub fn take(self: *Self) ?*T {
            if (poison.enabled) {
                const own = poison.take(@sizeOf(Node)) orelse return null;
                self.taken += 1;
                return @ptrCast(own);
            }
            if (self.free == null) self.grow() orelse return null;
            const node = self.free.?;
            self.free = node.next;
            self.taken += 1;
            return @ptrCast(node);
        }

        pub fn give(self: *Self, item: *T) void {
            assert(self.taken > 0);
            if (poison.enabled) {
                self.taken -= 1;
                return poison.give(item, @sizeOf(Node));
            }
            const node: *Node = @ptrCast(@alignCast(item));
            node.* = .{ .next = self.free };
            self.free = node;
            self.taken -= 1;
        }

        fn grow(self: *Self) ?void {
            const memory = kernel.map_anonymous(chunk_size) orelse return null;
            const chunk: *Chunk = @ptrCast(@alignCast(memory.ptr));
            chunk.* = .{ .next = self.chunks, .memory = memory };
            self.chunks = chunk;
            const first = std.mem.alignForward(usize, @sizeOf(Chunk), @alignOf(Node));
            const nodes: [*]Node = @ptrCast(@alignCast(memory.ptr + first));
            const count = (chunk_size - first) / @sizeOf(Node);
            comptime assert((chunk_size - 64) / @sizeOf(Node) > 8);
            // The lowest address goes out first: a quiet pool touches few pages.
            var index = count;
            while (index > 0) {
                index -= 1;
                nodes[index] = .{ .next = self.free };
                self.free = &nodes[index];
            }
        }

        /// Returns the pages. No item may be out.
        pub fn deinit(self: *Self) void {
            assert(self.taken == 0);
            while (self.chunks) |chunk| {
                self.chunks = chunk.next;
                kernel.unmap(chunk.memory);
            }
            self.* = .{};
        }
    };
}

test "a pool gives each item once and takes it back" {
    var pool = PoolType([10]u64){};
    defer pool.deinit();
    var items: [2000]*[10]u64 = undefined;
    for (&items, 0..) |*item, i| {
        item.* = pool.take().?;
        item.*.* = @splat(i);
    }
    for (items, 0..) |item, i| try std.testing.expectEqual(i, item[9]);
    for (items) |item| pool.give(item);
    try std.testing.expectEqual(0, pool.taken);
}
