//! The kernel's side of a ring of provided buffers, read from the memory that was registered.
//! Owns the knowledge of who owns each buffer: fills those it gets with a pattern, and notices when
//! the pattern was written over while the buffer was the kernel's, or when an id comes back twice.

const std = @import("std");
const Report = @import("fake_faults.zig").Report;

const Entry = extern struct { addr: u64, len: u32, bid: u16, tail: u16 };
const poison = 0xb5;
const looked_at = 128;

pub const Buffers = struct {
    entries: ?[*]align(8) u8 = null,
    count: u16 = 0,
    head: u16 = 0,
    /// The tail as last seen.
    tail: u16 = 0,
    places: []Place = &.{},

    const Place = struct { addr: u64 = 0, len: u32 = 0, kernels: bool = false };

    pub fn register(self: *Buffers, allocator: std.mem.Allocator, address: u64, count: u32) void {
        self.* = .{ .entries = @ptrFromInt(address), .count = @intCast(count) };
        self.places = allocator.alloc(Place, count) catch @panic("out of memory");
        @memset(self.places, .{});
    }

    /// Buffers in the ring.
    pub fn available(self: *const Buffers) u16 {
        return self.tail -% self.head;
    }

    /// Takes over what was published since: the tail is the 16 bits at offset 14 (F28).
    pub fn observe(self: *Buffers, report: *Report, now_ns: u64) void {
        const base = self.entries orelse return;
        const shared: *const u16 = @ptrCast(@alignCast(base + 14));
        const tail = @atomicLoad(u16, shared, .acquire);
        while (self.tail != tail) : (self.tail +%= 1) {
            if (self.available() >= self.count) return report.add("more buffers given back than there are", 0, now_ns);
            const entry = self.entry_at(self.tail);
            if (entry.bid >= self.count) return report.add("a buffer id out of range was given back", entry.bid, now_ns);
            const place = &self.places[entry.bid];
            if (place.kernels) return report.add("a buffer was given back twice", entry.bid, now_ns);
            if (place.addr == 0) place.* = .{ .addr = entry.addr, .len = entry.len };
            if (place.addr != entry.addr or place.len != entry.len)
                return report.add("a buffer was given back with another's memory", entry.bid, now_ns);
            place.kernels = true;
            @memset(memory_of(place), poison);
        }
    }

    /// The next buffer, or null: ENOBUFS. The ring's head moves on when `commit` is called.
    pub fn peek(self: *Buffers, report: *Report, now_ns: u64) ?struct { u16, []u8 } {
        self.observe(report, now_ns);
        if (self.available() == 0) return null;
        const bid = self.entry_at(self.head).bid;
        const place = &self.places[bid];
        const memory = memory_of(place);
        if (!is_poisoned(memory)) report.add("a buffer was written to while it was the kernel's", bid, now_ns);
        return .{ bid, memory };
    }

    pub fn commit(self: *Buffers, bid: u16) void {
        self.places[bid].kernels = false;
        self.head +%= 1;
    }

    fn entry_at(self: *const Buffers, position: u16) Entry {
        const index: usize = position & (self.count - 1);
        const entries: [*]const Entry = @ptrCast(self.entries.?);
        return entries[index];
    }

    fn memory_of(place: *const Place) []u8 {
        const pointer: [*]u8 = @ptrFromInt(place.addr);
        return pointer[0..place.len];
    }

    fn is_poisoned(memory: []const u8) bool {
        return std.mem.allEqual(u8, memory[0..@min(memory.len, looked_at)], poison);
    }
};
