//! What native programs use of the library without Python: the benchmark's floor.
//! Only re-exports; the shared library's own root is root.zig.

pub const Ring = @import("ring.zig").Ring;
pub const Config = @import("worker_config.zig").Config;
pub const Connection = @import("connection.zig").Connection;
pub const Target = @import("connection.zig").Target;
pub const Piece = @import("connection.zig").Piece;
pub const WorkerType = @import("worker.zig").WorkerType;
pub const accept = @import("accept.zig");
pub const send = @import("send.zig");
pub const kernel = @import("kernel.zig");
