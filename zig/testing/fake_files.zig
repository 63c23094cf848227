//! Files in the model kernel, and sendfile(2) from them to its sockets.
//! Owns which of them are open, and where those end that became shorter. A file holds no bytes: what
//! stands in it at a position is what its stream has there.

const std = @import("std");
const kernel_abi = @import("../kernel.zig");
const negative = kernel_abi.negative;
const errnos = @import("fake_errnos.zig");

/// What a stream has at a position, whoever sends it and wherever it lies.
pub fn pattern(stream: u64, position: u64) u8 {
    var x = (stream *% 0x9e3779b97f4a7c15) ^ (position *% 0xc2b2ae3d27d4eb4f);
    x ^= x >> 29;
    x *%= 0xbf58476d1ce4e5b9;
    return @truncate(x >> 40);
}

/// Far from the numbers of sockets, so that neither is taken for the other.
const first_file = 1 << 24;

/// From so many bytes on a call takes long enough for others to wait for the handler's lock.
const long_call_min = 64 * 1024;

const File = struct { stream: u64, end: u64 = std.math.maxInt(u64), open: bool = true };

pub const Files = struct {
    list: std.ArrayList(File) = .empty,
    /// What one call costs on the virtual clock.
    call_ns: u64 = 200,

    /// A descriptor of its own for each, never used twice.
    pub fn open(self: *Files, allocator: std.mem.Allocator, stream: u64) i32 {
        self.list.append(allocator, .{ .stream = stream }) catch @panic("out of memory");
        return @intCast(first_file + self.list.items.len - 1);
    }

    pub fn close(self: *Files, file: i32) void {
        self.find(file).?.open = false;
    }

    pub fn truncate(self: *Files, file: i32, end: u64) void {
        self.find(file).?.end = end;
    }

    fn find(self: *Files, file: i32) ?*File {
        if (file < first_file or file - first_file >= self.list.items.len) return null;
        const found = &self.list.items[@intCast(file - first_file)];
        return if (found.open) found else null;
    }
};

/// How many bytes the socket took, or -errno: what ring.zig's `send_file` says.
pub fn send(kernel: anytype, fd: i32, file: i32, offset: u64, count: usize) i32 {
    kernel.counts.file_sends += 1;
    kernel.pass(kernel.files.call_ns);
    const socket = switch (kernel.network.find(fd)) {
        .socket => |socket| socket,
        else => {
            kernel.violated("a file is sent on a closed descriptor", @intCast(fd));
            return negative(.BADF);
        },
    };
    const source = kernel.files.find(file) orelse {
        kernel.violated("a file is sent that its owner has closed", socket.id);
        return negative(.BADF);
    };
    if (socket.sender != null) kernel.violated("a file is sent beside a send", socket.id);
    if (socket.taint.aborted) kernel.violated("a file is sent after the abort", socket.id);
    if (count == 0) kernel.violated("a send of nothing", socket.id);
    if (count >= long_call_min and !kernel.unlocked) kernel.violated("others wait for a long send", socket.id);
    if (count < long_call_min and kernel.unlocked) kernel.violated("the lock is given away for little", socket.id);
    if (kernel.strikes(.file_interrupt)) return negative(.INTR);
    if (kernel.strikes(.file_again)) return negative(.AGAIN);
    if (kernel.strikes(.file_error)) {
        return socket.inject(kernel.one_of(&errnos.send_file));
    }
    if (kernel.strikes(.file_shrinks)) source.end = offset + kernel.random().uintLessThan(u64, count);
    if (offset +| count > source.end) socket.taint.file_shrank = true;
    if (!socket.broken and kernel.strikes(.send_error)) {
        kernel.network.break_off(socket);
        return socket.inject(kernel.one_of(&errnos.send_fatal));
    }
    const left = @min(count, source.end -| offset);
    if (left == 0) return 0;
    const short = kernel.strikes(.short_send);
    const size = if (short) 1 + kernel.random().uintLessThan(usize, left) else left;
    const from = if (kernel.sabotages(.misread_file)) offset + 1 else offset;
    const result = transfer(kernel, socket, source.stream, from, size);
    if (result > 0) kernel.counts.file_bytes += @intCast(result);
    return result;
}

fn transfer(kernel: anytype, socket: anytype, stream: u64, offset: u64, count: usize) i32 {
    var buffer: [4096]u8 = undefined;
    var sent: usize = 0;
    while (sent < count) {
        const bytes = buffer[0..@min(buffer.len, count - sent)];
        for (bytes, 0..) |*byte, i| byte.* = pattern(stream, offset + sent + i);
        const result = kernel.network.send(socket, bytes);
        if (result < 0) return if (sent > 0) @intCast(sent) else result;
        sent += @intCast(result);
        if (result < bytes.len) break;
    }
    return @intCast(sent);
}
