//! The tests that run a worker on the model kernel, named for root.zig and simulate.zig.
//! Holds nothing else.

test {
    _ = @import("simulator.zig");
    _ = @import("rows_queues.zig");
    _ = @import("rows_accept.zig");
    _ = @import("rows_receive.zig");
    _ = @import("rows_bulk.zig");
    _ = @import("rows_send.zig");
    _ = @import("rows_file.zig");
    _ = @import("rows_time.zig");
    _ = @import("rings_alike.zig");
}
