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

    /// A copy for another thread.
    pub fn snapshot(self: *const Metrics, out: *Metrics) void {
        inline for (@typeInfo(Metrics).@"struct".fields) |field| {
            @field(out, field.name) = @atomicLoad(u64, &@field(self, field.name), .monotonic);
        }
    }
};
