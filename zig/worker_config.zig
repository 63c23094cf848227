//! What a worker is told when it is made: one struct, laid out for C, checked by its maker.
//! Holds no default that a user sees: those stand in pyuring/config.py, with their reasons.

/// The order is part of the ABI: `_native.py` fills this struct.
pub const Config = extern struct {
    ring_entries: u32 = 256,
    cq_entries: u32 = 1024,
    setup_flags: u32 = 0,
    sq_thread_idle_ms: u32 = 0,
    /// no_cpu: let the kernel choose.
    sq_thread_cpu: u32 = no_cpu,
    provided_buffers: u8 = 1,
    multishot_accept: u8 = 1,
    multishot_recv: u8 = 1,
    /// No io_uring: a ring over epoll.
    epoll: u8 = 0,
    buffer_count: u32 = 64,
    /// Bytes a receive buffer.
    buffer_size: u32 = 16 * 1024,
    max_connections: u32 = 1024,
    _pad2: u32 = 0,
    /// Timeouts in nanoseconds; 0 is none.
    idle_timeout_ns: u64 = 0,
    write_timeout_ns: u64 = 0,
    linger_timeout_ns: u64 = 2_000_000_000,
    /// Bytes queued at which a connection's application is told to stop, and to go on.
    write_high_water: u64 = 64 * 1024,
    write_low_water: u64 = 16 * 1024,
    /// Bytes queued at which we stop reading from that connection; 0 is never.
    send_queue_pause: u64 = 1024 * 1024,
    /// Bytes queued at which the connection is aborted; 0 is never.
    send_queue_limit: u64 = 64 * 1024 * 1024,
    /// Time inside one walk of the completions after which ready replies are sent; 0 is never.
    turn_budget_ns: u64 = 1_000_000,

    pub const no_cpu = 0xffff_ffff;
};
