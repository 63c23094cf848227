//! The attributes of a ring that Python reads: numbers only, readable from any thread.
//! Owns nothing and changes nothing; a closed ring's numbers raise RingClosedError.

const python = @import("python.zig");
const python_type = @import("python_type.zig");
const ring_state = @import("ring_state.zig");
const sqe_object = @import("sqe_object.zig");
const fork_marker = @import("fork_marker.zig");
const Object = python.Object;
const State = ring_state.State;

fn Getter(comptime number: fn (*State) i64) type {
    return struct {
        fn get(object: *Object, _: ?*anyopaque) callconv(.c) ?*Object {
            const state = python.body(State, object);
            if (!state.open or !fork_marker.is_here(state.epoch)) {
                const kind = if (state.open) "ForkedError" else "RingClosedError";
                sqe_object.raise_ours(kind, "the ring is closed, or another process's");
                return null;
            }
            return python.c.PyLong_FromLongLong(number(state));
        }
    };
}

fn closed(object: *Object, _: ?*anyopaque) callconv(.c) ?*Object {
    return python.c.PyBool_FromLong(@intFromBool(!python.body(State, object).open));
}

const read = struct {
    fn fd(s: *State) i64 {
        return s.ring.fd;
    }
    fn flags(s: *State) i64 {
        return s.ring.setup_flags;
    }
    fn features(s: *State) i64 {
        return s.ring.features;
    }
    fn sq_entries(s: *State) i64 {
        return s.ring.sq.entries;
    }
    fn cq_entries(s: *State) i64 {
        return s.ring.cq.entries;
    }
    fn sq_pending(s: *State) i64 {
        return s.queue_length + s.ring.sq_pending();
    }
    fn in_flight(s: *State) i64 {
        return s.table.live;
    }
    fn cq_ready(s: *State) i64 {
        return s.visible_ready();
    }
    fn overflow_flushes(s: *State) i64 {
        return @intCast(s.ring.overflow_flushes);
    }
    fn cq_dropped(s: *State) i64 {
        return @atomicLoad(u32, s.ring.cq.overflow, .monotonic);
    }
    fn sq_flags(s: *State) i64 {
        return s.ring.sq_flags();
    }
};

pub const attributes = python_type.Attributes(&.{
    .{ .name = "closed", .get = closed, .doc = "Whether close() was called." },
    .{ .name = "_fd", .get = Getter(read.fd).get },
    .{ .name = "_flags", .get = Getter(read.flags).get },
    .{ .name = "_features", .get = Getter(read.features).get },
    .{ .name = "sq_entries", .get = Getter(read.sq_entries).get, .doc = "Places in the submission queue." },
    .{ .name = "cq_entries", .get = Getter(read.cq_entries).get, .doc = "Places in the completion queue." },
    .{ .name = "sq_pending", .get = Getter(read.sq_pending).get, .doc = "SQEs handed out that the kernel has not taken." },
    .{ .name = "in_flight", .get = Getter(read.in_flight).get, .doc = "Operations whose last completion was not consumed." },
    .{ .name = "cq_ready", .get = Getter(read.cq_ready).get, .doc = "Completions that can be read now." },
    .{ .name = "overflow_flushes", .get = Getter(read.overflow_flushes).get, .doc = "Times that a completion queue that ran over was flushed." },
    .{ .name = "cq_dropped", .get = Getter(read.cq_dropped).get, .doc = "Completions the kernel dropped: 0 since Linux 5.5." },
    .{ .name = "sq_flags", .get = Getter(read.sq_flags).get, .doc = "IORING_SQ_*: NEED_WAKEUP 1, CQ_OVERFLOW 2, TASKRUN 4." },
});
