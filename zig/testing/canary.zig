//! Which planted bug is on. None is in these sources: tests/canaries.py plants them in a copy, each as
//! a question to `on`, to show that the simulator would find a bug like it.
//! Owns the name alone.

const std = @import("std");

pub var name: []const u8 = "";
var planted: u64 = 0;

/// The names of those that are there; the copy has its own list.
const names = [_][]const u8{};

/// Turns one on. False: there is none of that name.
pub fn plant(wanted: []const u8) bool {
    for (names) |each| {
        if (!std.mem.eql(u8, each, wanted)) continue;
        name = each;
        planted = std.hash.Wyhash.hash(0, each);
        return true;
    }
    return false;
}

pub fn on(comptime wanted: []const u8) bool {
    const hash = comptime std.hash.Wyhash.hash(0, wanted);
    return planted == hash;
}
