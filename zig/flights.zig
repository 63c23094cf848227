//! The operations of one ring that are in flight: who asked, and what memory each has on loan.
//! Owns a count of every operation's memory and a reference to its user_data until the last
//! completion (F51). Never talks to the kernel: the kernel's user_data is a token into this table.
//!
//! A token is 16 bits of the ring's random tag, 24 of generation, 24 of slot. A stale token, or a
//! number that another ring sent (MSG_RING), is nobody's: generations tell them apart (F12).

const std = @import("std");
const python = @import("python.zig");
const Pins = @import("pins.zig").Pins;
const Object = python.Object;
const assert = std.debug.assert;

const none: u32 = std.math.maxInt(u32);
const max_slots = 1 << 24;

/// What is unusual about an operation; all false for most.
pub const Traits = packed struct(u8) {
    /// An operation of the ring's own: its completions are not shown.
    internal: bool = false,
    /// CQE_SKIP_SUCCESS, carried out here: the kernel would not say when memory comes back.
    hide_success: bool = false,
    /// PROVIDE_BUFFERS: its memory stays lent after the completion.
    lends: bool = false,
    picks_buffers: bool = false,
    bundle: bool = false,
    unused: u3 = 0,
};

/// A free flight has every field at its default besides generation and next_free.
/// The slot of run_batch's tokens, which is never one of the table's.
pub const batch_slot: u24 = max_slots - 2;

pub const Flight = struct {
    generation: u24 = 0,
    live: bool = false,
    traits: Traits = .{},
    group: u16 = 0,
    user_data: ?*Object = null,
    /// user_data modulo 2^64, to look an operation up.
    key: u64 = 0,
    pins: ?*Pins = null,
    /// POLL_UPDATE: the poll that gets `new_data` when this succeeds.
    renames: u64 = 0,
    new_data: ?*Object = null,
    /// ASYNC_CANCEL of ALL: how many operations the cancels of the ring's own named.
    found: i32 = 0,
    next_free: u32 = none,
    /// Submission order, for "the oldest operation with this user_data".
    sequence: u64 = 0,
};

pub const Table = struct {
    flights: [*]Flight = undefined,
    capacity: u32 = 0,
    live: u32 = 0,
    /// Live operations whose completions may be hidden: none of them, and every CQE is visible.
    hiding: u32 = 0,
    free: u32 = none,
    sequence: u64 = 0,
    tag: u16 = 0,

    pub fn deinit(self: *Table) void {
        if (self.capacity > 0) python.c.PyMem_Free(@ptrCast(self.flights));
        self.* = .{};
    }

    /// A token that no operation ever has.
    pub fn void_token(self: *const Table) u64 {
        return @as(u64, self.tag) << 48 | (max_slots - 1);
    }

    /// A free slot, marked live.
    pub fn take(self: *Table) error{PythonRaised}!*Flight {
        if (self.free == none) try self.grow();
        const flight = &self.flights[self.free];
        assert(!flight.live);
        self.free = flight.next_free;
        self.sequence += 1;
        flight.live = true;
        flight.sequence = self.sequence;
        self.live += 1;
        return flight;
    }

    pub fn token_of(self: *const Table, flight: *const Flight) u64 {
        const slot = (@intFromPtr(flight) - @intFromPtr(self.flights)) / @sizeOf(Flight);
        return @as(u64, self.tag) << 48 | @as(u64, flight.generation) << 24 | slot;
    }

    /// The live operation behind a token, or null.
    pub fn find(self: *const Table, token: u64) ?*Flight {
        if (token >> 48 != self.tag) return null;
        const slot: u32 = @intCast(token & (max_slots - 1));
        if (slot >= self.capacity) return null;
        const flight = &self.flights[slot];
        if (!flight.live or flight.generation != @as(u24, @truncate(token >> 24))) return null;
        return flight;
    }

    /// Frees the slot. The caller has taken over what the flight held.
    pub fn give_back(self: *Table, flight: *Flight) void {
        assert(flight.live);
        flight.live = false;
        flight.generation +%= 1;
        flight.next_free = self.free;
        self.free = @intCast((@intFromPtr(flight) - @intFromPtr(self.flights)) / @sizeOf(Flight));
        self.live -= 1;
        if (flight.traits.internal or flight.traits.hide_success) self.hiding -= 1;
        flight.traits = .{};
        flight.user_data = null;
        flight.pins = null;
        flight.new_data = null;
        flight.key = 0;
        flight.found = 0;
    }

    pub fn hide(self: *Table, flight: *Flight, internal: bool) void {
        if (internal) flight.traits.internal = true else flight.traits.hide_success = true;
        self.hiding += 1;
    }

    /// The oldest live operation newer than `after` with this user_data, or null.
    pub fn look_up(self: *const Table, wanted: *Object, after: u64) ?*Flight {
        const key = python.c.PyLong_AsUnsignedLongLongMask(wanted);
        var best: ?*Flight = null;
        for (self.flights[0..self.capacity]) |*flight| {
            if (!flight.live or flight.traits.internal or flight.key != key or flight.sequence <= after) continue;
            if (best != null and best.?.sequence < flight.sequence) continue;
            if (same(flight.user_data, wanted, key)) best = flight;
        }
        return best;
    }

    // Slots move when the table grows: pointers to flights do not outlive the next `take`.
    fn grow(self: *Table) error{PythonRaised}!void {
        const larger = if (self.capacity == 0) 64 else self.capacity * 2;
        const old: ?*anyopaque = if (self.capacity == 0) null else @ptrCast(self.flights);
        const raw = if (larger >= max_slots) null else python.c.PyMem_Realloc(old, @as(usize, larger) * @sizeOf(Flight));
        if (raw == null) {
            _ = python.c.PyErr_NoMemory();
            return error.PythonRaised;
        }
        self.flights = @ptrCast(@alignCast(raw));
        for (self.flights[self.capacity..larger], self.capacity..) |*flight, slot| {
            flight.* = .{ .next_free = if (slot + 1 == larger) none else @intCast(slot + 1) };
        }
        self.free = self.capacity;
        self.capacity = larger;
    }
};

/// Integers that differ by a multiple of 2^64 share a key: compare as Python does.
fn same(user_data: ?*Object, wanted: *Object, key: u64) bool {
    const data = user_data orelse return key == 0 and python.c.PyObject_IsTrue(wanted) == 0;
    return data == wanted or python.c.PyObject_RichCompareBool(data, wanted, python.Py_EQ) == 1;
}
