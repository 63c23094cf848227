//! Tells a process from the child that it forked, for the price of one load (F20).
//! Owns one page that the kernel wipes in a child (MADV_WIPEONFORK, 4.14); never calls getpid on the
//! hot path, which would be a system call each time.

const std = @import("std");
const kernel = @import("kernel.zig");
const linux = kernel.linux;

var page: ?*u64 = null;

/// This process's number; a new one in each child, from its first call on.
pub fn epoch() u64 {
    const place = page orelse map();
    if (place.* == 0) place.* = @as(u64, @intCast(linux.getpid()));
    return place.*;
}

/// Whether `wanted` was this process's number when it was asked for.
pub fn is_here(wanted: u64) bool {
    return page.?.* == wanted;
}

var without_page: u64 = 0;

/// Two threads may come here at once: the first page wins, for all numbers are compared there.
fn map() *u64 {
    var place: *u64 = &without_page; // no memory: forks go unnoticed, and everything else fails soon
    if (kernel.map_anonymous(std.heap.page_size_min)) |memory| {
        _ = linux.madvise(memory.ptr, memory.len, linux.MADV.WIPEONFORK);
        place = @ptrCast(memory.ptr);
    }
    const first = @cmpxchgStrong(?*u64, &page, null, place, .acq_rel, .acquire) orelse return place;
    return first.?; // another thread's; ours stays mapped, a page once in a life
}
