//! Completions that belong to nobody: of operations that no engine has issued (F11), and of slots
//! whose owner is gone (F12), at times with a buffer. Owns the memory of former owners: a slot is one
//! as soon as the engine has taken its close's completion.

const std = @import("std");
const kernel_abi = @import("../kernel.zig");
const linux = kernel_abi.linux;
const token_module = @import("../token.zig");
const Token = token_module.Token;
const errnos = @import("fake_errnos.zig");

const operations = [_]token_module.Operation{ .connect, .receive, .send, .cancel, .shutdown, .close };
const first_unknown = @intFromEnum(token_module.Operation.close) + 1;

/// The last few of them.
pub const Former = struct {
    tokens: [16]Token = undefined,
    count: usize = 0,
};

pub fn is_unknown(user_data: u64) bool {
    return user_data >> 56 >= first_unknown;
}

/// The engine takes a completion.
pub fn remember(kernel: anytype, cqe: *const linux.io_uring_cqe) void {
    const token = Token.from_user_data(cqe.user_data);
    if (token.operation != .close or cqe.flags & linux.IORING_CQE_F_MORE != 0) return;
    const former = &kernel.former;
    former.tokens[former.count % former.tokens.len] = token;
    former.count += 1;
}

pub fn post(kernel: anytype) void {
    if (kernel.strikes(.unknown_completion)) {
        kernel.counts.unknown += 1;
        const operation = kernel.random().intRangeAtMost(u64, first_unknown, 250);
        kernel.completions.post(.{
            .user_data = operation << 56 | kernel.random().uintLessThan(u64, 1000),
            .res = kernel.random().int(i16),
            .flags = 0,
        });
    }
    if (kernel.former.count > 0 and kernel.strikes(.stale_completion)) post_stale(kernel);
}

/// Not its last one: those the engine has counted.
fn post_stale(kernel: anytype) void {
    const former = &kernel.former;
    const random = kernel.random();
    const old = former.tokens[random.uintLessThan(usize, @min(former.count, former.tokens.len))];
    const operation = operations[random.uintLessThan(usize, operations.len)];
    var flags: u32 = linux.IORING_CQE_F_MORE;
    var result = kernel.one_of(&errnos.receive_fatal);
    if (operation == .receive and kernel.buffers.entries != null) {
        if (kernel.buffers.peek(&kernel.report, kernel.now_ns)) |picked| {
            const bid, const memory = picked;
            kernel.buffers.commit(bid);
            @memset(memory, 'x');
            flags |= linux.IORING_CQE_F_BUFFER | @as(u32, bid) << linux.IORING_CQE_BUFFER_SHIFT;
            result = @intCast(memory.len);
        }
    }
    kernel.counts.stale += 1;
    const user_data = Token.init(operation, old.slot, old.generation).to_user_data();
    kernel.completions.post(.{ .user_data = user_data, .res = result, .flags = flags });
}
