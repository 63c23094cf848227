//! The simulator: one seed makes a kernel with its faults, peers, an application and a worker's
//! configuration, lets them loose on each other, and judges what came of it.
//! Owns the course of a run and its verdict. A failing seed prints itself and plays again, the same:
//! `zig build simulate -- SEED`. Any ring of the model kernel can be simulated.

const std = @import("std");
const kernel_abi = @import("../kernel.zig");
const accept = @import("../accept.zig");
const FakeRing = @import("fake_ring.zig").FakeRing;
const faults_module = @import("fake_faults.zig");
const application = @import("model_application.zig");
const model_module = @import("model.zig");
const peers_module = @import("model_peers.zig");
const linux = std.os.linux;

/// A run that takes more turns or more virtual time than this will not end.
const turns_most = 400_000;
const calm_most_ns = 120 * std.time.ns_per_s;

pub const Verdict = struct {
    violation: ?[]const u8,
    user_data: u64,
    turns: u64,
    completions: u64,
    bytes: u64,
    connections: u64,
    sabotaged: u64,
    /// Places of the application's own that were received into, blocks for receives in bulk, and
    /// pieces that grew in the queue.
    targets: u64,
    blocks: u64,
    extended: u64,
    struck: faults_module.Struck,
};

pub fn SimulatorType(comptime Ring: type) type {
    return struct {
        const Model = model_module.ModelType(Ring);

        /// Prints what it can about a failure.
        pub var verbose = false;

        pub fn run(seed: u64, sabotage: faults_module.Sabotage) !Verdict {
            var prng = std.Random.DefaultPrng.init(seed);
            const random = prng.random();
            const model = try Model.create(random_options(seed, random));
            defer model.destroy();
            const kernel = model.kernel;
            kernel.sabotage = sabotage;
            kernel.faults = faults_module.Faults.random(random);
            kernel.network.inbound_capacity = @as(usize, 64) << random.uintLessThan(u6, 8);
            kernel.network.outbound_capacity = @as(usize, 64) << random.uintLessThan(u6, 8);
            if (random.uintLessThan(u8, 4) == 0) kernel.network.limit = 4 + random.uintLessThan(usize, 16);
            if (random.boolean()) model.app.pause_chance = random.uintLessThan(u16, 200);
            if (random.boolean()) model.app.slow_chance = 100;
            if (random.boolean()) model.app.file_chance = 1 + random.uintLessThan(u16, 1000);
            if (random.boolean()) model.app.time_chance = 1 + random.uintLessThan(u16, 300);
            if (random.boolean()) model.app.chunk_chance = 1 + random.uintLessThan(u16, 1000);
            if (random.boolean()) model.app.target_chance = 1 + random.uintLessThan(u16, 1000);
            if (random.uintLessThan(u8, 4) != 0) model.app.block_chance = if (random.boolean()) 1000 else 900;
            if (random.uintLessThan(u8, 8) == 0) kernel.clock_step_ns = 1 + random.uintLessThan(u64, 4_000_000);
            add_peers(model, random);
            play(model, random);
            if (verbose and model.failed()) model.print_left();
            return .{
                .violation = kernel.report.violation,
                .user_data = kernel.report.user_data,
                .turns = model.worker.metrics.turns,
                .completions = model.worker.metrics.completions,
                .bytes = total_bytes(model),
                .connections = model.worker.metrics.accepted + model.worker.metrics.connected,
                .sabotaged = kernel.counts.sabotaged,
                .targets = model.app.owners.targets - model.app.blocks,
                .blocks = model.app.blocks,
                .extended = model.app.owners.extended,
                .struck = kernel.struck,
            };
        }

        fn add_peers(model: *Model, random: std.Random) void {
            const count = 1 + random.uintLessThan(u32, 32);
            for (0..count) |_| {
                const listener = model.listeners[random.uintLessThan(u32, model.listener_count)];
                _ = model.peers.add(model.peers.random_peer(listener), random.uintLessThan(u64, 20_000_000));
            }
        }

        /// Chaos, then calm until all peers are through, then the end; or the end in between.
        fn play(model: *Model, random: std.Random) void {
            const chaos = random.uintLessThan(u32, 1500);
            for (0..chaos) |_| {
                if (model.failed()) return;
                if (random.uintLessThan(u16, 300) == 0) interfere(model, random);
                model.turn(if (random.boolean()) random.uintLessThan(u64, 5_000_000) else 50_000_000);
            }
            if (random.uintLessThan(u8, 6) == 0) return model.finish(); // F58: in the middle of it all
            const drained_early = random.uintLessThan(u8, 4) == 0;
            model.kernel.faults = .{};
            model.peers.calm = true;
            model.worker.listeners.paused = false;
            if (!drained_early) settle(model);
            drain(model);
            if (!model.failed() and !drained_early) judge(model);
            if (!model.failed()) model.finish();
        }

        /// What a program does besides: pauses accepting, connects out. Or it is stopped for a while.
        fn interfere(model: *Model, random: std.Random) void {
            if (random.uintLessThan(u8, 8) == 0) {
                model.kernel.jump(random.uintLessThan(u64, 90 * std.time.ns_per_s));
                return;
            }
            if (random.boolean()) {
                if (model.worker.listeners.paused) accept.resume_all(model.worker) else model.worker.listeners.paused = true;
                return;
            }
            const outcomes = [_]@FieldType(@import("fake_network.zig").Socket, "outcome"){ .succeed, .succeed, .refuse, .silent };
            const outcome = outcomes[random.uintLessThan(usize, outcomes.len)];
            _ = model.connect_out(model.peers.random_peer(null), outcome, 100_000_000) catch {};
        }

        /// With the faults off, every peer and session ends in bounded time, with no time-out needed.
        fn settle(model: *Model) void {
            accept.resume_all(model.worker);
            // Whoever fell silent holds its place and descriptor until then: others need them.
            model.peers.reset_vanished();
            model.kernel.network.limit = std.math.maxInt(usize);
            const until = model.kernel.now_ns + calm_most_ns;
            var left: u32 = turns_most;
            while (model.peers.left + model.app.live > 0 and !model.failed()) : (left -= 1) {
                model.turn(if (model.peers.left > 0) null else std.time.ns_per_s);
                if (model.kernel.stuck and model.peers.left > 0) model.kernel.violated("the worker waits for ever for nothing", model.peers.left);
                if (left == 1 or model.kernel.now_ns > until)
                    model.kernel.violated("peers or sessions do not come to their end", model.peers.left);
            }
        }

        fn drain(model: *Model) void {
            model.worker.drain(50 * std.time.ns_per_ms);
            const until = model.kernel.now_ns + calm_most_ns;
            var left: u32 = turns_most;
            while (!(model.state.drained and model.state.accept_stopped) and !model.failed()) : (left -= 1) {
                model.turn(std.time.ns_per_s);
                if (left == 1 or model.kernel.now_ns > until) model.kernel.violated("the worker does not drain", 0);
            }
        }

        /// Nothing was done to a stream on purpose: then every byte arrived and no errno was told.
        fn judge(model: *Model) void {
            for (model.peers.list.items) |*peer| {
                const socket = peer.socket orelse continue;
                if (socket.taint.any()) continue;
                const session = model.app.find(socket) orelse {
                    model.kernel.violated("a connection was never served", socket.id);
                    continue;
                };
                if (session.state == .failed and socket.outcome != .succeed) continue;
                if (session.state != .lost) model.kernel.violated("a session is not over", socket.id);
                // Timed out, and rightly so: that was looked at when it happened.
                if (session.was_idle or session.reason == @intFromEnum(kernel_abi.E.TIMEDOUT)) continue;
                if (session.reason != 0) model.kernel.violated("a sound connection was told an errno", socket.id << 16 | @as(u64, @intCast(session.reason)));
                if (peer.received != session.written) model.kernel.violated("bytes to the peer are missing", socket.id);
                const closed_early = session.mode == .close_after and session.finished;
                if (!closed_early and session.received != peer.sent) model.kernel.violated("bytes from the peer are missing", socket.id);
            }
        }

        fn total_bytes(model: *const Model) u64 {
            var sum: u64 = 0;
            for (model.peers.list.items) |*peer| sum += peer.sent + peer.received;
            return sum;
        }
    };
}

/// A tier, sizes that are mostly too small, and deadlines.
fn random_options(seed: u64, random: std.Random) model_module.Options {
    const tier = random.uintLessThan(u8, 3);
    const idle: u64 = if (random.boolean()) 20 * std.time.ns_per_s else 0;
    return .{
        .seed = seed +% 1,
        .cq_entries = @as(u32, 4) << random.uintLessThan(u5, 6),
        .listeners = 1 + random.uintLessThan(u32, 2),
        .config = .{
            .ring_entries = @as(u32, 2) << random.uintLessThan(u5, 6),
            .provided_buffers = @intFromBool(tier > 0),
            .multishot_accept = @intFromBool(tier > 0),
            .multishot_recv = @intFromBool(tier > 1),
            .buffer_count = @as(u32, 2) << random.uintLessThan(u5, 5),
            .buffer_size = @as(u32, 32) << random.uintLessThan(u5, 7),
            .max_connections = if (random.boolean()) 64 else 2 + random.uintLessThan(u32, 10),
            .idle_timeout_ns = idle,
            .write_timeout_ns = 15 * std.time.ns_per_s,
            .write_high_water = 512,
            .write_low_water = 128,
            .send_queue_pause = 1024,
            .send_queue_limit = ([_]u64{ 1 << 20, 8 * 1024, 600 + random.uintLessThan(u64, 2000) })[random.uintLessThan(usize, 3)],
            .turn_budget_ns = if (random.boolean()) 100_000 else 1_000_000,
        },
    };
}

pub const Simulator = SimulatorType(FakeRing);

/// Runs a seed, and says what went wrong in a way that plays again.
pub fn expect_sound(seed: u64) !Verdict {
    const verdict = try Simulator.run(seed, .none);
    const text = verdict.violation orelse return verdict;
    std.debug.print("\nseed {d}: {s} ({x}); again: zig build simulate -- {d} 1\n", .{ seed, text, verdict.user_data, seed });
    return error.SimulationFailed;
}

test "the simulator's smoke seeds, in which every fault strikes" {
    var struck = faults_module.Struck.initFill(0);
    var lent: u64 = 0;
    var extended: u64 = 0;
    var blocks: u64 = 0;
    for (0..120) |seed| {
        const verdict = try expect_sound(seed);
        for (std.enums.values(faults_module.Faults.Kind)) |kind| struck.getPtr(kind).* += verdict.struck.get(kind);
        lent += verdict.targets;
        extended += verdict.extended;
        blocks += verdict.blocks;
    }
    for (std.enums.values(faults_module.Faults.Kind)) |kind| {
        if (struck.get(kind) > 0) continue;
        std.debug.print("\nnever struck: {s}\n", .{@tagName(kind)});
        return error.FaultThatNeverStrikes;
    }
    try std.testing.expect(lent > 0 and extended > 0 and blocks > 1000);
}

/// A run that fails, or trips one of the worker's own assertions: in a child, whose end tells.
fn is_noticed(seed: u64, sabotage: faults_module.Sabotage) !bool {
    const child = linux.fork();
    if (linux.errno(child) != .SUCCESS) return error.SkipZigTest;
    if (child == 0) {
        _ = linux.close(2); // an assertion's words are not news here
        const verdict = Simulator.run(seed, sabotage) catch linux.exit_group(1);
        linux.exit_group(@intFromBool(verdict.violation != null));
    }
    var status: u32 = 0;
    _ = linux.waitpid(@intCast(child), &status, 0);
    return status != 0;
}

test "the simulator notices every sabotage, and nothing where there is none" {
    for (std.enums.values(faults_module.Sabotage)) |sabotage| {
        const seeds: u64 = if (sabotage == .none) 8 else 40;
        const noticed = for (0..seeds) |seed| {
            if (try is_noticed(seed, sabotage)) break true;
        } else false;
        if (noticed == (sabotage == .none)) {
            std.debug.print("\nsabotage {s}: noticed is {} after {d} seeds at most\n", .{ @tagName(sabotage), noticed, seeds });
            return error.Unnoticed;
        }
    }
}
