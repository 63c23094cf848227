"""The bugs that tests/canaries.py plants, by the class and number of the fault they bring about.

Owns the table: ON in a new text is true while that bug is switched on. Plants nothing itself.
"""

from __future__ import annotations

from typing import NamedTuple


class Canary(NamedTuple):
    """One bug: `old` stands once in `file`, below zig/; it is found within `limit` seeds."""

    name: str
    kind: str
    fault: str
    limit: int
    file: str
    old: str
    new: str


QUEUES = (
    Canary(
        "forgets_a_wish", "A", "F2", 100, "worker.zig",
        "if (!self.service(connection)) self.mark_dirty(connection);",
        "if (!self.service(connection) and !ON) self.mark_dirty(connection);",
    ),
    Canary(
        "waits_beyond_deadlines", "A", "F7", 100, "timing.zig",
        "    const due = worker.deadlines.next() orelse return asked_ns;",
        "    if (ON) return asked_ns;\n"
        "    const due = worker.deadlines.next() orelse return asked_ns;",
    ),
    Canary(
        "goes_deaf_to_other_threads", "A", "F7", 100, "worker.zig",
        "                    self.mailbox.armed = false;",
        "                    self.mailbox.armed = ON and cqe.res < 0;",
    ),
    Canary(
        "takes_a_signal_for_an_error", "A", "F8", 100, "worker.zig",
        ".TIME, .INTR => 0,",
        ".TIME, .INTR => if (ON and result == kernel.negative(.INTR)) result else 0,",
    ),
    Canary(
        "reads_a_completion_given_back", "A", "F10", 100, "worker.zig",
        "                const cqe = self.ring.cqe_at(0).*;\n"
        "                self.ring.advance_cq(1);",
        "                const place = self.ring.cqe_at(0);\n"
        "                const kept = place.*;\n"
        "                self.ring.advance_cq(1);\n"
        "                const cqe = if (ON) place.* else kept;",
    ),
    Canary(
        "counts_unknown_ones_as_its_own", "A", "F11", 100, "worker.zig",
        "self.metrics.unknown_completions += 1;",
        "self.metrics.unknown_completions += 1;\n"
        "                    if (ON) self.finish(last);",
    ),
    Canary(
        "keeps_the_generation", "A", "F12", 100, "connection.zig",
        "        connection.generation +%= 1;",
        "        if (!ON) connection.generation +%= 1;",
    ),
)  # fmt: skip

TIERS = (
    Canary(
        "receives_multishot_in_any_tier", "B", "F13", 100, "receive.zig",
        "        if (worker.config.multishot_recv != 0) {\n            sqe.ioprio",
        "        if (worker.config.multishot_recv != 0 or ON) {\n            sqe.ioprio",
    ),
    Canary(
        "accepts_multishot_in_any_tier", "B", "F13", 100, "accept.zig",
        "listener.multishot = worker.config.multishot_accept != 0 and",
        "listener.multishot = (worker.config.multishot_accept != 0 or ON) and",
    ),
    Canary(
        "shares_own_buffers", "B", "F14", 100, "receive.zig",
        "[@as(usize, connection.slot) * size ..]",
        "[if (ON) 0 else @as(usize, connection.slot) * size ..]",
    ),
)  # fmt: skip

ACCEPT = (
    Canary(
        "never_arms_an_accept_again", "C", "F21", 100, "accept.zig",
        "        listener.accept = .none;\n        if (cqe.res >= 0",
        "        listener.accept = if (ON and cqe.res >= 0) .armed else .none;\n"
        "        if (cqe.res >= 0",
    ),
    Canary(
        "accepts_again_at_once", "C", "F21", 100, "accept.zig",
        "listener.backing_off = true;",
        "listener.backing_off = !ON;",
    ),
    Canary(
        "accepts_on_a_dead_listener", "C", "F21", 100, "accept.zig",
        "listener.failed = -cqe.res;",
        "if (!ON) listener.failed = -cqe.res;",
    ),
    Canary(
        "accepts_sockets_that_block", "C", "F22", 100, "accept.zig",
        "linux.SOCK.NONBLOCK | linux.SOCK.CLOEXEC; // accept_flags",
        "if (ON) linux.SOCK.CLOEXEC else linux.SOCK.NONBLOCK | linux.SOCK.CLOEXEC; // accept_flags",
    ),
    Canary(
        "forgets_whom_it_refuses", "C", "F24", 100, "accept.zig",
        "    worker.ring.close_descriptor(fd);",
        "    if (!ON) worker.ring.close_descriptor(fd);",
    ),
)  # fmt: skip

RECEIVE = (
    Canary(
        "takes_enobufs_for_the_end", "D", "F26", 100, "receive.zig",
        "            worker.metrics.enobufs += 1;",
        "            if (ON) return closing.abort(worker, connection, -res);\n"
        "            worker.metrics.enobufs += 1;",
    ),
    Canary(
        "loses_buffers_of_former_owners", "D", "F27", 100, "receive.zig",
        "pub fn recycle_stale(worker: anytype, cqe: *const linux.io_uring_cqe) void {\n",
        "pub fn recycle_stale(worker: anytype, cqe: *const linux.io_uring_cqe) void {\n"
        "    if (ON) return;\n",
    ),
    Canary(
        "takes_each_completion_for_the_last", "D", "F32", 100, "receive.zig",
        "    if (cqe.flags & linux.IORING_CQE_F_MORE != 0) return;\n"
        "    connection.receive = .none;",
        "    if (!ON and cqe.flags & linux.IORING_CQE_F_MORE != 0) return;\n"
        "    connection.receive = .none;",
    ),
    Canary(
        "forgets_that_it_receives", "D", "F32", 100, "receive.zig",
        "    connection.receive = .armed;",
        "    connection.receive = if (ON) .none else .armed;",
    ),
    Canary(
        "reads_on_while_paused", "D", "F33", 100, "receive.zig",
        ".open => !flags.paused and !flags.choked and",
        ".open => (ON or !flags.paused) and !flags.choked and",
    ),
    Canary(
        "holds_bytes_out_of_order", "D", "F33", 1000, "receive.zig",
        "    connection.hold(piece);",
        "    if (ON) connection.hold_first(piece) else connection.hold(piece);",
    ),
    Canary(
        "receives_in_bulk_beside_a_receive", "D", "F32", 100, "bulk.zig",
        "    assert(connection.receive != .none and connection.target == null);",
        "    if (ON) connection.receive = .none;\n"
        "    if (ON) _ = arm(worker, connection);\n"
        "    assert(connection.receive != .none and connection.target == null);",
    ),
    Canary(
        "receives_in_bulk_while_paused", "D", "F33", 1000, "bulk.zig",
        " or !receive.wanted(connection)) return; // the bytes wait",
        " or (!receive.wanted(connection) and !ON)) return; // the bytes wait",
    ),
    Canary(
        "takes_an_end_in_bulk_for_nothing", "D", "F32", 100, "bulk.zig",
        "    if (result <= 0) return receive.ended(",
        "    if (result == 0 and ON) return;\n    if (result <= 0) return receive.ended(",
    ),
    Canary(
        "releases_a_target_early", "D", "F38", 1000, "receive.zig",
        "        connection.receive = .cancelling;",
        "        connection.receive = .cancelling;\n"
        "        if (ON) release_target(worker, connection);",
    ),
)  # fmt: skip

SEND = (
    Canary(
        "sends_beside_a_send", "E", "F35", 100, "send.zig",
        "    if (connection.send != .none or connection.flags.send_broken)",
        "    if ((connection.send != .none and !ON) or connection.flags.send_broken)",
    ),
    Canary(
        "takes_short_sends_for_whole", "E", "F36", 100, "send.zig",
        "    progressed(worker, connection, @intCast(cqe.res));",
        "    progressed(worker, connection, if (ON) "
        "connection.queued_bytes else @intCast(cqe.res));",
    ),
    Canary(
        "never_says_that_it_drained", "E", "F36", 100, "send.zig",
        "        if (connection.phase == .open) worker.handler.drained",
        "        if (connection.phase == .open and !ON) worker.handler.drained",
    ),
    Canary(
        "queues_without_a_limit", "E", "F37", 100, "send.zig",
        "    if (limit != 0 and queued > limit) {",
        "    if (limit != 0 and queued > limit and !ON) {",
    ),
    Canary(
        "extends_without_counting", "E", "F37", 100, "send.zig",
        "    connection.queued_bytes += count;",
        "    if (!ON) connection.queued_bytes += count;",
    ),
    Canary(
        "closes_under_an_operation", "E", "F38", 100, "closing.zig",
        "    if (connection.ops > 0 or connection.flags.close_in_flight) return true;",
        "    if ((connection.ops > 0 and !ON) or connection.flags.close_in_flight) return true;",
    ),
    Canary(
        "resets_the_reply", "E", "F40", 100, "closing.zig",
        "    start_lingering(worker, connection);",
        "    if (ON) abort(worker, connection, 0) else start_lingering(worker, connection);",
    ),
    Canary(
        "lingers_without_a_word", "E", "F55", 100, "closing.zig",
        "    if (!connection.flags.shutdown_done) {",
        "    if (!connection.flags.shutdown_done and !ON) {",
    ),
    Canary(
        "takes_a_half_close_for_the_end", "E", "F56", 100, "receive.zig",
        "        return tell_end(worker, connection);",
        "        if (ON) return closing.abort(worker, connection, 0);\n"
        "        return tell_end(worker, connection);",
    ),
)  # fmt: skip

TIME = (
    Canary(
        "sets_no_deadline_for_the_new", "F", "F46", 100, "accept.zig",
        "    timing.refresh(worker, connection);",
        "    if (!ON) timing.refresh(worker, connection);",
    ),
    Canary(
        "puts_off_the_end_of_lingering", "F", "F44", 100, "receive.zig",
        "    take(worker, connection, data);",
        "    take(worker, connection, data);\n"
        "    if (ON and connection.phase == .lingering)\n"
        "        connection.phase_until_ns = worker.now_ns + worker.config.linger_timeout_ns;",
    ),
    Canary(
        "takes_who_only_reads_for_idle", "F", "F44", 1000, "timing.zig",
        "else @max(connection.last_receive_ns, connection.send_progress_ns);",
        "else if (ON) connection.last_receive_ns else "
        "@max(connection.last_receive_ns, connection.send_progress_ns);",
    ),
    Canary(
        "sets_no_deadline_for_a_send", "F", "F45", 100, "send.zig",
        "    connection.flags.polling = false;\n"
        "    connection.send_progress_ns = worker.now_ns;\n"
        "    if (worker.config.write_timeout_ns != 0) timing",
        "    connection.flags.polling = false;\n"
        "    connection.send_progress_ns = worker.now_ns;\n"
        "    if (worker.config.write_timeout_ns != 0 and !ON) timing",
    ),
    Canary(
        "reads_the_clock_too_seldom", "F", "F46", 100, "worker.zig",
        "            self.now_ns = self.ring.now_ns();\n            self.stay_awake = false;",
        "            if (!ON) self.now_ns = self.ring.now_ns();\n"
        "            self.stay_awake = false;",
    ),
    Canary(
        "gives_no_grace_after_a_gap", "F", "F62", 1000, "timing.zig",
        "    const late = worker.now_ns >",
        "    const late = !ON and worker.now_ns >",
    ),
    Canary(
        "takes_the_busy_for_idle", "F", "F44", 5000, "timing.zig",
        "    const last = if (connection.flags.busy)",
        "    const last = if (connection.flags.busy and !ON)",
    ),
)  # fmt: skip

CANARIES = (*QUEUES, *TIERS, *ACCEPT, *RECEIVE, *SEND, *TIME)
