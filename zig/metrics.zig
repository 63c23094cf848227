//! A worker's counters. Written by the worker's thread alone, read by any: each field is one
//! aligned word, so a reader sees whole numbers, if not one instant's.

const std = @import("std");

/// The order is part of the ABI: `_native.py` reads this struct.
pub const Metrics = extern struct {
    accepted: u64 = 0,
    connected: u64 = 0,
    active: u64 = 0,
    closed: u64 = 0,
    bytes_received: u64 = 0,
    bytes_sent: u64 = 0,
    messages_received: u64 = 0,
    sends: u64 = 0,
    errors_accept: u64 = 0,
    errors_receive: u64 = 0,
    errors_send: u64 = 0,
    errors_connect: u64 = 0,
    errors_handler: u64 = 0,
    enobufs: u64 = 0,
    cq_overflows: u64 = 0,
    rearms: u64 = 0,
    turns: u64 = 0,
    completions: u64 = 0,
    send_queue_high_water: u64 = 0,
    stale_completions: u64 = 0,
    unknown_completions: u64 = 0,
    buffers_held: u64 = 0,
    refused: u64 = 0,
    timeouts: u64 = 0,
    ops_in_flight: u64 = 0,
    requests: u64 = 0,
    requests_active: u64 = 0,
    requests_malformed: u64 = 0,
    responses_2xx: u64 = 0,
    responses_3xx: u64 = 0,
    responses_4xx: u64 = 0,
    responses_5xx: u64 = 0,
    /// The time all exchanges took together, where it is taken.
    request_ns: u64 = 0,
    /// Exchanges by the time they took: entry i counts those under 2^i microseconds that no
    /// earlier one does; the last one takes the rest.
    request_us: [buckets]u64 = @splat(0),

    pub const buckets = 24;

    pub fn took(self: *Metrics, ns: u64) void {
        self.request_ns += ns;
        const us = ns / std.time.ns_per_us;
        self.request_us[@min(buckets - 1, 64 - @clz(us))] += 1;
    }

    /// A copy for another thread.
    pub fn snapshot(self: *const Metrics, out: *Metrics) void {
        const words = @sizeOf(Metrics) / @sizeOf(u64);
        const from: *const [words]u64 = @ptrCast(self);
        const to: *[words]u64 = @ptrCast(out);
        for (from, to) |*word, *copy| copy.* = @atomicLoad(u64, word, .monotonic);
    }
};
