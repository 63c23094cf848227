//! Sending: a queue per connection, one send in flight (F35), queued pieces gathered into it.
//! Never copies a byte, and never lets a queue grow beyond its limits.
//!
//! A piece's bytes belong to its owner (for Python: a bytes object that is kept), lent to the
//! kernel from the send's submission to its completion, and released when they have gone out.

const std = @import("std");
const kernel = @import("kernel.zig");
const linux = kernel.linux;
const closing = @import("closing.zig");
const timing = @import("timing.zig");
const connection_module = @import("connection.zig");
const Connection = connection_module.Connection;
const Piece = connection_module.Piece;
const assert = std.debug.assert;

/// Queues bytes. They are the worker's until it calls `handler.release(owner)`. False: the
/// connection takes no more, and the bytes are still the caller's.
pub fn append(worker: anytype, connection: *Connection, data: []const u8, owner: usize) bool {
    return append_piece(worker, connection, .{ .next = null, .data = data, .owner = owner });
}

/// Queues bytes, or a part of a file; as `append`.
pub fn append_piece(worker: anytype, connection: *Connection, content: Piece) bool {
    if (!takes_more(connection)) return false;
    assert(content.data.len > 0);
    const piece = worker.pieces.take() orelse {
        closing.abort(worker, connection, @intFromEnum(kernel.E.NOMEM));
        return false;
    };
    piece.* = content;
    connection.queue(piece);
    queue_grew(worker, connection);
    return true;
}

/// Lets the last piece of the queue reach `count` bytes further: its owner has written them there.
/// A send in flight is none the wiser, it was given the length of its time.
pub fn extend(worker: anytype, connection: *Connection, count: usize) void {
    assert(takes_more(connection));
    const piece = connection.queue_last.?;
    assert(piece.file < 0);
    piece.data.len += count;
    connection.queued_bytes += count;
    queue_grew(worker, connection);
}

pub fn takes_more(connection: *const Connection) bool {
    return connection.phase == .open and !connection.flags.write_end and !connection.flags.send_broken;
}

fn queue_grew(worker: anytype, connection: *Connection) void {
    worker.mark_dirty(connection);
    const queued = connection.queued_in_memory();
    if (queued > worker.metrics.send_queue_high_water) worker.metrics.send_queue_high_water = queued;
    check_high(worker, connection);
}

/// What a long queue leads to: above the high-water mark the application is told, above the pause
/// mark we stop reading, above the limit the connection ends. The last two are about memory, of which
/// a file in the queue takes none.
pub fn check_high(worker: anytype, connection: *Connection) void {
    const queued = connection.queued_in_memory();
    const limit = worker.config.send_queue_limit;
    if (limit != 0 and queued > limit) {
        // The peer does not read and the application goes on: end it before memory ends (F37).
        worker.metrics.errors_send += 1;
        return closing.abort(worker, connection, @intFromEnum(kernel.E.NOBUFS));
    }
    const pause = worker.config.send_queue_pause;
    if (pause != 0 and queued > pause) connection.flags.choked = true;
    if (connection.queued_bytes <= connection.write_high or connection.flags.congested) return;
    connection.flags.congested = true;
    worker.handler.congested(worker, connection);
}

/// Starts a send of what is queued, unless one is in flight. False: no entry was free.
pub fn start(worker: anytype, connection: *Connection) bool {
    if (connection.send != .none or connection.flags.send_broken) return true;
    const first = connection.queue_first orelse return true;
    if (first.file >= 0) return start_file(worker, connection);
    var gather: ?*connection_module.Gather = null;
    const follower = first.next;
    if (follower != null and follower.?.file < 0) {
        gather = worker.gathers.take();
        if (gather == null) {
            closing.abort(worker, connection, @intFromEnum(kernel.E.NOMEM));
            return true;
        }
    }
    const sqe = worker.issue(connection, .send) orelse {
        if (gather) |unused| worker.gathers.give(unused);
        return false;
    };
    sqe.fd = connection.fd;
    sqe.rw_flags = linux.MSG.NOSIGNAL;
    if (gather) |lent| {
        const before_file = fill(lent, connection);
        if (before_file) sqe.rw_flags |= linux.MSG.MORE;
        sqe.opcode = .SENDMSG;
        sqe.addr = @intFromPtr(&lent.header);
        sqe.len = 1;
        connection.gather = lent;
    } else {
        const rest = first.data[connection.sent..];
        sqe.opcode = .SEND;
        sqe.addr = @intFromPtr(rest.ptr);
        sqe.len = @intCast(@min(rest.len, send_max));
        if (follower != null) sqe.rw_flags |= linux.MSG.MORE; // a file's part comes next
    }
    connection.send = .armed;
    connection.flags.polling = false;
    connection.send_progress_ns = worker.now_ns;
    if (worker.config.write_timeout_ns != 0) timing.refresh(worker, connection);
    return true;
}

/// What a turn sends of a file at most, so that one download does not hold up the others.
const file_part_max = 1 << 20;

/// Sends a file's part from the page cache, without a copy in user memory. sendfile(2) is no
/// operation of the ring, and the ring's splice runs on a thread of the kernel each time: so it is
/// called here, on a socket that never blocks (decision 0009). A socket that took less than it was
/// given is full, and the ring waits for room; one that took all has more, so it is not asked: the
/// next turn goes on. False: look again, in that turn at the earliest.
fn start_file(worker: anytype, connection: *Connection) bool {
    const turn: u32 = @truncate(worker.metrics.turns);
    if (connection.file_turn == turn) return false;
    var left: usize = file_part_max;
    while (left > 0) {
        const piece = connection.queue_first orelse return true;
        if (piece.file < 0) return start(worker, connection);
        const wanted = @min(piece.data.len - connection.sent, left);
        const offset = piece.offset + connection.sent;
        const result = send_part(worker, connection.fd, piece.file, offset, wanted);
        if (result == kernel.negative(.INTR)) continue;
        if (result == kernel.negative(.AGAIN)) return poll_room(worker, connection);
        if (result < 0) {
            failed(worker, connection, result);
            return true;
        }
        if (result == 0) { // shorter than promised: what follows would be taken for its bytes
            closing.abort(worker, connection, @intFromEnum(kernel.E.NODATA));
            return true;
        }
        left -= @intCast(result);
        progressed(worker, connection, @intCast(result));
        if (connection.phase != .open and connection.phase != .flushing) return true;
        if (result < wanted) return poll_room(worker, connection);
    }
    if (connection.queue_first == null) return true;
    connection.file_turn = turn;
    return false;
}

/// A call that takes longer than giving the interpreter's lock away and taking it again: nobody else's
/// Python waits for it, nor for a disk that has to be read.
const long_call_min = 64 * 1024;

fn send_part(worker: anytype, socket: i32, file: i32, offset: u64, count: usize) i32 {
    if (count < long_call_min) return worker.ring.send_file(socket, file, offset, count);
    worker.handler.before_wait();
    defer worker.handler.after_wait();
    defer worker.now_ns = worker.ring.now_ns(); // its time is no gap in which the worker was away
    return worker.ring.send_file(socket, file, offset, count);
}

fn poll_room(worker: anytype, connection: *Connection) bool {
    const sqe = worker.issue(connection, .send) orelse return false;
    sqe.opcode = .POLL_ADD;
    sqe.fd = connection.fd;
    sqe.rw_flags = std.os.linux.POLL.OUT;
    // Room that took nothing when it was told of is no progress.
    if (!connection.flags.polling) connection.send_progress_ns = worker.now_ns;
    connection.flags.polling = true;
    connection.send = .armed;
    if (worker.config.write_timeout_ns != 0) timing.refresh(worker, connection);
    return true;
}

/// One operation's bytes at most: its result is an i32.
const send_max = 1 << 30;

/// Gathers what is queued, up to a file's part. True when one comes next.
fn fill(gather: *connection_module.Gather, connection: *const Connection) bool {
    var piece = connection.queue_first;
    var skip = connection.sent;
    var count: usize = 0;
    var total: usize = 0;
    while (piece) |p| : (piece = p.next) {
        const rest = p.data[skip..];
        skip = 0;
        if (p.file >= 0) break;
        if (count == connection_module.gather_max or total + rest.len > send_max) break;
        gather.vectors[count] = .{ .base = rest.ptr, .len = rest.len };
        count += 1;
        total += rest.len;
    }
    if (count == 0) {
        // One piece larger than a send may be: its front.
        const rest = connection.queue_first.?.data[connection.sent..];
        gather.vectors[0] = .{ .base = rest.ptr, .len = send_max };
        count = 1;
    }
    gather.header = .{
        .name = null,
        .namelen = 0,
        .iov = &gather.vectors,
        .iovlen = count,
        .control = null,
        .controllen = 0,
        .flags = 0,
    };
    return piece != null and piece.?.file >= 0;
}

pub fn completed(worker: anytype, connection: *Connection, cqe: *const linux.io_uring_cqe) void {
    assert(connection.send != .none);
    connection.send = .none;
    if (connection.gather) |lent| {
        worker.gathers.give(lent);
        connection.gather = null;
    }
    if (cqe.res < 0) return failed(worker, connection, cqe.res);
    // Room again, or an error that sending the file's next part will name.
    if (connection.flags.polling) return worker.mark_dirty(connection);
    progressed(worker, connection, @intCast(cqe.res));
}

/// So many bytes of the queue have gone out: what waited for that goes on.
fn progressed(worker: anytype, connection: *Connection, bytes: usize) void {
    worker.metrics.sends += 1;
    worker.metrics.bytes_sent += bytes;
    connection.send_progress_ns = worker.now_ns;
    connection.flags.polling = false;
    advance(worker, connection, bytes);
    if (connection.queue_first != null or connection.phase != .open or connection.flags.write_end) {
        worker.mark_dirty(connection);
    }
    if (connection.flags.choked and connection.queued_in_memory() <= worker.config.send_queue_pause / 2) {
        connection.flags.choked = false;
        worker.mark_dirty(connection);
    }
    if (connection.flags.congested and connection.queued_bytes <= connection.write_low) {
        connection.flags.congested = false;
        if (connection.phase == .open) worker.handler.drained(worker, connection);
    }
}

/// Takes `bytes` off the front of the queue: a short send goes on from there (F36).
fn advance(worker: anytype, connection: *Connection, bytes: usize) void {
    var left = bytes;
    assert(left <= connection.queued_bytes);
    connection.queued_bytes -= left;
    while (left > 0) {
        const piece = connection.queue_first.?;
        const rest = piece.data.len - connection.sent;
        if (piece.file >= 0) connection.queued_in_files -= @min(left, rest);
        if (left < rest) {
            connection.sent += left;
            return;
        }
        left -= rest;
        connection.sent = 0;
        release(worker, connection.unqueue().?);
    }
}

fn release(worker: anytype, piece: *connection_module.Piece) void {
    worker.handler.release(piece.owner);
    worker.pieces.give(piece);
}

fn failed(worker: anytype, connection: *Connection, res: i32) void {
    worker.mark_dirty(connection);
    switch (kernel.errno_of(res)) {
        // Ours, or a passing one: `start` sends the same bytes again if they still matter.
        .CANCELED, .INTR, .AGAIN => {},
        else => {
            worker.metrics.errors_send += 1;
            connection.flags.send_broken = true;
            closing.abort(worker, connection, -res);
        },
    }
}

/// Releases what is queued. No send may be in flight: its pieces are lent to the kernel.
pub fn drop_queue(worker: anytype, connection: *Connection) void {
    assert(connection.send == .none);
    while (connection.unqueue()) |piece| release(worker, piece);
    connection.queued_bytes = 0;
    connection.queued_in_files = 0;
    connection.sent = 0;
}
