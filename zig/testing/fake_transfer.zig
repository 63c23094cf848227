//! Carrying out the operations of the model kernel: checks at submission, one attempt, cancel.
//! Owns nothing: the kernel owns the operations, the network the bytes. Each attempt either ends
//! the operation or leaves it waiting for its socket to change.

const std = @import("std");
const kernel_abi = @import("../kernel.zig");
const linux = kernel_abi.linux;
const negative = kernel_abi.negative;
const Network = @import("fake_network.zig");
const errnos = @import("fake_errnos.zig");

const poll_abi = std.os.linux.POLL;
const poll_in = poll_abi.IN;
const poll_out = poll_abi.OUT;

/// Multishots deliver this often in a row before others have their turn, as Linux does.
const multishot_retries = 32;

/// Looks at a new operation. False: it was refused, with its completion posted.
pub fn begin(kernel: anytype, index: u32) bool {
    const operation = &kernel.operations.items[index];
    const sqe = &operation.sqe;
    switch (sqe.opcode) {
        .ASYNC_CANCEL => return true,
        .READ => {
            kernel.reader = index;
            return true;
        },
        .TIMEOUT => kernel.counts.timeouts += 1,
        .ACCEPT => return begin_accept(kernel, index),
        .RECV, .SEND, .SENDMSG, .POLL_ADD, .CONNECT, .SHUTDOWN, .CLOSE => {
            switch (kernel.network.find(sqe.fd)) {
                .socket => |socket| {
                    operation.socket = socket;
                    socket.operations += 1;
                    kernel.check_life(sqe.user_data, socket.id);
                    return begin_stream(kernel, index, socket);
                },
                else => kernel.violated("an entry names a closed descriptor", sqe.user_data),
            }
        },
        else => kernel.violated("an operation that the model does not know", sqe.user_data),
    }
    kernel.finish(index, negative(.BADF), 0);
    return false;
}

fn begin_accept(kernel: anytype, index: u32) bool {
    const operation = &kernel.operations.items[index];
    const sqe = &operation.sqe;
    kernel.counts.accepts += 1;
    if (sqe.rw_flags != linux.SOCK.NONBLOCK | linux.SOCK.CLOEXEC)
        kernel.violated("accepted sockets would block or be inherited", sqe.user_data);
    if (sqe.addr != 0 and operation.is_multishot())
        kernel.violated("a multishot accept shares one address", sqe.user_data);
    switch (kernel.network.find(sqe.fd)) {
        .listener => |listener| {
            if (listener.acceptor != null) kernel.violated("two accepts on one listener", sqe.user_data);
            if (listener.dead != 0) kernel.violated("an accept on a listener that can never accept", sqe.user_data);
            if (is_spinning(kernel, listener)) kernel.violated("an accept right after descriptors ran out", sqe.user_data);
            if (operation.is_multishot() and kernel.no_multishot_accept) {
                kernel.finish(index, negative(.INVAL), 0);
                return false;
            }
            listener.acceptor = index;
            operation.listener = listener;
            return true;
        },
        else => kernel.violated("an accept names a closed descriptor", sqe.user_data),
    }
    kernel.finish(index, negative(.BADF), 0);
    return false;
}

/// The time to wait for, less what is the clock's unsteadiness.
const backoff_least_ns = 95 * std.time.ns_per_ms;

fn is_spinning(kernel: anytype, listener: *Network.Listener) bool {
    const short_at_ns = listener.short_at_ns orelse return false;
    listener.short_at_ns = null;
    return listener.short_closes == kernel.former.count and kernel.now_ns < short_at_ns + backoff_least_ns;
}

fn begin_stream(kernel: anytype, index: u32, socket: *Network.Socket) bool {
    const operation = &kernel.operations.items[index];
    switch (operation.sqe.opcode) {
        .RECV => {
            kernel.counts.receives += 1;
            const unknown = operation.is_multishot() and kernel.no_multishot_recv;
            if (unknown or kernel.refused_receives > 0) {
                if (!unknown) kernel.refused_receives -= 1;
                kernel.finish(index, if (unknown) negative(.INVAL) else socket.inject(negative(.INVAL)), 0);
                return false;
            }
            if (socket.receiver != null) kernel.violated("two receives on one stream", operation.sqe.user_data);
            socket.receiver = index;
        },
        .SEND, .SENDMSG => {
            kernel.counts.sends += 1;
            if (socket.sender != null) kernel.violated("two sends on one stream", operation.sqe.user_data);
            if (operation.sqe.rw_flags & linux.MSG.NOSIGNAL == 0)
                kernel.violated("a send may raise SIGPIPE", operation.sqe.user_data);
            if (operation.part(0).len == 0) kernel.violated("a send of nothing", operation.sqe.user_data);
            socket.sender = index;
        },
        .POLL_ADD => {
            kernel.counts.polls += 1;
            const bytes = operation.sqe.rw_flags == poll_in;
            if (!bytes and operation.sqe.rw_flags != poll_out or operation.sqe.len != 0)
                kernel.violated("a poll of something else than bytes or room", operation.sqe.user_data);
            const place = if (bytes) &socket.receiver else &socket.sender;
            if (place.* != null) kernel.violated("a wait beside what it stands for", operation.sqe.user_data);
            place.* = index;
        },
        .CONNECT => socket.connector = index,
        else => {},
    }
    return true;
}

/// The operation's last completion is posted: it names its socket no more.
pub fn leave(kernel: anytype, index: u32) void {
    const operation = &kernel.operations.items[index];
    if (operation.listener) |listener| listener.acceptor = null;
    if (kernel.reader == index) kernel.reader = null;
    const socket = operation.socket orelse return;
    socket.operations -= 1;
    if (socket.receiver == index) socket.receiver = null;
    if (socket.sender == index) socket.sender = null;
    if (socket.connector == index) socket.connector = null;
}

pub fn attempt(kernel: anytype, index: u32) void {
    const operation = &kernel.operations.items[index];
    if (operation.cancelled) return end_cancelled(kernel, index);
    switch (operation.sqe.opcode) {
        .ASYNC_CANCEL => cancel(kernel, index),
        .READ => poll_reader(kernel),
        .ACCEPT => accept(kernel, index),
        .RECV => receive(kernel, index, multishot_retries),
        .SEND, .SENDMSG => send(kernel, index),
        .POLL_ADD => poll(kernel, index),
        .CONNECT => connect(kernel, index),
        .SHUTDOWN => shutdown(kernel, index),
        .CLOSE => close(kernel, index),
        else => unreachable,
    }
}

/// The eventfd is a real one: the engine's mailbox writes to it.
pub fn poll_reader(kernel: anytype) void {
    const index = kernel.reader orelse return;
    const operation = &kernel.operations.items[index];
    if (operation.state != .waiting) return;
    if (kernel.strikes(.read_error)) return kernel.finish(index, kernel.one_of(&errnos.read), 0);
    var count: u64 = 0;
    if (linux.errno(linux.read(operation.sqe.fd, @ptrCast(&count), 8)) != .SUCCESS) return;
    const target: *u64 = @ptrFromInt(operation.sqe.addr);
    target.* = count;
    kernel.finish(index, 8, 0);
}

fn accept(kernel: anytype, index: u32) void {
    while (true) {
        const operation = &kernel.operations.items[index];
        const listener = operation.listener.?;
        if (kernel.strikes(.accept_error)) return accept_error(kernel, index);
        if (kernel.strikes(.accept_fatal)) return accept_fatal(kernel, index);
        const fd = kernel.network.accept(listener);
        if (fd == negative(.AGAIN)) return;
        if (fd == negative(.MFILE)) return finish_short(kernel, index, fd);
        if (fd < 0 or !operation.is_multishot() or ends_here(kernel)) return kernel.finish(index, fd, 0);
        kernel.post_more(index, fd, 0);
    }
}

fn accept_error(kernel: anytype, index: u32) void {
    const listener = kernel.operations.items[index].listener.?;
    if (kernel.random().uintLessThan(u8, 5) < 3) return finish_short(kernel, index, kernel.one_of(&errnos.accept_short));
    const result = kernel.one_of(&errnos.accept_passing);
    const lost = result != negative(.AGAIN) and result != negative(.INTR);
    if (lost and listener.backlog.items.len > 0) kernel.network.abandon(listener);
    kernel.finish(index, result, 0);
}

/// Descriptors or memory ran out: the engine is to wait a while.
fn finish_short(kernel: anytype, index: u32, result: i32) void {
    const listener = kernel.operations.items[index].listener.?;
    listener.short_at_ns = kernel.now_ns;
    listener.short_closes = kernel.former.count;
    kernel.finish(index, result, 0);
}

fn accept_fatal(kernel: anytype, index: u32) void {
    const listener = kernel.operations.items[index].listener.?;
    listener.dead = kernel.one_of(&errnos.accept_fatal);
    kernel.counts.dead += 1;
    while (listener.backlog.items.len > 0) kernel.network.abandon(listener);
    kernel.finish(index, listener.dead, 0);
}

/// A multishot cannot go on when the queue is full, and at times for no reason at all.
fn ends_here(kernel: anytype) bool {
    return !kernel.completions.has_room() or kernel.strikes(.end_multishot);
}

fn receive(kernel: anytype, index: u32, most: u32) void {
    var left = most;
    while (left > 0) : (left -= 1) {
        const operation = &kernel.operations.items[index];
        const socket = operation.socket.?;
        if (socket.connected and !socket.broken and kernel.strikes(.receive_error)) {
            kernel.network.break_off(socket);
            return finish_receive(kernel, index, socket.inject(kernel.one_of(&errnos.receive_fatal)));
        }
        if (kernel.strikes(.receive_passing)) return kernel.finish(index, kernel.one_of(&errnos.receive_passing), 0);
        const robbed = operation.selects_buffer() and kernel.strikes(.no_buffer);
        const picked = (if (robbed) null else pick(kernel, index)) orelse {
            kernel.counts.enobufs += 1;
            socket.starved_ns = kernel.now_ns;
            return kernel.finish(index, negative(.NOBUFS), 0);
        };
        const bid, const memory = picked;
        const short = kernel.strikes(.short_receive);
        const size = if (short) 1 + kernel.random().uintLessThan(usize, memory.len) else memory.len;
        const result = kernel.network.receive(socket, memory[0..size]);
        if (result == negative(.AGAIN)) return;
        if (result <= 0) return finish_receive(kernel, index, result);
        if (kernel.sabotages(.swap_received) and result > 1)
            std.mem.swap(u8, &memory[0], &memory[@intCast(result - 1)]);
        const more: u32 = if (socket.inbound.length() > 0) linux.IORING_CQE_F_SOCK_NONEMPTY else 0;
        const flags = take_buffer(kernel, index, bid) | more;
        if (!operation.is_multishot() or ends_here(kernel)) return kernel.finish(index, result, flags);
        kernel.post_more(index, result, flags);
    }
    kernel.schedule(index, 1);
}

/// Where the bytes would go: looked for before the socket is asked, as Linux does.
fn pick(kernel: anytype, index: u32) ?struct { u16, []u8 } {
    const operation = &kernel.operations.items[index];
    if (operation.selects_buffer()) {
        const bid, const memory = kernel.buffers.peek(&kernel.report, kernel.now_ns) orelse return null;
        const length = operation.sqe.len;
        return .{ bid, if (length == 0) memory else memory[0..@min(memory.len, length)] };
    }
    if (!operation.is_intact()) kernel.violated("lent memory was changed before its last completion", operation.sqe.user_data);
    return .{ 0, operation.target().? };
}

fn take_buffer(kernel: anytype, index: u32, bid: u16) u32 {
    if (!kernel.operations.items[index].selects_buffer()) return 0;
    kernel.buffers.commit(bid);
    return linux.IORING_CQE_F_BUFFER | @as(u32, bid) << linux.IORING_CQE_BUFFER_SHIFT;
}

/// The end of a stream; older kernels hand out a buffer with it (F27).
fn finish_receive(kernel: anytype, index: u32, result: i32) void {
    var flags: u32 = 0;
    if (kernel.operations.items[index].selects_buffer() and kernel.strikes(.buffer_at_end)) {
        if (pick(kernel, index)) |picked| flags = take_buffer(kernel, index, picked[0]);
    }
    kernel.finish(index, result, flags);
}

fn send(kernel: anytype, index: u32) void {
    const operation = &kernel.operations.items[index];
    const socket = operation.socket.?;
    if (!socket.broken and kernel.strikes(.send_error)) {
        kernel.network.break_off(socket);
        return kernel.finish(index, socket.inject(kernel.one_of(&errnos.send_fatal)), 0);
    }
    if (kernel.strikes(.send_passing)) return kernel.finish(index, kernel.one_of(&errnos.send_passing), 0);
    const result = send_parts(kernel, index);
    if (result != negative(.AGAIN)) kernel.finish(index, result, 0);
}

fn send_parts(kernel: anytype, index: u32) i32 {
    const operation = &kernel.operations.items[index];
    const socket = operation.socket.?;
    var total: usize = 0;
    while (true) {
        var bytes = operation.part(total);
        if (bytes.len == 0) break;
        const short = kernel.strikes(.short_send);
        if (short) bytes = bytes[0 .. 1 + kernel.random().uintLessThan(usize, bytes.len)];
        const result = kernel.network.send(socket, bytes);
        if (result < 0) return if (total > 0) @intCast(total) else result;
        if (kernel.sabotages(.send_twice)) _ = kernel.network.send(socket, bytes);
        total += @intCast(result);
        if (short or result < bytes.len) break;
    }
    return @intCast(total);
}

/// Waits for bytes, or for room to send into, or for the peer's end.
fn poll(kernel: anytype, index: u32) void {
    const socket = kernel.operations.items[index].socket.?;
    if (kernel.strikes(.poll_passing)) return kernel.finish(index, kernel.one_of(&errnos.poll_passing), 0);
    if (kernel.strikes(.poll_error)) return kernel.finish(index, socket.inject(kernel.one_of(&errnos.poll_fatal)), 0);
    const asked: i32 = @intCast(kernel.operations.items[index].sqe.rw_flags);
    const early = kernel.strikes(.poll_early);
    const events = if (early) asked else if (asked == poll_in) events_of_bytes(socket) else events_of(socket);
    if (events != 0) kernel.finish(index, events, 0);
}

fn events_of_bytes(socket: *const Network.Socket) i32 {
    if (socket.broken) return poll_in | poll_abi.ERR | poll_abi.HUP;
    return if (socket.inbound.length() > 0 or socket.peer_ended) poll_in else 0;
}

/// Like Linux, writable from a third of the room on, while a send takes what there is.
fn events_of(socket: *const Network.Socket) i32 {
    if (socket.broken) return poll_out | poll_abi.ERR | poll_abi.HUP;
    if (socket.peer_closed) return poll_out;
    return if (3 * socket.outbound.space() >= socket.outbound.capacity) poll_out else 0;
}

fn connect(kernel: anytype, index: u32) void {
    const socket = kernel.operations.items[index].socket.?;
    if (kernel.strikes(.connect_error)) return kernel.finish(index, socket.inject(kernel.one_of(&errnos.connect)), 0);
    switch (socket.outcome) {
        .succeed => {
            socket.connected = true;
            kernel.finish(index, 0, 0);
        },
        .refuse => kernel.finish(index, negative(.CONNREFUSED), 0),
        .silent => {},
    }
}

fn shutdown(kernel: anytype, index: u32) void {
    const socket = kernel.operations.items[index].socket.?;
    if (!kernel.strikes(.shutdown_error)) return kernel.finish(index, kernel.network.shutdown(socket), 0);
    kernel.network.break_off(socket);
    kernel.finish(index, socket.inject(kernel.one_of(&errnos.shutdown)), 0);
}

fn close(kernel: anytype, index: u32) void {
    const operation = &kernel.operations.items[index];
    const socket = operation.socket.?;
    if (socket.operations > 1) kernel.violated("a descriptor is closed under an operation", operation.sqe.user_data);
    kernel.end_life(operation.sqe.user_data);
    kernel.counts.closes += 1;
    var result = kernel.network.close(operation.sqe.fd);
    if (kernel.strikes(.close_stolen)) {
        kernel.counts.stolen += 1;
        result = negative(.BADF);
    } else if (kernel.strikes(.close_error)) result = kernel.one_of(&errnos.close);
    kernel.finish(index, result, 0);
}

fn cancel(kernel: anytype, index: u32) void {
    kernel.counts.cancels += 1;
    const wanted = kernel.operations.items[index].sqe.addr;
    const target = kernel.by_user_data.get(wanted) orelse return kernel.finish(index, negative(.NOENT), 0);
    const operation = &kernel.operations.items[target];
    if (operation.state == .over) return kernel.finish(index, negative(.NOENT), 0);
    if (kernel.sabotages(.ignore_cancel)) return kernel.finish(index, 0, 0);
    if (kernel.strikes(.cancel_missed)) {
        return kernel.finish(index, negative(if (kernel.random().boolean()) .NOENT else .ALREADY), 0);
    }
    operation.cancelled = true;
    if (kernel.strikes(.cancel_already)) {
        kernel.schedule(target, kernel.some_delay());
        return kernel.finish(index, negative(.ALREADY), 0);
    }
    const first = kernel.random().boolean();
    if (first) kernel.finish(index, 0, 0);
    if (kernel.strikes(.late_bytes)) {
        kernel.schedule(target, kernel.some_delay());
    } else {
        attempt(kernel, target);
    }
    if (!first) kernel.finish(index, 0, 0);
}

/// A cancelled operation may still have done something.
fn end_cancelled(kernel: anytype, index: u32) void {
    const operation = &kernel.operations.items[index];
    const ended = negative(if (kernel.random().uintLessThan(u8, 4) == 0) .INTR else .CANCELED);
    if (!kernel.strikes(.late_bytes)) return kernel.finish(index, ended, 0);
    switch (operation.sqe.opcode) {
        .RECV => receive(kernel, index, 1),
        .SEND, .SENDMSG => {
            const result = send_parts(kernel, index);
            if (result > 0) return kernel.finish(index, result, 0);
        },
        .POLL_ADD => poll(kernel, index),
        .ACCEPT => accept(kernel, index),
        else => {},
    }
    if (operation.state == .waiting) kernel.finish(index, ended, 0);
}
