//! What a reply is put into on its way to the send queue: chunks for heads and small bodies,
//! Python's own objects for large ones. Owns the chunks; whose a queued piece is, its owner tells.
//!
//! Small things are copied: several replies of one turn then lie behind one another in one piece,
//! and go out as one. A piece's owner is a Python object, or a chunk, told apart by its lowest bit.

const std = @import("std");
const python = @import("python.zig");
const send = @import("send.zig");
const Connection = @import("connection.zig").Connection;
const Piece = @import("connection.zig").Piece;
const PoolType = @import("pool.zig").PoolType;
const PythonWorker = @import("python_handler.zig").PythonWorker;
const Object = python.Object;
const assert = std.debug.assert;

/// Below this a body is copied behind its head.
pub const copy_max = 2048;

pub const Chunk = struct {
    used: usize,
    data: [4096 - @sizeOf(usize)]u8,
};

pub const Chunks = PoolType(Chunk);

const chunk_bit: usize = 1;

/// Releases a piece's owner if it is a chunk.
pub fn release(chunks: *Chunks, owner: usize) bool {
    if (owner & chunk_bit == 0) return false;
    chunks.give(@ptrFromInt(owner & ~chunk_bit));
    return true;
}

/// Queues a copy. False: the connection takes no more.
pub fn copy(worker: *PythonWorker, connection: *Connection, bytes: []const u8) bool {
    var rest = bytes;
    while (rest.len > 0) {
        if (open_chunk(connection)) |chunk| {
            const count = @min(rest.len, chunk.data.len - chunk.used);
            @memcpy(chunk.data[chunk.used..][0..count], rest[0..count]);
            chunk.used += count;
            send.extend(worker, connection, count);
            rest = rest[count..];
        } else {
            const chunk = worker.handler.http.chunks.take() orelse return false;
            const count = @min(rest.len, chunk.data.len);
            @memcpy(chunk.data[0..count], rest[0..count]);
            chunk.used = count;
            if (!send.append(worker, connection, chunk.data[0..count], @intFromPtr(chunk) | chunk_bit)) {
                worker.handler.http.chunks.give(chunk);
                return false;
            }
            rest = rest[count..];
        }
        if (!send.takes_more(connection)) return false; // the queue's limit ended it (F37)
    }
    return send.takes_more(connection);
}

/// The chunk at the end of the queue, if it has room. What a send in flight reads lies before it.
fn open_chunk(connection: *const Connection) ?*Chunk {
    const last = connection.queue_last orelse return null;
    if (last.owner & chunk_bit == 0 or !send.takes_more(connection)) return null;
    const chunk: *Chunk = @ptrFromInt(last.owner & ~chunk_bit);
    return if (chunk.used < chunk.data.len) chunk else null;
}

/// Room at the queue's end in which a small reply is put together where it is sent from.
pub const Place = struct {
    chunk: *Chunk,
    fresh: bool,

    /// Null: no memory, or the connection takes no more.
    pub fn take(worker: *PythonWorker, connection: *const Connection, least: usize) ?Place {
        if (open_chunk(connection)) |chunk| {
            if (chunk.data.len - chunk.used >= least) return .{ .chunk = chunk, .fresh = false };
        }
        if (!send.takes_more(connection)) return null;
        const chunk = worker.handler.http.chunks.take() orelse return null;
        chunk.used = 0;
        return .{ .chunk = chunk, .fresh = true };
    }

    pub fn room(self: Place) []u8 {
        return self.chunk.data[self.chunk.used..];
    }

    /// Nothing is queued.
    pub fn give_back(self: Place, worker: *PythonWorker) void {
        if (self.fresh) worker.handler.http.chunks.give(self.chunk);
    }

    /// Queues the first `count` bytes of the room.
    pub fn queue(self: Place, worker: *PythonWorker, connection: *Connection, count: usize) void {
        self.chunk.used += count;
        if (!self.fresh) return send.extend(worker, connection, count);
        const owner = @intFromPtr(self.chunk) | chunk_bit;
        if (!send.append(worker, connection, self.chunk.data[0..count], owner)) self.give_back(worker);
    }
};

/// Queues bytes that `owner` keeps alive; a reference is taken. False: it takes no more.
pub fn object(worker: *PythonWorker, connection: *Connection, bytes: []const u8, owner: *Object) bool {
    if (bytes.len == 0) return true;
    if (bytes.len <= copy_max) return copy(worker, connection, bytes);
    const held = python.incref(owner);
    if (send.append(worker, connection, bytes, @intFromPtr(held))) return true;
    python.decref(held);
    return false;
}

/// Queues a part of a file, whose descriptor `owner` keeps open.
pub fn file(worker: *PythonWorker, connection: *Connection, fd: i32, offset: u64, count: u64, owner: *Object) bool {
    if (count == 0) return true;
    const held = python.incref(owner);
    if (send.append_piece(worker, connection, Piece.of_file(fd, offset, count, @intFromPtr(held)))) return true;
    python.decref(held);
    return false;
}
