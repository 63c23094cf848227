//! The model kernel: operations in flight, what carries them out, and a virtual clock.
//! Owns the network, the buffers' kernel side, the completions and every event to come. Decides by
//! its seed what is late, cut short or fails, and writes down what an engine must never do.
//! Carrying an operation out lies in fake_transfer.zig; io_uring_enter in fake_ring.zig.

const std = @import("std");
const kernel = @import("../kernel.zig");
const linux = kernel.linux;
const Token = @import("../token.zig").Token;
const Buffers = @import("fake_buffers.zig").Buffers;
const Completions = @import("fake_completions.zig").Completions;
const faults_module = @import("fake_faults.zig");
const Faults = faults_module.Faults;
const Files = @import("fake_files.zig").Files;
const strays = @import("fake_strays.zig");
const Network = @import("fake_network.zig").Network;
const Operation = @import("fake_operation.zig").Operation;
const transfer = @import("fake_transfer.zig");
const Sqe = linux.io_uring_sqe;

/// Who acts in the model besides the engine: peers, and an application that wants something.
pub const World = struct {
    context: *anyopaque,
    /// True: the engine's eventfd may have been written to.
    act: *const fn (context: *anyopaque, which: u32) bool,
    /// The engine is about to sleep in the kernel, all that it submitted being taken.
    sleeps: *const fn (context: *anyopaque) void,
};

const Event = struct {
    at_ns: u64,
    order: u64,
    what: union(enum) { operation: struct { index: u32, serial: u64 }, world: u32 },

    fn compare(_: void, a: Event, b: Event) std.math.Order {
        return std.math.order(a.at_ns, b.at_ns).differ() orelse std.math.order(a.order, b.order);
    }
};

/// How often things happened, for tests that ask.
pub const Counts = struct {
    enters: u64 = 0,
    waits: u64 = 0,
    submitted: u64 = 0,
    accepts: u64 = 0,
    receives: u64 = 0,
    sends: u64 = 0,
    polls: u64 = 0,
    file_sends: u64 = 0,
    /// Receives at once.
    blocks: u64 = 0,
    file_bytes: u64 = 0,
    cancels: u64 = 0,
    timeouts: u64 = 0,
    enobufs: u64 = 0,
    overflows: u64 = 0,
    in_flight_most: u64 = 0,
    sabotaged: u64 = 0,
    /// Completions of operations that nobody knows, and of slots' former owners.
    unknown: u64 = 0,
    stale: u64 = 0,
    /// Descriptors of the engine's that somebody else closed.
    stolen: u64 = 0,
    closes: u64 = 0,
    /// Listeners that can never accept again.
    dead: u64 = 0,
};

pub const Kernel = struct {
    arena: std.heap.ArenaAllocator,
    /// For what comes and goes with each operation.
    gpa: std.mem.Allocator = std.heap.smp_allocator,
    prng: std.Random.DefaultPrng,
    faults: Faults = .{},
    struck: faults_module.Struck = .initFill(0),
    sabotage: faults_module.Sabotage = .none,
    report: faults_module.Report = .{},
    counts: Counts = .{},
    now_ns: u64 = std.time.ns_per_s,
    network: Network,
    files: Files = .{},
    buffers: Buffers = .{},
    former: strays.Former = .{},
    completions: Completions,
    operations: std.ArrayList(Operation) = .empty,
    unused: std.ArrayList(u32) = .empty,
    in_flight: u32 = 0,
    by_user_data: std.AutoHashMapUnmanaged(u64, u32) = .empty,
    /// Which socket a slot and generation stand for, from the first operation to the close.
    lives: std.AutoHashMapUnmanaged(u64, u64) = .empty,
    events: std.PriorityQueue(Event, void, Event.compare) = .empty,
    order: u64 = 0,
    world: ?World = null,
    reader: ?u32 = null,
    /// What the engine says its next deadline is: a wait must not go beyond it (F7).
    wake_by_ns: u64 = std.math.maxInt(u64),
    /// The handler's lock is others' to take: between its `before_wait` and `after_wait`.
    unlocked: bool = false,
    /// So many receives are refused when they are submitted, each the end of its batch (F1).
    refused_receives: u32 = 0,
    /// So many who wait in a backlog hang up before they are accepted.
    aborted_accepts: u32 = 0,
    /// An older kernel: EINVAL (F13).
    no_multishot_accept: bool = false,
    no_multishot_recv: bool = false,
    /// The errnos of io_uring_enter's own in this turn.
    failed_enters: std.StaticBitSet(256) = .initEmpty(),
    /// A clock that stands still for so long, and makes up for it then.
    clock_step_ns: u64 = 0,
    unread_ns: u64 = 0,
    /// When the clock was last far ahead all of a sudden.
    jumped_ns: u64 = 0,
    /// What the next io_uring_enter says, if not 0: -errno.
    enter_failure: i32 = 0,
    /// A wait without end while nothing was left that could end it.
    stuck: bool = false,

    pub fn create(seed: u64, cq_entries: u32) *Kernel {
        const self = std.heap.smp_allocator.create(Kernel) catch @panic("out of memory");
        self.* = .{
            .arena = .init(std.heap.page_allocator),
            .prng = .init(seed),
            .network = undefined,
            .completions = undefined,
        };
        self.network = .{ .allocator = self.arena.allocator(), .clock_ns = &self.now_ns };
        self.completions = .init(self.arena.allocator(), cq_entries);
        return self;
    }

    pub fn destroy(self: *Kernel) void {
        for (self.operations.items) |*operation| operation.give_back(self.gpa);
        self.operations.deinit(self.gpa);
        self.unused.deinit(self.gpa);
        self.by_user_data.deinit(self.gpa);
        self.lives.deinit(self.gpa);
        self.events.deinit(self.gpa);
        self.arena.deinit();
        std.heap.smp_allocator.destroy(self);
    }

    pub fn random(self: *Kernel) std.Random {
        return self.prng.random();
    }

    pub fn chance(self: *Kernel, of_thousand: u16) bool {
        return of_thousand > 0 and self.random().uintLessThan(u16, 1000) < of_thousand;
    }

    /// True when the fault is to happen here and now.
    pub fn strikes(self: *Kernel, comptime kind: Faults.Kind) bool {
        if (!self.chance(@field(self.faults, @tagName(kind)))) return false;
        self.struck.getPtr(kind).* += 1;
        return true;
    }

    /// One of the errnos of a table, as a result.
    pub fn one_of(self: *Kernel, errnos: []const kernel.E) i32 {
        return kernel.negative(errnos[self.random().uintLessThan(usize, errnos.len)]);
    }

    /// Something has cost so much time.
    pub fn pass(self: *Kernel, ns: u64) void {
        self.unread_ns += ns;
        if (self.unread_ns < self.clock_step_ns) return;
        self.now_ns += self.unread_ns;
        self.unread_ns = 0;
    }

    /// io_uring_enter itself fails.
    pub fn fail_enter(self: *Kernel, result: i32) i32 {
        self.failed_enters.set(@intCast(-result));
        return result;
    }

    /// True when the rule is to be broken here and now.
    pub fn sabotages(self: *Kernel, kind: faults_module.Sabotage) bool {
        if (self.sabotage != kind or self.random().uintLessThan(u8, 8) != 0) return false;
        self.counts.sabotaged += 1;
        return true;
    }

    /// The process is stopped for a while, the others are not (F62).
    pub fn jump(self: *Kernel, ns: u64) void {
        const until = self.now_ns + ns;
        while (self.events.peek()) |event| {
            if (event.at_ns > until) break;
            self.run_one();
        }
        self.now_ns = until;
        self.jumped_ns = until;
    }

    pub fn violated(self: *Kernel, text: []const u8, user_data: u64) void {
        self.report.add(text, user_data, self.now_ns);
    }

    /// Takes an entry off the submission queue. False: refused, and the batch ends there (F1).
    pub fn submit(self: *Kernel, sqe: *const Sqe) bool {
        self.counts.submitted += 1;
        const targetable = sqe.opcode != .ASYNC_CANCEL;
        if (targetable and self.by_user_data.contains(sqe.user_data))
            self.violated("a user_data is in use twice", sqe.user_data);
        const index = self.unused.pop() orelse blk: {
            self.operations.append(self.gpa, undefined) catch @panic("out of memory");
            break :blk @as(u32, @intCast(self.operations.items.len - 1));
        };
        self.order += 1;
        self.operations.items[index] = .{ .serial = self.order, .sqe = sqe.* };
        const operation = &self.operations.items[index];
        if (targetable) self.by_user_data.put(self.gpa, sqe.user_data, index) catch @panic("out of memory");
        self.in_flight += 1;
        self.counts.in_flight_most = @max(self.counts.in_flight_most, self.in_flight);
        operation.lend(self.gpa);
        self.sabotage_submission(operation);
        if (!transfer.begin(self, index)) return false;
        if (sqe.opcode != .ASYNC_CANCEL and sqe.opcode != .CLOSE and self.strikes(.delay)) {
            self.schedule(index, self.some_delay());
        } else {
            transfer.attempt(self, index);
        }
        return true;
    }

    fn sabotage_submission(self: *Kernel, operation: *const Operation) void {
        switch (operation.sqe.opcode) {
            .SEND => if (self.sabotages(.release_early)) {
                const first: *u8 = @constCast(&operation.part(0)[0]);
                first.* +%= 1;
            },
            .RECV => if (self.sabotages(.close_early)) {
                _ = self.network.close(operation.sqe.fd);
            },
            else => {},
        }
    }

    pub fn some_delay(self: *Kernel) u64 {
        const longest: u64 = if (self.random().uintLessThan(u8, 20) == 0) 50_000_000 else 500_000;
        return 1 + self.random().uintLessThan(u64, longest);
    }

    pub fn schedule(self: *Kernel, index: u32, delay_ns: u64) void {
        const operation = &self.operations.items[index];
        if (operation.scheduled) return;
        operation.scheduled = true;
        self.push(delay_ns, .{ .operation = .{ .index = index, .serial = operation.serial } });
    }

    /// Has the world act as `which` after `delay_ns`.
    pub fn schedule_world(self: *Kernel, which: u32, delay_ns: u64) void {
        self.push(delay_ns, .{ .world = which });
    }

    fn push(self: *Kernel, delay_ns: u64, what: @FieldType(Event, "what")) void {
        self.order += 1;
        const event = Event{ .at_ns = self.now_ns + delay_ns, .order = self.order, .what = what };
        self.events.push(self.gpa, event) catch @panic("out of memory");
    }

    /// When the next thing happens by itself.
    pub fn next_event_ns(self: *const Kernel) ?u64 {
        return if (self.events.peek()) |event| event.at_ns else null;
    }

    pub fn poll_reader(self: *Kernel) void {
        transfer.poll_reader(self);
    }

    /// Everything that is due by now, in order.
    pub fn run_due(self: *Kernel) void {
        while (self.events.peek()) |event| {
            if (event.at_ns > self.now_ns) break;
            self.run_one();
        }
    }

    pub fn run_one(self: *Kernel) void {
        const event = self.events.pop().?;
        self.now_ns = @max(self.now_ns, event.at_ns);
        switch (event.what) {
            .operation => |named| {
                const operation = &self.operations.items[named.index];
                if (operation.state == .free or operation.serial != named.serial) return;
                operation.scheduled = false;
                if (operation.state == .over) self.post_final(named.index) else transfer.attempt(self, named.index);
            },
            .world => |which| {
                if (self.world.?.act(self.world.?.context, which)) transfer.poll_reader(self);
            },
        }
        self.settle();
    }

    /// Goes on with operations whose socket has changed.
    pub fn settle(self: *Kernel) void {
        while (self.network.woken.pop()) |index| {
            const operation = &self.operations.items[index];
            if (operation.state != .waiting or operation.scheduled) continue;
            if (self.strikes(.delay)) {
                self.schedule(index, self.some_delay());
            } else {
                transfer.attempt(self, index);
            }
        }
    }

    /// One completion of several: the operation goes on.
    pub fn post_more(self: *Kernel, index: u32, result: i32, flags: u32) void {
        const user_data = self.operations.items[index].sqe.user_data;
        if (self.sabotages(.drop_completion)) return;
        self.completions.post(.{ .user_data = user_data, .res = result, .flags = flags | linux.IORING_CQE_F_MORE });
    }

    /// The operation is over; its completion comes now or a little later.
    pub fn finish(self: *Kernel, index: u32, result: i32, flags: u32) void {
        const operation = &self.operations.items[index];
        std.debug.assert(operation.state == .waiting);
        operation.state = .over;
        operation.result = result;
        operation.flags = flags;
        if (!operation.scheduled and self.strikes(.delay_completion)) {
            return self.schedule(index, self.some_delay());
        }
        self.post_final(index);
    }

    fn post_final(self: *Kernel, index: u32) void {
        const operation = &self.operations.items[index];
        const user_data = operation.sqe.user_data;
        if (!operation.is_intact()) self.violated("lent memory was changed before its last completion", user_data);
        operation.give_back(self.gpa);
        if (operation.sqe.opcode != .ASYNC_CANCEL) _ = self.by_user_data.remove(user_data);
        transfer.leave(self, index);
        operation.state = .free;
        self.in_flight -= 1;
        self.unused.append(self.gpa, index) catch @panic("out of memory");
        if (self.sabotages(.drop_completion)) return;
        if (!self.completions.has_room()) self.counts.overflows += 1;
        self.completions.post(.{ .user_data = user_data, .res = operation.result, .flags = operation.flags });
    }

    /// Notes that a slot and generation stand for one socket, and notices when they name another:
    /// the descriptor's number was used again meanwhile (F39).
    pub fn check_life(self: *Kernel, user_data: u64, life: u64) void {
        const token = Token.from_user_data(user_data);
        const entry = self.lives.getOrPut(self.gpa, life_key(token)) catch @panic("out of memory");
        if (!entry.found_existing) entry.value_ptr.* = life;
        if (entry.value_ptr.* != life) self.violated("an entry names a descriptor of another connection", user_data);
    }

    pub fn end_life(self: *Kernel, user_data: u64) void {
        _ = self.lives.remove(life_key(Token.from_user_data(user_data)));
    }
};

fn life_key(token: Token) u64 {
    return @as(u64, token.generation) << 24 | token.slot;
}
