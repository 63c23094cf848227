//! Root of libpyuring.so as `zig build -Dpoison=true` makes it for tests: root.zig's library, whose
//! memory is poisoned once it is given back (poison.zig). Never shipped, and slow.

const root = @import("root.zig");

pub const poison = true;
pub const panic = root.panic;

comptime {
    _ = root.abi;
}
