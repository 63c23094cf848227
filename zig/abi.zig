//! Every symbol that libpyuring.so exports, and nothing else: plain C types, >= 0 or -errno.
//! Each function is a line or two over the module that does the work.
//! `pyuring/_native.py` binds the same list; a test compares both with the library's symbol table.

const std = @import("std");
const python = @import("python.zig");
const probe = @import("probe.zig");

/// Raised whenever a symbol or a shared struct changes its meaning.
pub const abi_version: u32 = 1;

export fn pyuring_abi_version() u32 {
    return abi_version;
}

/// Structs that cross the border by pointer, under the names of `_native.STRUCTS`, same order.
const shared_structs = .{ .Profile = probe.Profile };

/// What the compiler made of `shared_structs`: `Name:size field@offset+size …;` for each.
export fn pyuring_layouts() [*:0]const u8 {
    return comptime describe(shared_structs);
}

fn describe(comptime structs: anytype) [:0]const u8 {
    @setEvalBranchQuota(1_000_000);
    comptime var text: [:0]const u8 = "";
    inline for (@typeInfo(@TypeOf(structs)).@"struct".fields) |entry| {
        const T = @field(structs, entry.name);
        text = text ++ std.fmt.comptimePrint("{s}:{d}", .{ entry.name, @sizeOf(T) });
        inline for (@typeInfo(T).@"struct".fields) |field| {
            text = text ++ std.fmt.comptimePrint(" {s}@{d}+{d}", .{
                field.name, @offsetOf(T, field.name), @sizeOf(field.type),
            });
        }
        text = text ++ ";";
    }
    return text;
}

test "a layout is described by names, offsets and sizes" {
    const Pair = extern struct { a: u8, b: u64 };
    try std.testing.expectEqualStrings("Pair:16 a@0+1 b@8+8;", comptime describe(.{ .Pair = Pair }));
}

/// With the interpreter lock held: resolves CPython's functions, makes the native types.
/// Returns a new dict, name -> type; null with an exception set on failure.
export fn pyuring_python_types() ?*python.Object {
    python.init() catch return null;
    const types = python.c.PyDict_New() orelse return null;
    return types;
}

/// Asks the kernel what it really does; blocks for some milliseconds, so without the lock.
/// Returns 0, or why no ring can be had; `out` is filled either way.
export fn pyuring_probe(out: *probe.Profile) i32 {
    return probe.run(out);
}
