//! The block of a large body that is being filled: an object that its reader gets as it is.
//! Owns that object until it goes up; never decides what is received when (http_input.zig).
//!
//! Who owns its memory: the block holds one reference, a receive into the rest of it another (its
//! `Target.owner`). It goes up when it is full or the reader has what it waits for; never while a
//! receive may still write into it.

const std = @import("std");
const http_config = @import("http_config.zig");
const python = @import("python.zig");
const connection_module = @import("connection.zig");
const Connection = connection_module.Connection;
const Target = connection_module.Target;
const Object = python.Object;
const assert = std.debug.assert;
const c = &python.c;

pub const Block = struct {
    object: ?*Object = null,
    filled: usize = 0,
    /// Bytes that the reader needs before it can go on: it is not woken for less.
    needed: u64 = 1,

    /// Memory for the next bytes of a body of which `left` are still to come: never longer than
    /// the body, so that no byte of the next request gets into it.
    pub fn target(self: *const Block, left: u64) ?Target {
        if (self.object) |object| {
            return .{ .memory = room_of(object)[self.filled..], .owner = @intFromPtr(python.incref(object)) };
        }
        if (left < http_config.block_min) return null;
        const object = c.PyBytes_FromStringAndSize(null, @min(left, http_config.block_max)) orelse {
            c.PyErr_Clear();
            return null;
        };
        return .{ .memory = room_of(object), .owner = @intFromPtr(object) };
    }

    /// Takes received bytes in, those that have room; returns how many. Null with an exception set.
    pub fn put(self: *Block, connection: *Connection, data: []const u8) ?usize {
        const lent = connection.target orelse return self.copy(data);
        const owner: *Object = @ptrFromInt(lent.owner);
        if (lent.memory.ptr != data.ptr) {
            assert(self.object != owner); // else the receive under way would write over them
            return self.copy(data);
        }
        connection.target = null; // the receive is complete
        if (self.object == null and data.ptr == room_of(owner).ptr) {
            self.object = owner;
            self.filled = data.len;
            return data.len;
        }
        defer python.decref(owner);
        // What was before these bytes has gone up meanwhile, so they begin a block of their own.
        if (self.object != owner) return self.copy(data);
        self.filled += data.len;
        return data.len;
    }

    fn copy(self: *Block, data: []const u8) ?usize {
        const object = self.object orelse {
            self.object = c.PyBytes_FromStringAndSize(data.ptr, @intCast(data.len)) orelse return null;
            self.filled = data.len;
            return data.len;
        };
        const room = room_of(object)[self.filled..];
        const count = @min(room.len, data.len);
        @memcpy(room[0..count], data[0..count]);
        self.filled += count;
        return count;
    }

    pub fn is_ready(self: *const Block) bool {
        const object = self.object orelse return false;
        return self.filled >= self.needed or self.filled == room_of(object).len;
    }

    /// What there is, as the reader's: a new reference, or null with an exception set.
    pub fn give(self: *Block, connection: *const Connection) ?*Object {
        var object: ?*Object = self.object.?;
        const filled = self.filled;
        self.object = null;
        self.filled = 0;
        self.needed = @max(1, self.needed -| filled);
        const room = room_of(object.?);
        if (filled == room.len) return object;
        if (connection.target) |lent| if (lent.owner == @intFromPtr(object.?)) {
            defer python.decref(object.?); // the kernel may still write behind what is filled
            return c.PyBytes_FromStringAndSize(room.ptr, @intCast(filled));
        };
        if (c._PyBytes_Resize(&object, @intCast(filled)) != 0) return null;
        return object;
    }

    pub fn drop(self: *Block) void {
        if (self.object) |object| python.decref(object);
        self.* = .{};
    }
};

fn room_of(object: *Object) []u8 {
    return @constCast(python.bytes_view(object).?);
}
