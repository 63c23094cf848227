//! When things are due: a binary heap of (time, id) in user memory, one entry an id.
//! The kernel never holds a timer of a connection (F45): the worker's wait is bounded by `next`.
//! Keeps no clock of its own; times are nanoseconds of whatever clock the caller reads.

const std = @import("std");
const kernel = @import("kernel.zig");
const assert = std.debug.assert;

pub const Deadlines = struct {
    const Entry = struct { at_ns: u64, id: u32 };
    const absent = 0;

    memory: []align(std.heap.page_size_min) u8,
    heap: []Entry,
    /// By id: the entry's place in the heap plus one, or `absent` (the pages come zeroed).
    places: []u32,
    count: u32 = 0,

    pub fn init(ids: u32) error{OutOfMemory}!Deadlines {
        const heap_size = ids * @sizeOf(Entry);
        const memory = kernel.map_anonymous(heap_size + ids * @sizeOf(u32)) orelse
            return error.OutOfMemory;
        const heap: [*]Entry = @ptrCast(@alignCast(memory.ptr));
        const places: [*]u32 = @ptrCast(@alignCast(memory.ptr + heap_size));
        return .{ .memory = memory, .heap = heap[0..ids], .places = places[0..ids] };
    }

    pub fn deinit(self: *Deadlines) void {
        kernel.unmap(self.memory);
        self.* = undefined;
    }

    /// Sets the id's deadline, whatever it was.
    pub fn set(self: *Deadlines, id: u32, at_ns: u64) void {
        const place = self.places[id];
        if (place == absent) {
            self.heap[self.count] = .{ .at_ns = at_ns, .id = id };
            self.places[id] = self.count + 1;
            self.count += 1;
            self.rise(self.count - 1);
        } else {
            const index = place - 1;
            const earlier = at_ns < self.heap[index].at_ns;
            self.heap[index].at_ns = at_ns;
            if (earlier) self.rise(index) else self.sink(index);
        }
    }

    /// Sets the deadline unless an earlier one is set. The cheap call of the hot path: a deadline
    /// that has moved into the future is looked at again when the old one is due.
    pub fn set_at_latest(self: *Deadlines, id: u32, at_ns: u64) void {
        const place = self.places[id];
        if (place != absent and self.heap[place - 1].at_ns <= at_ns) return;
        self.set(id, at_ns);
    }

    pub fn clear(self: *Deadlines, id: u32) void {
        const place = self.places[id];
        if (place == absent) return;
        const index = place - 1;
        self.places[id] = absent;
        self.count -= 1;
        if (index == self.count) return;
        self.put(index, self.heap[self.count]);
        self.sink(index);
        self.rise(index);
    }

    /// The earliest deadline, or null.
    pub fn next(self: *const Deadlines) ?u64 {
        return if (self.count == 0) null else self.heap[0].at_ns;
    }

    /// Takes out one id whose time has come.
    pub fn pop_due(self: *Deadlines, now_ns: u64) ?u32 {
        if (self.count == 0 or self.heap[0].at_ns > now_ns) return null;
        const id = self.heap[0].id;
        self.clear(id);
        return id;
    }

    fn put(self: *Deadlines, index: u32, entry: Entry) void {
        self.heap[index] = entry;
        self.places[entry.id] = index + 1;
    }

    fn rise(self: *Deadlines, start: u32) void {
        var index = start;
        const entry = self.heap[index];
        while (index > 0) {
            const parent = (index - 1) / 2;
            if (self.heap[parent].at_ns <= entry.at_ns) break;
            self.put(index, self.heap[parent]);
            index = parent;
        }
        self.put(index, entry);
    }

    fn sink(self: *Deadlines, start: u32) void {
        var index = start;
        const entry = self.heap[index];
        while (true) {
            var child = 2 * index + 1;
            if (child >= self.count) break;
            if (child + 1 < self.count and self.heap[child + 1].at_ns < self.heap[child].at_ns) child += 1;
            if (entry.at_ns <= self.heap[child].at_ns) break;
            self.put(index, self.heap[child]);
            index = child;
        }
        self.put(index, entry);
    }
};

test "deadlines come out in order, whatever was set, moved and cleared" {
    var deadlines = try Deadlines.init(256);
    defer deadlines.deinit();
    var model: [256]?u64 = @splat(null);
    var prng = std.Random.DefaultPrng.init(42);
    const random = prng.random();
    for (0..20_000) |_| {
        const id = random.uintLessThan(u32, 256);
        switch (random.uintLessThan(u8, 4)) {
            0, 1 => {
                const at = random.uintLessThan(u64, 1000);
                deadlines.set(id, at);
                model[id] = at;
            },
            2 => {
                deadlines.clear(id);
                model[id] = null;
            },
            else => {
                const now = random.uintLessThan(u64, 300);
                const popped = deadlines.pop_due(now);
                if (popped) |due| {
                    for (model) |at| if (at != null) try std.testing.expect(at.? >= model[due].?);
                    try std.testing.expect(model[due].? <= now);
                    model[due] = null;
                } else for (model) |at| if (at != null) try std.testing.expect(at.? > now);
            },
        }
    }
}
