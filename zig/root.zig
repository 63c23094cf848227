//! Root of libpyuring.so: the panic handler, the exported symbols (abi.zig), the list of tests.
//! Holds no logic of its own.

const std = @import("std");
const builtin = @import("builtin");

pub const abi = @import("abi.zig");

/// The default handler would bring half of std along.
pub const panic = if (builtin.is_test) std.debug.FullPanic(std.debug.defaultPanic) else @import("panic.zig");

comptime {
    _ = abi;
}

test {
    _ = @import("connection.zig");
    _ = @import("deadlines.zig");
    _ = @import("http1_test.zig");
    _ = @import("mailbox.zig");
    _ = @import("pool.zig");
    _ = @import("ring.zig");
    _ = @import("token.zig");
    _ = @import("kernel.zig");
    _ = @import("probe.zig");
    _ = @import("buffer_group.zig");
    _ = @import("http1_writer.zig");
    _ = @import("peer_name.zig");
    _ = @import("python_head.zig");
    _ = @import("python_type.zig");
    _ = @import("testing/all.zig");
}
