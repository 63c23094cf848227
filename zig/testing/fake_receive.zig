//! recv(2) in the model kernel: bytes that lie in a socket, at once.
//! Owns nothing. The faults are those of receiving through the ring, for the engine treats both alike.

const negative = @import("../kernel.zig").negative;
const errnos = @import("fake_errnos.zig");

/// What one call costs on the virtual clock.
const call_ns = 200;

/// How many bytes came, or -errno: what ring.zig's `receive_now` says.
pub fn receive(kernel: anytype, fd: i32, memory: []u8) i32 {
    kernel.counts.blocks += 1;
    kernel.pass(call_ns);
    const socket = switch (kernel.network.find(fd)) {
        .socket => |socket| socket,
        else => {
            kernel.violated("a receive names a closed descriptor", @intCast(fd));
            return negative(.BADF);
        },
    };
    if (socket.receiver != null) kernel.violated("a receive beside a receive", socket.id);
    if (socket.taint.aborted) kernel.violated("a receive after the abort", socket.id);
    if (memory.len == 0) kernel.violated("a receive into nothing", socket.id);
    if (!socket.broken and kernel.strikes(.receive_error)) {
        kernel.network.break_off(socket);
        return socket.inject(kernel.one_of(&errnos.receive_fatal));
    }
    if (kernel.strikes(.receive_passing)) return negative(if (kernel.random().boolean()) .AGAIN else .INTR);
    const short = kernel.strikes(.short_receive);
    const size = if (short) 1 + kernel.random().uintLessThan(usize, memory.len) else memory.len;
    const result = kernel.network.receive(socket, memory[0..size]);
    // Nobody may take the rest of the block for something that was received.
    if (result > 0) @memset(memory[@intCast(result)..], 0xb5);
    return result;
}
