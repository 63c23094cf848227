//! The memory that the model application lends to the worker: bytes to send, chunks that grow while
//! they wait, places to receive into, files. Owns each until it is released, and notices a second
//! release. What was released is overwritten and never used again, so that whoever still reads it
//! or writes to it is found out.

const std = @import("std");
const Connection = @import("../connection.zig").Connection;
const Target = @import("../connection.zig").Target;
const send = @import("../send.zig");
const Kernel = @import("fake_kernel.zig").Kernel;

const chunk_size = 700;
const target_most = 3000;

pub const Owner = struct {
    kind: enum { bytes, chunk, file, target },
    bytes: []u8 = &.{},
    /// Bytes of a chunk that hold something already.
    used: usize = 0,
    file: i32 = -1,
    released: bool = false,

    /// Puts what fits behind what is there; how much it was.
    pub fn put(self: *Owner, bytes: []const u8) usize {
        const count = @min(bytes.len, self.bytes.len - self.used);
        @memcpy(self.bytes[self.used..][0..count], bytes[0..count]);
        self.used += count;
        return count;
    }

    pub fn of(owner: usize) *Owner {
        return @ptrFromInt(owner);
    }
};

pub const Owners = struct {
    kernel: *Kernel,
    /// Lent and not released.
    out: u64 = 0,
    targets: u64 = 0,
    extended: u64 = 0,

    pub fn copy(self: *Owners, bytes: []const u8) *Owner {
        const owned = self.allocate(bytes.len);
        @memcpy(owned, bytes);
        return self.create(.{ .kind = .bytes, .bytes = owned });
    }

    pub fn chunk(self: *Owners) *Owner {
        return self.create(.{ .kind = .chunk, .bytes = self.allocate(chunk_size) });
    }

    pub fn file(self: *Owners, stream: u64) *Owner {
        return self.create(.{ .kind = .file, .file = self.kernel.files.open(self.kernel.arena.allocator(), stream) });
    }

    /// A place for a connection's next bytes.
    pub fn target(self: *Owners) Target {
        const size = 1 + self.kernel.random().uintLessThan(usize, target_most);
        const owner = self.create(.{ .kind = .target, .bytes = self.allocate(size) });
        self.targets += 1;
        return .{ .memory = owner.bytes, .owner = @intFromPtr(owner) };
    }

    /// The chunk at the end of the queue, if it has room, as http_output.zig looks for one. A send in
    /// flight reads what lies before that.
    pub fn open_chunk(_: *Owners, connection: *const Connection) ?*Owner {
        const last = connection.queue_last orelse return null;
        const owner = Owner.of(last.owner);
        if (owner.kind != .chunk or !send.takes_more(connection)) return null;
        return if (owner.used < owner.bytes.len) owner else null;
    }

    pub fn give(self: *Owners, owner: *Owner) void {
        if (owner.released) self.kernel.violated("bytes are released twice", 0);
        owner.released = true;
        self.out -= 1;
        @memset(owner.bytes, 0xdd);
        if (owner.kind == .file) self.kernel.files.close(owner.file);
    }

    fn create(self: *Owners, value: Owner) *Owner {
        const owner = self.kernel.arena.allocator().create(Owner) catch @panic("out of memory");
        owner.* = value;
        self.out += 1;
        return owner;
    }

    fn allocate(self: *Owners, size: usize) []u8 {
        return self.kernel.arena.allocator().alloc(u8, size) catch @panic("out of memory");
    }
};
