"""Ways to receive with a ring, in pairs, for ring_features.py: from whoever sends without end.

Owns the connections and their buffers. Each turn takes the same number of bytes in either way.
"""

from __future__ import annotations

import errno
import socket

from sink import DRIP, FLOOD, MESSAGE

from pyuring import Batch, BufferGroup, Cqe, Features, RecvSendFlags, Ring, SqeFlags

COUNT = 16  # buffers full, or messages, in a turn
BUFFERS = 256
DRIPS = 16
# A batch of messages, or what there is after a third of a millisecond: the pause of a whole round.
PATIENCE = 320e-6


class Receiving:
    """A ring, a buffer group, and connections to one who sends."""

    def __init__(self, ring: Ring, port: int, size: int, asks: bytes, connections: int = 1) -> None:
        self.ring = ring
        self.group = BufferGroup(ring, 1, BUFFERS, size)
        self.size = size
        self.socks = []
        for _ in range(connections):
            sock = socket.create_connection(("127.0.0.1", port))
            sock.sendall(asks)
            self.socks.append(sock)

    def single_batch(self, own: bool) -> Batch:
        """One receive of a buffer's size: into memory of our own, or the kernel's choice."""
        batch = Batch(1)
        if own:
            batch[0].prep_recv(self.socks[0], bytearray(self.size), socket.MSG_WAITALL)
        else:
            batch[0].prep_recv(self.socks[0], self.size, socket.MSG_WAITALL)
            batch[0].flags |= SqeFlags.BUFFER_SELECT
            batch[0].buf_group = 1
        return batch

    def singles(self, batch: Batch) -> None:
        """One receive after the other; a buffer that was picked goes back at once."""
        ring, group = self.ring, self.group
        for _ in range(COUNT):
            ring.submit_batch(batch, 1)
            for cqe in ring.reap():
                assert cqe.res == self.size
                if cqe.buffer_id is not None:
                    group.return_buffer(cqe.buffer_id)

    def arm(self, number: int, bundle: bool) -> None:
        """Receive on and on, into a buffer each time or into as many as there are bytes for."""
        sqe = self.ring.get_sqe()
        assert sqe is not None
        sqe.prep_recv_multishot(self.socks[number])
        sqe.flags |= SqeFlags.BUFFER_SELECT
        sqe.buf_group = 1
        sqe.user_data = number
        if bundle:
            sqe.ioprio |= RecvSendFlags.BUNDLE

    def take(self, cqe: Cqe, bundle: bool) -> int:
        """Give a completion's buffers back; the bytes it brought."""
        if cqe.res > 0:
            assert cqe.buffer_id is not None
            if bundle:
                self.group.return_buffers(self.group.bundle_ids(cqe.buffer_id, cqe.res))
            else:
                self.group.return_buffer(cqe.buffer_id)
        elif cqe.res != -errno.ENOBUFS:
            raise OSError(-cqe.res, "a receive failed")
        if not cqe.more:
            self.arm(cqe.user_data, bundle)
        return max(cqe.res, 0)


class Stream:
    """Turns of COUNT buffers by multishot receive; what came too much counts for the next."""

    def __init__(self, receiving: Receiving, bundle: bool = False) -> None:
        self.receiving, self.bundle = receiving, bundle
        self.unit = receiving.size if len(receiving.socks) == 1 else len(MESSAGE)
        self.over = 0
        for number in range(len(receiving.socks)):
            receiving.arm(number, bundle)

    def turn(self, patience: float = 0.0) -> None:
        """Take a turn's bytes, as they come; with patience, a batch at a time."""
        ring, take, left = self.receiving.ring, self.receiving.take, COUNT * self.unit - self.over
        while left > 0:
            if patience:
                ring.submit_and_wait_min_timeout(10, len(self.receiving.socks), patience)
            else:
                ring.submit_and_wait(1)
            for cqe in ring.reap():
                left -= take(cqe, self.bundle)
        self.over = -left


def flood(ring: Ring, port: int, size: int) -> Receiving:
    """One connection whose peer always has more."""
    return Receiving(ring, port, size, FLOOD)


def drips(ring: Ring, port: int) -> Receiving:
    """Connections that get small messages in turn."""
    if not ring.features & Features.MIN_TIMEOUT:
        raise OSError(errno.EOPNOTSUPP, "a minimal wait (Linux 6.12)")
    return Receiving(ring, port, 1024, DRIP, DRIPS)
