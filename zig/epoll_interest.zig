//! Who waits for which descriptor, and what epoll is told of it: one receiving and one sending
//! operation a descriptor, which is all that a worker ever has in flight (F32, F35).
//! Owns the epoll descriptor and the table. Carries no operation out.
//!
//! Level-triggered: whatever is left in a socket is reported again, so nothing can be missed. A
//! descriptor that is reported while nobody waits for it is told to be silent then.

const std = @import("std");
const kernel = @import("kernel.zig");
const linux = kernel.linux;
const assert = std.debug.assert;

const Sqe = linux.io_uring_sqe;
const EPOLL = linux.EPOLL;

/// An entry that waits: a copy of what it asks for, as the submission queue moves on.
pub const Pending = struct {
    /// NOP: nobody waits here.
    opcode: linux.IORING_OP = .NOP,
    multishot: bool = false,
    selects_buffer: bool = false,
    rw_flags: u32 = 0,
    len: u32 = 0,
    addr: u64 = 0,
    user_data: u64 = 0,

    pub fn of(sqe: *const Sqe) Pending {
        return .{
            .opcode = sqe.opcode,
            // The two flags are the same bit of the same field, each for its own operation.
            .multishot = sqe.ioprio & linux.IORING_RECV_MULTISHOT != 0 and sqe.opcode == .RECV or
                sqe.ioprio & linux.IORING_ACCEPT_MULTISHOT != 0 and sqe.opcode == .ACCEPT,
            .selects_buffer = sqe.flags & linux.IOSQE_BUFFER_SELECT != 0,
            .rw_flags = sqe.rw_flags,
            .len = sqe.len,
            .addr = sqe.addr,
            .user_data = sqe.user_data,
        };
    }

    pub fn is_there(self: *const Pending) bool {
        return self.opcode != .NOP;
    }
};

pub const Descriptor = struct {
    reader: Pending = .{},
    writer: Pending = .{},
    /// What epoll watches it for; 0: epoll does not know it.
    watched: u32 = 0,
    /// Told of once, and again only when something has been carried out: see `Interest.happened`.
    edge: bool = false,

    fn wanted(self: *const Descriptor) u32 {
        const in: u32 = if (self.reader.is_there()) EPOLL.IN else 0;
        const out: u32 = if (self.writer.is_there()) EPOLL.OUT else 0;
        return in | out;
    }

    /// True when an event tells of something that nobody waits for.
    pub fn is_unwanted(self: *const Descriptor, events: u32) bool {
        const awaited = self.wanted();
        return awaited == 0 or events & ~awaited & (EPOLL.IN | EPOLL.OUT) != 0;
    }
};

pub const Interest = struct {
    epoll: i32,
    /// By descriptor number; grows, so a pointer into it holds until the next `place_of`.
    descriptors: []Descriptor,
    memory: []align(std.heap.page_size_min) u8,

    pub fn init(failure: *i32) error{SetupFailed}!Interest {
        const epoll = kernel.result_of(linux.epoll_create1(EPOLL.CLOEXEC));
        failure.* = epoll;
        if (!kernel.ok(epoll)) return error.SetupFailed;
        errdefer kernel.close(epoll);
        failure.* = kernel.negative(.NOMEM);
        const memory = kernel.map_anonymous(1024 * @sizeOf(Descriptor)) orelse return error.SetupFailed;
        return .{ .epoll = epoll, .memory = memory, .descriptors = table(memory) };
    }

    pub fn deinit(self: *Interest) void {
        kernel.unmap(self.memory);
        kernel.close(self.epoll);
    }

    fn table(memory: []align(std.heap.page_size_min) u8) []Descriptor {
        comptime assert(@intFromEnum(linux.IORING_OP.NOP) == 0); // fresh memory: nobody waits
        const first: [*]Descriptor = @ptrCast(memory.ptr);
        return first[0 .. memory.len / @sizeOf(Descriptor)];
    }

    /// The entry of a descriptor that something has waited for, or null.
    pub fn find(self: *const Interest, fd: i32) ?*Descriptor {
        if (fd < 0 or fd >= self.descriptors.len) return null;
        return &self.descriptors[@intCast(fd)];
    }

    /// The place where an entry is to wait, or null without memory for it.
    pub fn place_of(self: *Interest, sqe: *const Sqe) ?*Pending {
        const descriptor = self.find(sqe.fd) orelse self.grow(sqe.fd) orelse return null;
        const reads = switch (sqe.opcode) {
            .RECV, .ACCEPT, .READ => true,
            .POLL_ADD => sqe.rw_flags & linux.POLL.IN != 0,
            else => false,
        };
        return if (reads) &descriptor.reader else &descriptor.writer;
    }

    /// Lets the entry wait there until its descriptor is ready. 0, or -errno when it cannot.
    pub fn await_ready(self: *Interest, sqe: *const Sqe, place: *Pending) i32 {
        assert(!place.is_there());
        const descriptor = self.find(sqe.fd).?;
        place.* = Pending.of(sqe);
        if (descriptor.watched & descriptor.wanted() == descriptor.wanted() and !descriptor.edge) return 0;
        // Whoever shares the listener may take the connection first: accepting must not block.
        if (sqe.opcode == .ACCEPT) kernel.set_nonblocking(sqe.fd);
        const result = self.update(sqe.fd, descriptor);
        if (result < 0) place.* = .{};
        return result;
    }

    fn grow(self: *Interest, fd: i32) ?*Descriptor {
        if (fd < 0) return null;
        const needed = (@as(usize, @intCast(fd)) + 1) * @sizeOf(Descriptor);
        const memory = kernel.map_anonymous(@max(2 * self.memory.len, needed)) orelse return null;
        @memcpy(memory[0..self.memory.len], self.memory);
        kernel.unmap(self.memory);
        self.memory = memory;
        self.descriptors = table(memory);
        return self.find(fd);
    }

    /// Tells epoll what is waited for now. 0, or -errno.
    pub fn update(self: *Interest, fd: i32, descriptor: *Descriptor) i32 {
        const wanted = descriptor.wanted();
        if (wanted == descriptor.watched and !descriptor.edge) return 0;
        if (wanted == 0) {
            self.forget(fd);
            return 0;
        }
        // Of those who wait for one listener, one is woken; such an entry is never modified.
        const exclusive: u32 = if (descriptor.reader.opcode == .ACCEPT) EPOLL.EXCLUSIVE else 0;
        const edge: u32 = if (descriptor.edge) EPOLL.ET else 0;
        var event = linux.epoll_event{ .events = wanted | exclusive | edge, .data = .{ .fd = fd } };
        var result = self.control(if (descriptor.watched == 0) EPOLL.CTL_ADD else EPOLL.CTL_MOD, fd, &event);
        // Closed behind our back, and the number is another file's: mistakes of the application.
        if (result == kernel.negative(.NOENT)) result = self.control(EPOLL.CTL_ADD, fd, &event);
        if (result == kernel.negative(.EXIST)) result = self.control(EPOLL.CTL_MOD, fd, &event);
        if (result == 0) descriptor.watched = wanted;
        return result;
    }

    /// An event is over, and something was carried out or not. An error that no call names would be
    /// reported for ever: what the application has let the kernel put into a socket's error queue
    /// (timestamps, say) and does not read. Such a descriptor is edge-triggered from there on, and set
    /// anew whenever there may be more to do.
    pub fn happened(self: *Interest, fd: i32, descriptor: *Descriptor, events: u32, done: bool) void {
        if (descriptor.watched == 0 or descriptor.reader.opcode == .ACCEPT) return;
        if (descriptor.edge) {
            if (done) _ = self.update(fd, descriptor);
        } else if (!done and events & EPOLL.ERR != 0) {
            descriptor.edge = true;
            _ = self.update(fd, descriptor);
        }
    }

    /// The number has just come from the kernel: whatever was watched under it is closed, be it by
    /// the owner of a listener or, by mistake, by the application.
    pub fn renew(self: *Interest, fd: i32) void {
        const descriptor = self.find(fd) orelse return;
        descriptor.watched = 0;
        descriptor.edge = false;
    }

    /// Before a descriptor is closed: a child that has inherited it would keep its events coming.
    pub fn forget(self: *Interest, fd: i32) void {
        const descriptor = self.find(fd) orelse return;
        descriptor.edge = false;
        if (descriptor.watched == 0) return;
        descriptor.watched = 0;
        _ = self.control(EPOLL.CTL_DEL, fd, null);
    }

    fn control(self: *const Interest, operation: u32, fd: i32, event: ?*linux.epoll_event) i32 {
        return kernel.result_of(linux.epoll_ctl(self.epoll, operation, fd, event));
    }

    /// Waits for events, at most `timeout_ms` (-1: for ever). How many there are, or -errno.
    pub fn wait(self: *const Interest, events: []linux.epoll_event, timeout_ms: i32) i32 {
        return kernel.result_of(linux.epoll_wait(self.epoll, events.ptr, @intCast(events.len), timeout_ms));
    }
};
