//! How a Python ring ends: cancel, drain, and give back what the kernel no longer writes to.
//! Owns nothing; never frees memory of an operation that is still in flight (F50).

const std = @import("std");
const python = @import("python.zig");
const kernel = @import("kernel.zig");
const sqe_object = @import("sqe_object.zig");
const State = @import("ring_state.zig").State;
const Provided = @import("provided.zig").Provided;
const linux = kernel.linux;

/// Forgets a group that the kernel has forgotten. Its memory stays mapped while an operation
/// that may have picked from it is in flight: then until the ring closes (F50).
pub fn retire(state: *State, provided: *Provided) void {
    var place = &state.groups;
    while (place.*) |group| : (place = &group.next) {
        if (group != provided) continue;
        if (state.table.live > 0) {
            group.retired = true;
        } else {
            place.* = group.next;
            group.release();
        }
        return;
    }
}

/// Gives up what only the kernel's side needed; no operation is in flight.
pub fn release_loans(state: *State) void {
    while (state.groups) |group| {
        state.groups = group.next;
        group.release();
    }
    while (state.lent) |lent| {
        state.lent = lent.next;
        lent.pins.release();
        python.c.PyMem_Free(lent);
    }
}

pub fn drop_queue(state: *State) void {
    while (state.queue_length > 0) {
        const object = state.queue[state.queue_head].?;
        state.queue_head = (state.queue_head + 1) & state.ring.sq.mask;
        state.queue_length -= 1;
        sqe_object.body(object).state = .spent;
        sqe_object.body(object).drop();
        python.decref(object);
    }
}

/// Cancels everything and consumes completions until nothing is in flight or `deadline_ns`
/// has passed. Returns what is in flight then.
pub fn drain(state: *State, deadline_ns: u64) u32 {
    var round: u32 = 0;
    while (state.table.live > 0) : (round += 1) {
        if (round == 0) {
            state.cancel_one(0, linux.IORING_ASYNC_CANCEL_ANY | linux.IORING_ASYNC_CANCEL_ALL);
        } else cancel_each(state);
        const now = kernel.monotonic_ns();
        const slice = @min(now + 50 * std.time.ns_per_ms, deadline_ns);
        _ = state.enter(1, slice);
        while (true) {
            if (state.ring.cq_ready() == 0) _ = state.ring.run_task_work();
            if (state.ring.cq_ready() == 0) break;
            state.consume();
        }
        if (now >= deadline_ns) break;
    }
    return state.table.live;
}

// Kernels before 5.19 know no ANY; and an operation may have started since.
fn cancel_each(state: *State) void {
    for (state.table.flights[0..state.table.capacity]) |*flight| {
        if (state.ring.sq_space_left() == 0) return;
        if (flight.live) state.cancel_one(state.table.token_of(flight), 0);
    }
}
