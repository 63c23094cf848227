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

/// Ends a child that was forked by a handler and has returned from it: the ring is not mapped here,
/// and there is no loop to go on with. Says so, because the alternative is a segmentation fault.
pub fn stop_unless_here(wanted: u64) void {
    if (!is_here(wanted)) stop();
}

fn stop() noreturn {
    @branchHint(.cold);
    const text = "pyuring: a child that a handler forked returned from the handler; end it by os._exit() (F20)\n";
    _ = linux.write(2, text, text.len);
    linux.exit_group(70); // EX_SOFTWARE
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
