//! What a worker is told about HTTP: one struct, laid out for C, checked by its maker.
//! Holds no default that a user sees: those stand in pyuring/http_config.py, with their reasons.

const http1 = @import("http1.zig");

/// The order is part of the ABI: `_native.py` fills this struct.
pub const HttpConfig = extern struct {
    limits: http1.Limits = .{},
    /// Bodies up to so many bytes are awaited before the handler is called.
    buffered_body: u64 = 64 * 1024,
    /// Bytes of an unread body that are dropped to keep the connection; more close it.
    drain_unread: u64 = 64 * 1024,
    /// 0 is none, for these five.
    requests_per_connection: u64 = 0,
    head_timeout_ns: u64 = 10_000_000_000,
    body_timeout_ns: u64 = 30_000_000_000,
    keep_alive_timeout_ns: u64 = 75_000_000_000,
    /// Whether handlers are called on the worker's thread once the request is whole.
    @"inline": u8 = 1,
    /// Whether `gateway.finished` is called after each exchange.
    log: u8 = 0,
    /// Whether the time of each exchange is taken: one more look at the clock.
    timed: u8 = 0,
    /// Whether each connection begins with a PROXY protocol header.
    proxy_protocol: u8 = 0,
    _pad: [4]u8 = @splat(0),
};

/// Bytes of later requests that are taken in while one is under way; then reading stops.
pub const input_max = 64 * 1024;
/// Bytes of a body that are received in one go, into memory that becomes the reader's ...
pub const block_max = 256 * 1024;
/// ... when at least so many are to come.
pub const block_min = 64 * 1024;
/// Bytes of a body that go up before the reader has asked for more; then reading stops.
pub const stream_max = 256 * 1024;
