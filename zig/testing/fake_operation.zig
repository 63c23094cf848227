//! One operation in flight in the model kernel, and the memory that was lent with it.
//! Owns a copy of what was lent, taken at submission: bytes that the engine changes or frees before
//! the last completion differ from it. Carries nothing out.

const std = @import("std");
const kernel = @import("../kernel.zig");
const linux = kernel.linux;
const Sqe = linux.io_uring_sqe;
const Network = @import("fake_network.zig");

/// Of a long range only its two ends are kept.
const kept_front = 8192;
const kept_back = 64;

/// What stands in memory that was lent for writing.
const poison = 0xb5;

pub const Operation = struct {
    /// Never used twice, so that an event for a former operation is told apart.
    serial: u64,
    state: enum { free, waiting, over } = .waiting,
    sqe: Sqe,
    socket: ?*Network.Socket = null,
    listener: ?*Network.Listener = null,
    scheduled: bool = false,
    cancelled: bool = false,
    lent: ?[]u8 = null,
    result: i32 = 0,
    flags: u32 = 0,

    pub fn is_multishot(self: *const Operation) bool {
        return switch (self.sqe.opcode) {
            .ACCEPT => self.sqe.ioprio & linux.IORING_ACCEPT_MULTISHOT != 0,
            .RECV => self.sqe.ioprio & linux.IORING_RECV_MULTISHOT != 0,
            else => false,
        };
    }

    pub fn selects_buffer(self: *const Operation) bool {
        return self.sqe.flags & linux.IOSQE_BUFFER_SELECT != 0;
    }

    /// Memory of the engine's that bytes are received into: nobody may look at it or touch it.
    pub fn target(self: *const Operation) ?[]u8 {
        if (self.sqe.opcode != .RECV or self.selects_buffer()) return null;
        return @constCast(range(self.sqe.addr, self.sqe.len));
    }

    pub fn lend(self: *Operation, allocator: std.mem.Allocator) void {
        if (self.target()) |memory| @memset(memory, poison);
        var size: usize = 0;
        self.walk(*usize, &size, add_size);
        if (size == 0) return;
        var copy = std.ArrayList(u8).initCapacity(allocator, size) catch @panic("out of memory");
        self.walk(*std.ArrayList(u8), &copy, add_bytes);
        self.lent = copy.items.ptr[0..size];
    }

    /// What was lent for reading is as it was, and what was lent for writing has what we wrote.
    pub fn is_intact(self: *const Operation) bool {
        const written: usize = if (self.state == .over) @intCast(@max(self.result, 0)) else 0;
        if (self.target()) |memory| return std.mem.allEqual(u8, memory[written..], poison);
        var rest: []const u8 = self.lent orelse return true;
        var same = true;
        var state = Compare{ .rest = &rest, .same = &same };
        self.walk(*Compare, &state, compare);
        return same;
    }

    pub fn give_back(self: *Operation, allocator: std.mem.Allocator) void {
        if (self.lent) |copy| allocator.free(copy);
        self.lent = null;
    }

    /// Visits what was lent for reading: bytes to send with all that describes them, an address.
    fn walk(self: *const Operation, comptime T: type, state: T, visit: fn (T, []const u8) void) void {
        switch (self.sqe.opcode) {
            .SEND => visit_ends(T, state, visit, range(self.sqe.addr, self.sqe.len)),
            .SENDMSG => {
                visit(state, range(self.sqe.addr, @sizeOf(linux.msghdr_const)));
                const header = self.message();
                visit(state, std.mem.sliceAsBytes(header.iov[0..header.iovlen]));
                for (header.iov[0..header.iovlen]) |vector| visit_ends(T, state, visit, vector.base[0..vector.len]);
            },
            .CONNECT => visit(state, range(self.sqe.addr, self.sqe.off)),
            else => {},
        }
    }

    pub fn message(self: *const Operation) *const linux.msghdr_const {
        return @ptrFromInt(self.sqe.addr);
    }

    /// The bytes to send from `offset` on, as they lie in memory now: one part of them.
    pub fn part(self: *const Operation, offset: usize) []const u8 {
        if (self.sqe.opcode == .SEND) return range(self.sqe.addr, self.sqe.len)[offset..];
        const header = self.message();
        var skip = offset;
        for (header.iov[0..header.iovlen]) |vector| {
            if (skip < vector.len) return vector.base[skip..vector.len];
            skip -= vector.len;
        }
        return &.{};
    }
};

fn range(address: u64, length: u64) []const u8 {
    const pointer: [*]const u8 = @ptrFromInt(address);
    return pointer[0..length];
}

fn visit_ends(comptime T: type, state: T, visit: fn (T, []const u8) void, bytes: []const u8) void {
    if (bytes.len <= kept_front + kept_back) return visit(state, bytes);
    visit(state, bytes[0..kept_front]);
    visit(state, bytes[bytes.len - kept_back ..]);
}

fn add_size(size: *usize, bytes: []const u8) void {
    size.* += bytes.len;
}

fn add_bytes(copy: *std.ArrayList(u8), bytes: []const u8) void {
    copy.appendSliceAssumeCapacity(bytes);
}

const Compare = struct { rest: *[]const u8, same: *bool };

fn compare(state: *Compare, bytes: []const u8) void {
    // A changed header may describe other lengths: then the copy runs out.
    if (!state.same.* or bytes.len > state.rest.len or !std.mem.eql(u8, bytes, state.rest.*[0..bytes.len])) {
        state.same.* = false;
        return;
    }
    state.rest.* = state.rest.*[bytes.len..];
}
