//! Questions to the kernel: each carries one capability out on sockets of its own and looks at
//! what came: a flag that is taken proves nothing yet. Leaves nothing behind.
//!
//! All run on one plain ring, one after the other, in the order of `list`.
//! Source: io_uring_enter(2), io_uring_register(2), unix(7).

const std = @import("std");
const kernel = @import("kernel.zig");
const trials = @import("probe_trial.zig");
const linux = kernel.linux;
const Trial = trials.Trial;
const Error = trials.Error;
const Pair = trials.Pair;
const Listener = trials.Listener;
const Group = trials.Group;

const more: u32 = linux.IORING_CQE_F_MORE;

/// A field of `Profile` and the question that fills it, in the order they are asked.
pub const list = .{
    .{ "ext_arg", ext_arg },
    .{ "single_shot", single_shot },
    .{ "linked", linked },
    .{ "provided_buffers", provided_buffers },
    .{ "buffer_rings", buffer_rings },
    .{ "multishot_accept", multishot_accept },
    .{ "multishot_recv", multishot_recv },
    .{ "incremental_buffers", incremental_buffers },
    .{ "recv_bundle", recv_bundle },
    .{ "send_bundle", send_bundle },
    .{ "send_zc", send_zc },
    .{ "async_cancel", async_cancel },
    .{ "cancel_fd", cancel_fd },
    .{ "sync_cancel", sync_cancel },
    .{ "registered_ring_fd", registered_ring_fd },
    .{ "registered_buffers", registered_buffers },
    .{ "direct_descriptors", direct_descriptors },
};

/// A wait with a time limit in the call itself ends by it.
fn ext_arg(trial: *Trial) Error!void {
    if (trial.ring.features & linux.IORING_FEAT_EXT_ARG == 0) return trial.refuse(kernel.negative(.INVAL));
    const result = trial.ring.submit_and_wait(1, 100 * std.time.ns_per_us);
    try trial.require(result == kernel.negative(.TIME));
}

/// Accept, receive and send, once each: what tier BASE lives on.
fn single_shot(trial: *Trial) Error!void {
    const listener = try Listener.open(trial);
    defer listener.close();
    const client = try listener.connect(trial);
    defer kernel.close(client);
    const accept = try trial.prepare(.ACCEPT, listener.fd);
    accept.rw_flags = linux.SOCK.CLOEXEC;
    const server = try trial.result_of(accept);
    const pair = Pair{ .ours = server, .theirs = client };
    defer kernel.close(server);

    // Nothing to read yet: the receive must wait for its data, not fail (FAST_POLL, 5.7).
    var bytes: [8]u8 = undefined;
    const receive = try trial.prepare_receive(server, &bytes);
    const user_data = receive.user_data;
    errdefer trial.cancel(user_data);
    _ = try trial.take(trial.ring.submit());
    try pair.say(trial, "ping");
    const received = try trial.complete(user_data);
    const count: usize = @intCast(try trial.take(received.res));
    try trial.require(std.mem.eql(u8, bytes[0..@min(count, bytes.len)], "ping"));
    const reply = try trial.prepare(.SEND, server);
    reply.addr = @intFromPtr(&bytes);
    reply.len = 4;
    try trial.require(try trial.result_of(reply) == 4);
    try pair.heard(trial, "ping");
}

/// The second of two linked operations is cancelled when the first fails.
fn linked(trial: *Trial) Error!void {
    var byte: [1]u8 = undefined;
    const first = try trial.prepare_receive(-1, &byte);
    first.flags |= linux.IOSQE_IO_LINK;
    const second = try trial.prepare(.NOP, -1);
    const cqe = try trial.complete(second.user_data);
    try trial.require(cqe.res == kernel.negative(.CANCELED));
}

/// Buffers given with PROVIDE_BUFFERS, in a group that is not 0 (F29).
fn provided_buffers(trial: *Trial) Error!void {
    const group_id = 7;
    const pair = try Pair.open(trial);
    defer pair.close();
    var bytes: [2][16]u8 = undefined;
    const provide = try trial.prepare(.PROVIDE_BUFFERS, bytes.len);
    provide.addr = @intFromPtr(&bytes);
    provide.len = bytes[0].len;
    provide.buf_index = group_id;
    provide.off = 3;
    _ = try trial.result_of(provide);
    defer if (trial.prepare(.REMOVE_BUFFERS, bytes.len)) |remove| {
        remove.buf_index = group_id;
        _ = trial.complete(remove.user_data) catch {};
    } else |_| {};

    try pair.say(trial, "provided");
    const receive = try trial.prepare_select(.RECV, pair.ours, group_id);
    receive.len = bytes[0].len;
    const cqe = try trial.complete(receive.user_data);
    try trial.require(try trial.take(cqe.res) == 8 and cqe.flags & linux.IORING_CQE_F_BUFFER != 0);
    const bid = trials.chosen(cqe);
    try trial.require(bid == 3 or bid == 4);
    try trial.require(std.mem.eql(u8, bytes[bid - 3][0..8], "provided"));
}

/// Buffers in a mapped ring are really selected, and the bytes lie in the one that is named.
fn buffer_rings(trial: *Trial) Error!void {
    const pair = try Pair.open(trial);
    defer pair.close();
    const group = try Group.open(trial, 1, 4, 64, false);
    defer group.close(trial);
    for ([_][]const u8{ "first", "second" }) |text| {
        try pair.say(trial, text);
        const receive = try trial.prepare_select(.RECV, pair.ours, group.id);
        const cqe = try trial.complete(receive.user_data);
        try trial.require(std.mem.eql(u8, try group.received(trial, cqe), text));
    }
}

/// One accept gives two connections, and says that more will come.
fn multishot_accept(trial: *Trial) Error!void {
    const listener = try Listener.open(trial);
    defer listener.close();
    const accept = try trial.prepare(.ACCEPT, listener.fd);
    accept.ioprio = linux.IORING_ACCEPT_MULTISHOT;
    accept.rw_flags = linux.SOCK.CLOEXEC;
    const user_data = accept.user_data;
    _ = try trial.take(trial.ring.submit());
    defer trial.cancel(user_data);
    for (0..2) |_| {
        const client = try listener.connect(trial);
        defer kernel.close(client);
        const cqe = try trial.complete(user_data);
        kernel.close(try trial.take(cqe.res));
        try trial.require(cqe.flags & more != 0);
    }
}

/// One receive gives two messages in two buffers, and says that more will come.
fn multishot_recv(trial: *Trial) Error!void {
    const pair = try Pair.open(trial);
    defer pair.close();
    const group = try Group.open(trial, 2, 4, 64, false);
    defer group.close(trial);
    const receive = try trial.prepare_select(.RECV, pair.ours, group.id);
    receive.ioprio = linux.IORING_RECV_MULTISHOT;
    const user_data = receive.user_data;
    _ = try trial.take(trial.ring.submit());
    defer trial.cancel(user_data);
    var previous: ?u16 = null;
    for ([_][]const u8{ "first", "second" }) |text| {
        try pair.say(trial, text);
        const cqe = try trial.complete(user_data);
        try trial.require(std.mem.eql(u8, try group.received(trial, cqe), text));
        try trial.require(cqe.flags & more != 0 and trials.chosen(cqe) != previous);
        previous = trials.chosen(cqe);
    }
}

/// Two messages share one buffer, the second behind the first.
fn incremental_buffers(trial: *Trial) Error!void {
    const pair = try Pair.open(trial);
    defer pair.close();
    const group = try Group.open(trial, 3, 2, 64, true);
    defer group.close(trial);
    for ([_][]const u8{ "first", "second" }) |text| {
        try pair.say(trial, text);
        const receive = try trial.prepare_select(.RECV, pair.ours, group.id);
        const cqe = try trial.complete(receive.user_data);
        try trial.require(try trial.take(cqe.res) == text.len and trials.chosen(cqe) == 0);
        try trial.require(cqe.flags & linux.IORING_CQE_F_BUF_MORE != 0);
    }
    try trial.require(std.mem.startsWith(u8, group.buffer(0), "firstsecond"));
}

/// One receive fills several buffers. The length is asked for, for the kernel sizes the bundle by it
/// where the socket does not say how much is waiting; a remainder would be left for the next one.
fn recv_bundle(trial: *Trial) Error!void {
    const pair = try Pair.open(trial);
    defer pair.close();
    const group = try Group.open(trial, 4, 8, 8, false);
    defer group.close(trial);
    const text = "exactly sixteen.";
    try pair.say(trial, text);
    const receive = try trial.prepare_select(.RECV, pair.ours, group.id);
    receive.ioprio = linux.IORING_RECVSEND_BUNDLE;
    receive.len = text.len;
    const cqe = try trial.complete(receive.user_data);
    try trial.require(try trial.take(cqe.res) == text.len and trials.chosen(cqe) == 0);
    // The buffers lie one behind the other here, so the bytes do too.
    const first = group.buffer(0).ptr;
    try trial.require(std.mem.eql(u8, first[0..text.len], text));
}

/// One send empties several provided buffers.
fn send_bundle(trial: *Trial) Error!void {
    const pair = try Pair.open(trial);
    defer pair.close();
    const group = try Group.open(trial, 5, 2, 8, false);
    defer group.close(trial);
    const sending = try trial.prepare_select(.SEND, pair.ours, group.id);
    sending.ioprio = linux.IORING_RECVSEND_BUNDLE;
    sending.rw_flags = linux.MSG.NOSIGNAL;
    try trial.require(try trial.result_of(sending) == 16);
    const both = group.buffer(0).ptr;
    try pair.heard(trial, both[0..16]);
}

/// A zero-copy send is followed by the notification that its buffer is free (F19). A datagram to
/// oneself, for Unix sockets have no zero copy.
fn send_zc(trial: *Trial) Error!void {
    const kind = linux.SOCK.DGRAM | linux.SOCK.CLOEXEC;
    const fd = try trial.take(kernel.result_of(linux.socket(linux.AF.INET, kind, 0)));
    defer kernel.close(fd);
    if (!connect_to_itself(fd)) return trial.refuse(trials.no_loopback);
    const text = "zero copy";
    const sending = try trial.prepare(.SEND_ZC, fd);
    sending.addr = @intFromPtr(text.ptr);
    sending.len = text.len;
    sending.rw_flags = linux.MSG.NOSIGNAL;
    const user_data = sending.user_data;
    const sent = try trial.complete(user_data);
    const count = try trial.take(sent.res);
    try trial.require(count == text.len and sent.flags & more != 0);
    var bytes: [16]u8 = undefined;
    const raw = linux.recvfrom(fd, &bytes, bytes.len, linux.MSG.DONTWAIT, null, null);
    try trial.require(kernel.result_of(raw) == text.len);
    const notification = try trial.complete(user_data);
    try trial.require(notification.flags & linux.IORING_CQE_F_NOTIF != 0);
}

fn connect_to_itself(fd: i32) bool {
    const loopback: u32 = @bitCast([4]u8{ 127, 0, 0, 1 });
    var address = linux.sockaddr.in{ .port = 0, .addr = loopback };
    var length: linux.socklen_t = @sizeOf(linux.sockaddr.in);
    if (!kernel.ok(kernel.result_of(linux.bind(fd, @ptrCast(&address), length)))) return false;
    if (!kernel.ok(kernel.result_of(linux.getsockname(fd, @ptrCast(&address), &length)))) return false;
    return kernel.ok(kernel.result_of(linux.connect(fd, &address, length)));
}

/// An armed receive is cancelled by its user_data (5.5).
fn async_cancel(trial: *Trial) Error!void {
    const pair = try Pair.open(trial);
    defer pair.close();
    var byte: [1]u8 = undefined;
    const receive = try trial.prepare_receive(pair.ours, &byte);
    const user_data = receive.user_data;
    _ = try trial.take(trial.ring.submit());
    errdefer trial.cancel(user_data);
    const canceller = try trial.prepare(.ASYNC_CANCEL, -1);
    canceller.addr = user_data;
    try expect_both(trial, canceller.user_data, 0, user_data);
}

/// Everything armed on one descriptor is cancelled at once (5.19).
fn cancel_fd(trial: *Trial) Error!void {
    const pair = try Pair.open(trial);
    defer pair.close();
    var byte: [1]u8 = undefined;
    const receive = try trial.prepare_receive(pair.ours, &byte);
    const user_data = receive.user_data;
    _ = try trial.take(trial.ring.submit());
    errdefer trial.cancel(user_data);
    const canceller = try trial.prepare(.ASYNC_CANCEL, pair.ours);
    canceller.rw_flags = linux.IORING_ASYNC_CANCEL_FD | linux.IORING_ASYNC_CANCEL_ALL;
    try expect_both(trial, canceller.user_data, 1, user_data);
}

/// Cancelling without a completion of its own, through io_uring_register (6.0).
fn sync_cancel(trial: *Trial) Error!void {
    const pair = try Pair.open(trial);
    defer pair.close();
    var byte: [1]u8 = undefined;
    const receive = try trial.prepare_receive(pair.ours, &byte);
    const user_data = receive.user_data;
    _ = try trial.take(trial.ring.submit());
    errdefer trial.cancel(user_data);
    var request = std.mem.zeroes(linux.io_uring_sync_cancel_reg);
    request.addr = user_data;
    request.fd = -1;
    request.timeout = .{ .sec = -1, .nsec = -1 };
    _ = try trial.take(trial.ring.register(.REGISTER_SYNC_CANCEL, &request, 1));
    const cqe = try trial.complete(user_data);
    try trial.require(cqe.res == kernel.negative(.CANCELED));
}

/// The canceller answers `result` and what it cancelled ends, in either order.
fn expect_both(trial: *Trial, canceller: u64, result: i32, cancelled: u64) Error!void {
    const first = try trial.complete_either(canceller, cancelled);
    const second = if (first.user_data == canceller) cancelled else canceller;
    // A canceller that was refused cancels nothing: look at its answer before waiting for the other.
    try expect_one(trial, first, canceller, result);
    try expect_one(trial, try trial.complete(second), canceller, result);
}

fn expect_one(trial: *Trial, cqe: trials.Cqe, canceller: u64, result: i32) Error!void {
    const is_canceller = cqe.user_data == canceller;
    if (is_canceller) _ = try trial.take(cqe.res);
    try trial.require(cqe.res == if (is_canceller) result else kernel.negative(.CANCELED));
}

/// The ring is entered by its registered index (5.18).
fn registered_ring_fd(trial: *Trial) Error!void {
    _ = try trial.take(trial.ring.register_ring_fd());
    defer _ = trial.ring.unregister_ring_fd();
    try trial.nop();
}

/// A write from memory registered beforehand. Charged to RLIMIT_MEMLOCK (F16).
fn registered_buffers(trial: *Trial) Error!void {
    const pair = try Pair.open(trial);
    defer pair.close();
    const text = "registered";
    const memory = kernel.map_anonymous(std.heap.page_size_min) orelse
        return trial.refuse(kernel.negative(.NOMEM));
    defer kernel.unmap(memory);
    @memcpy(memory[0..text.len], text);
    const vector = [1]std.posix.iovec{.{ .base = memory.ptr, .len = memory.len }};
    _ = try trial.take(trial.ring.register(.REGISTER_BUFFERS, &vector, 1));
    // Here and not with the ring: what is pinned counts against the user's limit until then.
    defer _ = trial.ring.register(.UNREGISTER_BUFFERS, null, 0);
    const write = try trial.prepare(.WRITE_FIXED, pair.ours);
    write.addr = @intFromPtr(memory.ptr);
    write.len = text.len;
    try trial.require(try trial.result_of(write) == text.len);
    try pair.heard(trial, text);
}

/// An accepted connection lives in the ring's own table, in a slot the kernel picks, is received
/// from there, and closed there (F18).
fn direct_descriptors(trial: *Trial) Error!void {
    var table = std.mem.zeroes(linux.io_uring_rsrc_register);
    table.nr = 4;
    table.flags = linux.IORING_RSRC_REGISTER_SPARSE;
    _ = try trial.take(trial.ring.register(.REGISTER_FILES2, &table, @sizeOf(linux.io_uring_rsrc_register)));
    defer _ = trial.ring.register(.UNREGISTER_FILES, null, 0);
    const listener = try Listener.open(trial);
    defer listener.close();
    const client = try listener.connect(trial);
    defer kernel.close(client);
    const accept = try trial.prepare(.ACCEPT, listener.fd);
    accept.splice_fd_in = @bitCast(@as(u32, linux.IORING_FILE_INDEX_ALLOC));
    const slot = try trial.result_of(accept);
    try trial.require(slot < table.nr);

    try trials.send(trial, client, "direct");
    var bytes: [8]u8 = undefined;
    const receive = try trial.prepare_receive(slot, &bytes);
    receive.flags |= linux.IOSQE_FIXED_FILE;
    const count: usize = @intCast(try trial.result_of(receive));
    try trial.require(std.mem.eql(u8, bytes[0..@min(count, bytes.len)], "direct"));
    const closing = try trial.prepare(.CLOSE, 0);
    closing.splice_fd_in = slot + 1;
    try trial.require(try trial.result_of(closing) == 0);
}
