//! The errnos that each operation may end with, of the man page named beside each table.
//! Owns the tables: what passes and is to be tried again, what ends a connection, and what ends a
//! listener. Decides nothing; fake_transfer.zig draws from them.

const kernel_abi = @import("../kernel.zig");
const E = kernel_abi.E;

/// accept(2): one client's bad luck. Linux hands on errors that a new socket has met already.
pub const accept_passing = [_]E{
    .AGAIN,      .INTR,           .CONNABORTED,    .PROTO,    .PERM,
    .NETDOWN,    .NOPROTOOPT,     .HOSTDOWN,       .NONET,    .HOSTUNREACH,
    .NETUNREACH, .SOCKTNOSUPPORT, .PROTONOSUPPORT, .TIMEDOUT,
};

/// accept(2): descriptors or memory ran out.
pub const accept_short = [_]E{ .MFILE, .NFILE, .NOMEM, .NOBUFS };

/// accept(2): no accept on this socket will ever work again.
pub const accept_fatal = [_]E{ .BADF, .INVAL, .NOTSOCK, .OPNOTSUPP };

/// recv(2), signal(7): nothing has happened to the stream.
pub const receive_passing = [_]E{ .AGAIN, .INTR, .CANCELED };

/// recv(2), tcp(7), ip(7).
pub const receive_fatal = [_]E{
    .CONNRESET, .TIMEDOUT, .CONNREFUSED, .HOSTUNREACH, .NETUNREACH, .NETDOWN,
    .NOMEM,     .NOTCONN,  .INVAL,       .BADF,        .NOTSOCK,    .FAULT,
    .PIPE,
};

/// send(2), signal(7).
pub const send_passing = [_]E{ .AGAIN, .INTR, .CANCELED };

/// send(2), tcp(7), ip(7).
pub const send_fatal = [_]E{
    .PIPE,    .CONNRESET,  .ACCES,     .ALREADY, .BADF,     .DESTADDRREQ,
    .FAULT,   .INVAL,      .ISCONN,    .MSGSIZE, .NOBUFS,   .NOMEM,
    .NOTCONN, .NOTSOCK,    .OPNOTSUPP, .PERM,    .TIMEDOUT, .HOSTUNREACH,
    .NETDOWN, .NETUNREACH,
};

/// connect(2), tcp(7).
pub const connect = [_]E{
    .ACCES,   .PERM,       .ADDRINUSE,   .ADDRNOTAVAIL, .AFNOSUPPORT, .AGAIN,
    .ALREADY, .BADF,       .CONNREFUSED, .FAULT,        .INPROGRESS,  .INTR,
    .ISCONN,  .NETUNREACH, .NOTSOCK,     .PROTOTYPE,    .TIMEDOUT,    .HOSTUNREACH,
    .NOMEM,
};

/// shutdown(2).
pub const shutdown = [_]E{ .NOTCONN, .BADF, .INVAL, .NOTSOCK };

/// close(2): Linux has closed the descriptor all the same.
pub const close = [_]E{ .INTR, .IO, .NOSPC, .DQUOT };

/// read(2), of the mailbox's eventfd.
pub const read = [_]E{ .AGAIN, .INTR, .IO, .CANCELED, .NOMEM };

/// poll(2): what passes, and what does not.
pub const poll_passing = [_]E{ .AGAIN, .INTR, .CANCELED };
pub const poll_fatal = [_]E{ .NOMEM, .INVAL, .FAULT };

/// sendfile(2).
pub const send_file = [_]E{ .IO, .NOMEM, .INVAL, .OVERFLOW, .SPIPE, .BADF, .FAULT };

/// io_uring_enter(2): the ring itself failed. EAGAIN, EBUSY and EINTR are faults of their own.
pub const enter = [_]E{ .BADR, .BADF, .BADFD, .FAULT, .INVAL, .NXIO, .OPNOTSUPP };
