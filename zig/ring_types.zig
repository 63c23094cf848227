//! The raw ring's native types, made and put into a dict under their names.
//! Owns no type: each is its own module's.

const python = @import("python.zig");

/// With the interpreter lock held. False: an exception is set.
pub fn add_types(types: *python.Object) bool {
    inline for (.{
        .{ "Sqe", @import("sqe_object.zig") },
        .{ "Cqe", @import("cqe_object.zig") },
        .{ "Batch", @import("batch_object.zig") },
        .{ "RingCore", @import("ring_object.zig") },
        .{ "Bell", @import("bell_object.zig") },
        .{ "Pin", @import("pin_object.zig") },
        .{ "BufferGroupCore", @import("buffer_group_object.zig") },
    }) |entry| {
        const made = entry[1].make_type() orelse return false;
        defer python.decref(made);
        if (python.c.PyDict_SetItemString(types, entry[0], made) != 0) return false;
    }
    return true;
}
