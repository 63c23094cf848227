//! A worker on a ring of the model kernel, with the model application and the model peers around it.
//! Owns all of them. Knows how to make turns, to compare the worker's books with the kernel's after
//! each, and to end; what a run consists of is the simulator's or the single test's.

const std = @import("std");
const accept = @import("../accept.zig");
const kernel_abi = @import("../kernel.zig");
const connect = @import("../connect.zig");
const worker_module = @import("../worker.zig");
const Config = @import("../worker_config.zig").Config;
const Kernel = @import("fake_kernel.zig").Kernel;
const network_module = @import("fake_network.zig");
const application = @import("model_application.zig");
const Handler = @import("model_handler.zig").Handler;
const books = @import("model_books.zig");
const time = @import("model_time.zig");
const peers_module = @import("model_peers.zig");
const linux = kernel_abi.linux;

const first_wish = 1 << 20;

pub const Options = struct {
    seed: u64 = 1,
    config: Config = .{ .ring_entries = 16, .max_connections = 64, .buffer_count = 16, .buffer_size = 512 },
    cq_entries: u32 = 64,
    listeners: u32 = 1,
};

/// `Ring` is made by `Ring.init(kernel, entries)`.
pub fn ModelType(comptime Ring: type) type {
    return struct {
        const Model = @This();
        pub const Worker = worker_module.WorkerType(Ring, Handler);

        kernel: *Kernel,
        worker: *Worker,
        app: application.Application,
        peers: peers_module.Peers,
        listeners: [accept.listeners_max]*network_module.Listener = undefined,
        listener_count: u32,
        /// What the last turn said.
        state: worker_module.Turn = .{},
        /// A turn's result other than 0.
        failure: i32 = 0,

        pub fn create(options: Options) !*Model {
            const kernel = Kernel.create(options.seed, options.cq_entries);
            const allocator = kernel.arena.allocator();
            const self = try allocator.create(Model);
            self.* = .{
                .kernel = kernel,
                .worker = try allocator.create(Worker),
                .app = .{ .kernel = kernel, .owners = .{ .kernel = kernel }, .first_wish = first_wish },
                .peers = .{ .kernel = kernel },
                .listener_count = options.listeners,
            };
            kernel.no_multishot_accept = options.config.multishot_accept == 0;
            kernel.no_multishot_recv = options.config.multishot_recv == 0;
            kernel.world = .{ .context = self, .act = act, .sleeps = sleeps };
            const handler = Handler{ .app = &self.app, .deadlines = &self.worker.deadlines };
            var errno: i32 = 0;
            const ring = Ring.init(kernel, options.config.ring_entries);
            try self.worker.init(ring, handler, options.config, &errno);
            for (self.listeners[0..options.listeners]) |*listener| {
                listener.* = kernel.network.listen();
                std.debug.assert(accept.add(self.worker, listener.*.fd) >= 0);
            }
            return self;
        }

        /// Frees the model, not the worker: `finish` does, where it can.
        pub fn destroy(self: *Model) void {
            self.kernel.destroy();
        }

        fn act(context: *anyopaque, which: u32) bool {
            const self: *Model = @ptrCast(@alignCast(context));
            if (which < first_wish) {
                self.peers.act(which);
                return false;
            }
            // Another thread has something for the application: it wakes the worker.
            const session = self.app.sessions.items[which - first_wish];
            self.app.wishes.append(self.app.allocator(), session) catch @panic("out of memory");
            self.worker.mailbox.notify();
            return true;
        }

        /// Whoever sleeps has asked for everything it waits for: else nothing wakes it (F2).
        fn sleeps(context: *anyopaque) void {
            const self: *Model = @ptrCast(@alignCast(context));
            const worker = self.worker;
            // Who cannot hear says so, and looks by itself.
            const looks = self.app.deaf > 0 and worker.wake_by_ns <= worker.now_ns + 10 * std.time.ns_per_ms;
            if (!worker.mailbox.armed and !worker.destroying and !looks) self.kernel.violated("asleep, and deaf to other threads", 0);
            const listening = !worker.listeners.paused and worker.slab.active < worker.slab.connections.len;
            for (worker.listeners.items[0..worker.listeners.count]) |*listener| {
                if (listening and listener.accept == .none and !listener.backing_off and listener.failed == 0)
                    self.kernel.violated("asleep without an accept", @intCast(listener.fd));
            }
            for (worker.slab.slots()) |*connection| {
                const flags = connection.flags;
                if (flags.dirty) self.kernel.violated("asleep with a connection to look at", connection.slot);
                if (connection.phase == .free) continue;
                if (connection.phase == .open and (flags.paused or flags.choked) and connection.receive == .armed)
                    self.kernel.violated("asleep with a receive that nobody wants", connection.slot);
                if (connection.ops == 0 and (flags.paused or flags.choked or flags.peer_ended)) continue;
                if (connection.ops == 0) self.kernel.violated("asleep over a connection without an operation", connection.slot);
                if (connection.queue_first != null and connection.send == .none and connection.phase != .releasing)
                    self.kernel.violated("asleep with bytes to send", connection.slot);
            }
        }

        pub fn turn(self: *Model, timeout_ns: ?u64) void {
            if (self.app.wishes.items.len > 0) {
                self.worker.now_ns = self.kernel.now_ns;
                self.app.act(self.worker);
            }
            self.kernel.failed_enters = .initEmpty();
            const result, self.state = self.worker.turn(timeout_ns);
            if (result != 0) self.failure = result;
            if (result > 0 or (result < 0 and !self.kernel.failed_enters.isSet(@intCast(-result)))) self.kernel.violated("a turn fails for no reason", @abs(result));
            books.compare(self);
            time.check_overdue(&self.app, self.worker);
        }

        pub fn failed(self: *const Model) bool {
            return self.kernel.report.violation != null;
        }

        pub fn turns(self: *Model, count: u32) void {
            for (0..count) |_| {
                if (self.failed()) return;
                self.turn(std.time.ns_per_ms);
            }
        }

        /// Turns until the virtual clock has moved on by `ns`.
        pub fn run_for(self: *Model, ns: u64) void {
            const until = self.kernel.now_ns + ns;
            while (self.kernel.now_ns < until and !self.failed()) self.turn(until - self.kernel.now_ns);
        }

        /// Connects out to a model peer.
        pub fn connect_out(self: *Model, peer: peers_module.Peer, outcome: @FieldType(network_module.Socket, "outcome"), timeout_ns: u64) !*application.Session {
            const network = &self.kernel.network;
            if (network.open >= network.limit) return error.NoDescriptor;
            const socket = network.outgoing();
            socket.outcome = outcome;
            const session = self.app.new_session(socket);
            const address = "a sockaddr's bytes";
            self.worker.now_ns = self.kernel.now_ns;
            const result = connect.start(self.worker, socket.fd, address, timeout_ns, session);
            if (result < 0) {
                session.state = .failed;
                self.worker.ring.close_descriptor(socket.fd);
                return error.NotStarted;
            }
            var other = peer;
            other.socket = socket;
            _ = self.peers.add(other, 1000);
            return session;
        }

        /// A peer that connects to the first listener now.
        pub fn client(self: *Model, plan: peers_module.Plan, to_send: u64) *peers_module.Peer {
            return self.peers.add(.{
                .plan = plan,
                .listener = self.listeners[0],
                .to_send = to_send,
                .turning_point = to_send,
                .slowest_ns = 200_000,
            }, 1);
        }

        /// What is still there, for reading a failing seed.
        pub fn print_left(self: *const Model) void {
            const print = std.debug.print;
            for (self.peers.list.items, 0..) |*peer, i| {
                if (peer.done) continue;
                print("peer {d}: {s}, sent {d} of {d}, got {d}, ", .{ i, @tagName(peer.plan), peer.sent, peer.to_send, peer.received });
                const socket = peer.socket orelse continue;
                print("socket {d}, shut {}, broken {}\n", .{ socket.id, socket.shut, socket.broken });
            }
            for (self.worker.slab.slots()) |*connection| {
                if (connection.phase == .free) continue;
                print("slot {d}: fd {d}, {s}, receive {s}, send {s}, ops {d}, queued {d}, held {d}\n", .{
                    connection.slot,           connection.fd,  @tagName(connection.phase), @tagName(connection.receive),
                    @tagName(connection.send), connection.ops, connection.queued_bytes,    connection.held_bytes,
                });
                print("  {any}\n", .{connection.flags});
                const session: *application.Session = @ptrCast(@alignCast(connection.user orelse continue));
                print("  socket {d}: {s}, {s}, received {d}, wrote {d}, taint {x}\n", .{
                    session.socket.id, @tagName(session.mode), @tagName(session.state),
                    session.received,  session.written,        @as(u16, @bitCast(session.socket.taint)),
                });
            }
            for (self.worker.listeners.items[0..self.worker.listeners.count]) |*listener| print("{any}\n", .{listener.*});
        }

        /// Ends the worker as a program would: everything given back, or a violation.
        pub fn finish(self: *Model) void {
            self.kernel.faults.fail_enter = 0; // a ring that fails is not ended, but abandoned
            if (!self.worker.destroy_turns(60 * std.time.ns_per_s)) {
                return self.kernel.violated("the worker cannot be ended", self.worker.metrics.ops_in_flight);
            }
            const worker = self.worker;
            self.reap_strays();
            if (worker.pieces.taken != 0) self.kernel.violated("pieces are missing at the end", worker.pieces.taken);
            if (worker.gathers.taken != 0) self.kernel.violated("gathers are missing at the end", 0);
            if (worker.addresses.taken != 0) self.kernel.violated("addresses are missing at the end", 0);
            if (self.app.owners.out != 0) self.kernel.violated("bytes were never released", self.app.owners.out);
            if (worker.metrics.stale_completions != self.kernel.counts.stale) self.kernel.violated("completions of former owners were not counted", 0);
            if (worker.metrics.unknown_completions != self.kernel.counts.unknown) self.kernel.violated("unknown completions were not counted", 0);
            if (self.app.close_failures != self.kernel.counts.stolen) self.kernel.violated("descriptors closed by others went unnoticed", 0);
            if (self.app.accept_failures != self.kernel.counts.dead) self.kernel.violated("listeners failed unnoticed", 0);
            if (self.app.live != 0) self.kernel.violated("a session never heard of its end", self.app.live);
            if (worker.metrics.active != 0) self.kernel.violated("connections are counted as open at the end", 0);
            for (self.app.sessions.items) |session| {
                if (session.state == .new) self.kernel.violated("a session was never answered", session.socket.id);
            }
            for (self.listeners[0..self.listener_count]) |listener| {
                if (!listener.closed) self.worker.ring.close_descriptor(listener.fd);
            }
            if (self.kernel.network.open != 0) self.kernel.violated("descriptors are open at the end", self.kernel.network.open);
            if (!self.failed()) worker.deinit();
        }

        /// Completions that nobody waits for are left at the end: they are counted, too.
        fn reap_strays(self: *Model) void {
            self.kernel.faults = .{};
            const completions = &self.kernel.completions;
            var left: u32 = 1000;
            while (completions.ready() + completions.overflow.items.len > 0 and left > 0) : (left -= 1) _ = self.worker.turn(0);
        }

        /// Fails the test with what was seen.
        pub fn expect_sound(self: *const Model) !void {
            const report = &self.kernel.report;
            const text = report.violation orelse return;
            std.debug.print("\nat {d} us: {s} ({x})\n", .{ report.at_ns / 1000, text, report.user_data });
            return error.Violation;
        }
    };
}
