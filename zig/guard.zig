//! A lock of one byte inside a native object, for fields that several threads read and swap.
//! Free-threaded interpreters need it; under a global interpreter lock it is never contended.
//! Held for a few instructions, never while Python code may run.

const python = @import("python.zig");
const linux = @import("kernel.zig").linux;
const Object = python.Object;

pub const Guard = extern struct {
    held: bool = false,

    pub fn lock(self: *Guard) void {
        while (@cmpxchgWeak(bool, &self.held, false, true, .acquire, .monotonic) != null)
            _ = linux.sched_yield();
    }

    pub fn unlock(self: *Guard) void {
        @atomicStore(bool, &self.held, false, .release);
    }

    /// Puts a reference, now the field's own, in place of the one that was there.
    pub fn swap(self: *Guard, place: *?*Object, new: ?*Object) void {
        self.lock();
        const old = place.*;
        place.* = new;
        self.unlock();
        if (old) |object| python.decref(object); // may run Python code
    }

    /// A new reference to what the field holds; None for null.
    pub fn show(self: *Guard, place: *const ?*Object) *Object {
        self.lock();
        defer self.unlock();
        return python.incref(place.* orelse python.none);
    }
};
