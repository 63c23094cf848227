//! Memory lent to the kernel, in a build for tests: each piece on pages of its own, which nobody
//! may touch once it is given back. A late write of the kernel's is a completion with -EFAULT then,
//! and ours a fault: neither valgrind nor a sanitizer would see the first (docs/faults.md).
//! Owns the pages that were given back. Compiles to nothing in every other build.

const std = @import("std");
const linux = std.os.linux;
const page = std.heap.page_size_min;

/// Whether this is that build: `zig build -Dpoison=true`, by its root file.
pub const enabled = @hasDecl(@import("root"), "poison");

/// What memory holds that is the kernel's again but must stay accessible.
pub const filler = 0xDD;

/// Pages given back stay forbidden until so many others have been: their addresses are not used
/// again meanwhile, by anybody.
const kept = 16 * 1024;

/// Page-aligned address, and in its lower bits the count of pages; 0 is none.
var forbidden: [kept]u64 = @splat(0);
var count: u64 = 0;

/// Fresh zeroed pages for `size` bytes, or null.
pub fn take(size: usize) ?[*]align(page) u8 {
    return map(null, pages(size), .{ .READ = true, .WRITE = true }, .{ .TYPE = .PRIVATE, .ANONYMOUS = true });
}

/// From here on whoever touches the pages is told.
pub fn give(memory: *anyopaque, size: usize) void {
    const address = @intFromPtr(memory);
    const length = pages(size);
    const flags = linux.MAP{ .TYPE = .PRIVATE, .ANONYMOUS = true, .FIXED = true, .NORESERVE = true };
    if (map(@ptrFromInt(address), length, .{}, flags) == null) @panic("poison: no mapping is left");
    if (length / page >= page) return; // too many to be written down: forbidden for ever
    const place = @atomicRmw(u64, &count, .Add, 1, .monotonic) % kept;
    const old = @atomicRmw(u64, &forbidden[place], .Xchg, address | length / page, .acq_rel);
    if (old != 0) _ = linux.munmap(@ptrFromInt(old & ~@as(u64, page - 1)), (old & (page - 1)) * page);
}

/// Stops the process where the kernel was refused memory: nothing that is lent is ever forbidden.
pub fn check(result: i32) void {
    if (result == -@as(i32, @intFromEnum(linux.E.FAULT))) @panic("the kernel used memory after it was given back (EFAULT)");
}

fn pages(size: usize) usize {
    return std.mem.alignForward(usize, size, page);
}

fn map(at: ?[*]align(page) u8, length: usize, protection: linux.PROT, flags: linux.MAP) ?[*]align(page) u8 {
    const raw = linux.mmap(at, length, protection, flags, -1, 0);
    return if (linux.errno(raw) == .SUCCESS) @ptrFromInt(raw) else null;
}
