//! SQE builders for sockets, waiting, and the ring itself, as in liburing.
//! Owns no memory; the list at the end gives every builder its Python signature and a line of text.
//! Source: man 3 io_uring_prep_send and its neighbours, include/liburing.h (2.15).

const std = @import("std");
const kernel = @import("kernel.zig");
const sqe_types = @import("sqe.zig");
const linux = kernel.linux;
const Sqe = sqe_types.Sqe;
const Fd = sqe_types.Fd;
const Source = sqe_types.Source;
const Target = sqe_types.Target;
const Address = sqe_types.Address;
const AddressRoom = sqe_types.AddressRoom;
const Time = sqe_types.Time;
const SendMessage = sqe_types.SendMessage;
const ReceiveMessage = sqe_types.ReceiveMessage;
const FileIndex = sqe_types.FileIndex;
const UserData = sqe_types.UserData;
const NewUserData = sqe_types.NewUserData;
const Room = sqe_types.Room;
const set = sqe_types.set;
const set_file_index = sqe_types.set_file_index;

// sqe->ioprio of accept, send and receive (include/uapi/linux/io_uring.h).
const ACCEPT_MULTISHOT: u16 = 1 << 0;
const RECV_MULTISHOT: u16 = 1 << 1;
const FIXED_BUF: u16 = 1 << 2;
const BUNDLE: u16 = 1 << 4;

const FLAGS_PASS: u32 = 1 << 1;
const MSG_SEND_FD: u64 = 1;

fn prep_accept(sqe: *Sqe, fd: Fd, address: AddressRoom, flags: u32) void {
    set(sqe, .ACCEPT, fd.number, address.addr, 0, address.len_addr);
    sqe.rw_flags = flags;
}

fn prep_accept_direct(sqe: *Sqe, fd: Fd, address: AddressRoom, flags: u32, index: FileIndex) void {
    prep_accept(sqe, fd, address, flags);
    set_file_index(sqe, index);
}

fn prep_multishot_accept(sqe: *Sqe, fd: Fd, address: AddressRoom, flags: u32) void {
    prep_accept(sqe, fd, address, flags);
    sqe.ioprio |= ACCEPT_MULTISHOT;
}

fn prep_multishot_accept_direct(sqe: *Sqe, fd: Fd, address: AddressRoom, flags: u32) void {
    prep_multishot_accept(sqe, fd, address, flags);
    set_file_index(sqe, .{ .slot = sqe_types.file_index_alloc });
}

fn prep_connect(sqe: *Sqe, fd: Fd, address: Address) void {
    set(sqe, .CONNECT, fd.number, address.addr, 0, address.len);
}

fn prep_bind(sqe: *Sqe, fd: Fd, address: Address) void {
    set(sqe, .BIND, fd.number, address.addr, 0, address.len);
}

fn prep_listen(sqe: *Sqe, fd: Fd, backlog: u32) void {
    set(sqe, .LISTEN, fd.number, 0, backlog, 0);
}

fn prep_shutdown(sqe: *Sqe, fd: Fd, how: u32) void {
    set(sqe, .SHUTDOWN, fd.number, 0, how, 0);
}

fn prep_socket(sqe: *Sqe, domain: i32, kind: u32, protocol: u32, flags: u32) void {
    set(sqe, .SOCKET, domain, 0, protocol, kind);
    sqe.rw_flags = flags;
}

fn prep_socket_direct(sqe: *Sqe, domain: i32, kind: u32, protocol: u32, index: FileIndex, flags: u32) void {
    prep_socket(sqe, domain, kind, protocol, flags);
    set_file_index(sqe, index);
}

fn prep_socket_direct_alloc(sqe: *Sqe, domain: i32, kind: u32, protocol: u32, flags: u32) void {
    prep_socket(sqe, domain, kind, protocol, flags);
    set_file_index(sqe, .{ .slot = sqe_types.file_index_alloc });
}

fn prep_send(sqe: *Sqe, fd: Fd, buffer: Source, flags: u32) void {
    set(sqe, .SEND, fd.number, buffer.addr, buffer.len, 0);
    sqe.rw_flags = flags;
}

fn prep_send_bundle(sqe: *Sqe, fd: Fd, length: u32, flags: u32) void {
    set(sqe, .SEND, fd.number, 0, length, 0);
    sqe.rw_flags = flags;
    sqe.ioprio |= BUNDLE;
}

fn prep_sendto(sqe: *Sqe, fd: Fd, buffer: Source, flags: u32, address: Address) void {
    prep_send(sqe, fd, buffer, flags);
    sqe.off = address.addr; // addr2
    sqe.splice_fd_in = @intCast(address.len); // addr_len in the low 16 bits
}

fn prep_send_zc(sqe: *Sqe, fd: Fd, buffer: Source, flags: u32, zc_flags: u16) void {
    set(sqe, .SEND_ZC, fd.number, buffer.addr, buffer.len, 0);
    sqe.rw_flags = flags;
    sqe.ioprio = zc_flags;
}

fn prep_send_zc_fixed(sqe: *Sqe, fd: Fd, buffer: Source, flags: u32, zc_flags: u16, buf_index: u16) void {
    prep_send_zc(sqe, fd, buffer, flags, zc_flags);
    sqe.ioprio |= FIXED_BUF;
    sqe.buf_index = buf_index;
}

fn prep_sendmsg(sqe: *Sqe, fd: Fd, message: SendMessage, flags: u32) void {
    set(sqe, .SENDMSG, fd.number, message.addr, 1, 0);
    sqe.rw_flags = flags;
}

fn prep_sendmsg_zc(sqe: *Sqe, fd: Fd, message: SendMessage, flags: u32) void {
    prep_sendmsg(sqe, fd, message, flags);
    sqe.opcode = .SENDMSG_ZC;
}

fn prep_sendmsg_zc_fixed(sqe: *Sqe, fd: Fd, message: SendMessage, flags: u32, buf_index: u16) void {
    prep_sendmsg_zc(sqe, fd, message, flags);
    sqe.ioprio |= FIXED_BUF;
    sqe.buf_index = buf_index;
}

fn prep_recv(sqe: *Sqe, fd: Fd, buffer: Target, flags: u32) void {
    set(sqe, .RECV, fd.number, buffer.addr, buffer.len, 0);
    sqe.rw_flags = flags;
}

fn prep_recv_multishot(sqe: *Sqe, fd: Fd, buffer: Target, flags: u32) void {
    prep_recv(sqe, fd, buffer, flags);
    sqe.ioprio |= RECV_MULTISHOT;
}

fn prep_recv_zc(sqe: *Sqe, fd: Fd, length: u32, queue: u32) void {
    set(sqe, .RECV_ZC, fd.number, 0, length, 0);
    sqe.ioprio |= RECV_MULTISHOT;
    sqe.splice_fd_in = @bitCast(queue); // zcrx_ifq_idx
}

fn prep_recvmsg(sqe: *Sqe, fd: Fd, message: ReceiveMessage, flags: u32) void {
    set(sqe, .RECVMSG, fd.number, message.addr, 1, 0);
    sqe.rw_flags = flags;
}

fn prep_recvmsg_multishot(sqe: *Sqe, fd: Fd, message: ReceiveMessage, flags: u32) void {
    prep_recvmsg(sqe, fd, message, flags);
    sqe.ioprio |= RECV_MULTISHOT;
}

fn prep_uring_cmd(sqe: *Sqe, cmd_op: u32, fd: Fd) void {
    set(sqe, .URING_CMD, fd.number, 0, 0, cmd_op);
}

fn prep_cmd_sock(sqe: *Sqe, cmd_op: u32, fd: Fd, level: u32, optname: u32, optval: Target) void {
    prep_uring_cmd(sqe, cmd_op, fd);
    sqe.addr = @as(u64, optname) << 32 | level;
    sqe.addr3 = optval.addr;
    sqe.splice_fd_in = @bitCast(optval.len); // optlen
}

fn prep_cmd_getsockname(sqe: *Sqe, fd: Fd, address: AddressRoom, peer: u32) void {
    const getsockname = 5; // SOCKET_URING_OP_GETSOCKNAME
    prep_uring_cmd(sqe, getsockname, fd);
    sqe.addr = address.addr;
    sqe.addr3 = address.len_addr;
    sqe.splice_fd_in = @bitCast(peer);
}

fn prep_nop(sqe: *Sqe) void {
    set(sqe, .NOP, -1, 0, 0, 0);
}

fn prep_timeout(sqe: *Sqe, time: Time, count: u32, flags: u32) void {
    set(sqe, .TIMEOUT, -1, time.addr, 1, count);
    sqe.rw_flags = flags;
}

fn prep_timeout_remove(sqe: *Sqe, target: UserData, flags: u32) void {
    set(sqe, .TIMEOUT_REMOVE, -1, target.value, 0, 0);
    sqe.rw_flags = flags;
}

fn prep_timeout_update(sqe: *Sqe, time: Time, target: UserData, flags: u32) void {
    set(sqe, .TIMEOUT_REMOVE, -1, target.value, 0, time.addr);
    sqe.rw_flags = flags | linux.IORING_TIMEOUT_UPDATE;
}

fn prep_link_timeout(sqe: *Sqe, time: Time, flags: u32) void {
    set(sqe, .LINK_TIMEOUT, -1, time.addr, 1, 0);
    sqe.rw_flags = flags;
}

fn prep_poll_add(sqe: *Sqe, fd: Fd, mask: u32) void {
    set(sqe, .POLL_ADD, fd.number, 0, 0, 0);
    sqe.rw_flags = mask;
}

fn prep_poll_multishot(sqe: *Sqe, fd: Fd, mask: u32) void {
    prep_poll_add(sqe, fd, mask);
    sqe.len = linux.IORING_POLL_ADD_MULTI;
}

fn prep_poll_remove(sqe: *Sqe, target: UserData) void {
    set(sqe, .POLL_REMOVE, -1, target.value, 0, 0);
}

fn prep_poll_update(sqe: *Sqe, target: UserData, new: NewUserData, mask: u32, flags: u32) void {
    set(sqe, .POLL_REMOVE, -1, target.value, flags, new.value);
    sqe.rw_flags = mask;
}

fn prep_cancel(sqe: *Sqe, target: UserData, flags: u32) void {
    set(sqe, .ASYNC_CANCEL, -1, target.value, 0, 0);
    sqe.rw_flags = flags;
}

fn prep_cancel_fd(sqe: *Sqe, fd: Fd, flags: u32) void {
    set(sqe, .ASYNC_CANCEL, fd.number, 0, 0, 0);
    sqe.rw_flags = flags | linux.IORING_ASYNC_CANCEL_FD;
}

fn prep_epoll_ctl(sqe: *Sqe, epfd: Fd, fd: Fd, op: u32, event: sqe_types.EpollEvent) void {
    set(sqe, .EPOLL_CTL, epfd.number, event.addr, op, @intCast(fd.number));
}

fn prep_epoll_wait(sqe: *Sqe, fd: Fd, events: sqe_types.EpollRoom, flags: u32) void {
    set(sqe, kernel.OP_EPOLL_WAIT, fd.number, events.addr, events.count, 0);
    sqe.rw_flags = flags;
}

fn prep_provide_buffers(sqe: *Sqe, memory: Target, length: u32, count: u16, group: u16, bid: u16) void {
    // That memory holds length · count bytes is checked in sqe_object.zig.
    set(sqe, .PROVIDE_BUFFERS, count, memory.addr, length, bid);
    sqe.buf_index = group;
}

fn prep_remove_buffers(sqe: *Sqe, count: u16, group: u16) void {
    set(sqe, .REMOVE_BUFFERS, count, 0, 0, 0);
    sqe.buf_index = group;
}

fn prep_msg_ring(sqe: *Sqe, fd: Fd, length: u32, data: u64, flags: u32) void {
    set(sqe, .MSG_RING, fd.number, 0, length, data);
    sqe.rw_flags = flags;
}

fn prep_msg_ring_cqe_flags(sqe: *Sqe, fd: Fd, length: u32, data: u64, flags: u32, cqe_flags: u32) void {
    prep_msg_ring(sqe, fd, length, data, flags | FLAGS_PASS);
    sqe.splice_fd_in = @bitCast(cqe_flags);
}

fn prep_msg_ring_fd(sqe: *Sqe, fd: Fd, source: u32, target: FileIndex, data: u64, flags: u32) void {
    set(sqe, .MSG_RING, fd.number, MSG_SEND_FD, 0, data);
    sqe.addr3 = source;
    set_file_index(sqe, target);
    sqe.rw_flags = flags;
}

fn prep_msg_ring_fd_alloc(sqe: *Sqe, fd: Fd, source: u32, data: u64, flags: u32) void {
    prep_msg_ring_fd(sqe, fd, source, .{ .slot = sqe_types.file_index_alloc }, data, flags);
}

fn prep_waitid(sqe: *Sqe, idtype: u32, id: i32, info: sqe_types.SiginfoRoom, options: u32, flags: u32) void {
    set(sqe, .WAITID, id, 0, idtype, info.addr);
    sqe.rw_flags = flags;
    sqe.splice_fd_in = @bitCast(options);
}

fn prep_futex_wake(sqe: *Sqe, futex: Room(4), value: u64, mask: u64, futex_flags: u32, flags: u32) void {
    set(sqe, .FUTEX_WAKE, @bitCast(futex_flags), futex.addr, 0, value);
    sqe.rw_flags = flags;
    sqe.addr3 = mask;
}

fn prep_futex_wait(sqe: *Sqe, futex: Room(4), value: u64, mask: u64, futex_flags: u32, flags: u32) void {
    prep_futex_wake(sqe, futex, value, mask, futex_flags, flags);
    sqe.opcode = .FUTEX_WAIT;
}

fn prep_futex_waitv(sqe: *Sqe, waiters: sqe_types.FutexWaiters, flags: u32) void {
    set(sqe, .FUTEX_WAITV, 0, waiters.addr, waiters.count, 0);
    sqe.rw_flags = flags;
}

/// Name, function, Python parameters, what it does.
pub const builders = .{
    .{ "accept", prep_accept, "fd, address=None, flags=0", "Accept a connection, as accept4(2)." },
    .{ "accept_direct", prep_accept_direct, "fd, address, flags, file_index", "Accept into the fixed files; without SOCK_CLOEXEC." },
    .{ "multishot_accept", prep_multishot_accept, "fd, address=None, flags=0", "Accept again and again (5.19)." },
    .{ "multishot_accept_direct", prep_multishot_accept_direct, "fd, address=None, flags=0", "Accept again and again into the fixed files." },
    .{ "connect", prep_connect, "fd, address", "Connect, as connect(2); see pack_address()." },
    .{ "bind", prep_bind, "fd, address", "Bind, as bind(2); see pack_address() (6.11)." },
    .{ "listen", prep_listen, "fd, backlog", "Listen, as listen(2) (6.11)." },
    .{ "shutdown", prep_shutdown, "fd, how", "Shut down, as shutdown(2)." },
    .{ "socket", prep_socket, "domain, type, protocol=0, flags=0", "Make a socket, as socket(2)." },
    .{ "socket_direct", prep_socket_direct, "domain, type, protocol, file_index, flags=0", "Make a socket in the fixed files." },
    .{ "socket_direct_alloc", prep_socket_direct_alloc, "domain, type, protocol=0, flags=0", "Make a socket in a free slot." },
    .{ "send", prep_send, "fd, buffer, flags=0", "Send, as send(2)." },
    .{ "send_bundle", prep_send_bundle, "fd, length, flags=0", "Send several provided buffers (6.10)." },
    .{ "sendto", prep_sendto, "fd, buffer, flags, address", "Send to an address, as sendto(2) (6.0)." },
    .{ "send_zc", prep_send_zc, "fd, buffer, flags=0, zc_flags=0", "Send without copying (6.0); lent until F_NOTIF." },
    .{ "send_zc_fixed", prep_send_zc_fixed, "fd, buffer, flags, zc_flags, buf_index", "As prep_send_zc, from a registered buffer." },
    .{ "sendmsg", prep_sendmsg, "fd, message, flags=0", "Send a Message, as sendmsg(2)." },
    .{ "sendmsg_zc", prep_sendmsg_zc, "fd, message, flags=0", "As prep_sendmsg without copying (6.1)." },
    .{ "sendmsg_zc_fixed", prep_sendmsg_zc_fixed, "fd, message, flags, buf_index", "As prep_sendmsg_zc, from a registered buffer (6.15)." },
    .{ "recv", prep_recv, "fd, buffer, flags=0", "Receive, as recv(2)." },
    .{ "recv_multishot", prep_recv_multishot, "fd, buffer=0, flags=0", "Receive into provided buffers again and again (6.0)." },
    .{ "recv_zc", prep_recv_zc, "fd, length, queue", "Receive without copying from a registered queue (6.15)." },
    .{ "recvmsg", prep_recvmsg, "fd, message, flags=0", "Receive a Message, as recvmsg(2)." },
    .{ "recvmsg_multishot", prep_recvmsg_multishot, "fd, message, flags=0", "Receive messages into provided buffers (6.0)." },
    .{ "uring_cmd", prep_uring_cmd, "cmd_op, fd", "Start a driver's own command (5.19)." },
    .{ "cmd_sock", prep_cmd_sock, "cmd_op, fd, level, optname, optval=0", "A socket's command: getsockopt(2) and others (6.7)." },
    .{ "cmd_getsockname", prep_cmd_getsockname, "fd, address, peer=0", "Read a socket's own or peer's address (6.19)." },
    .{ "nop", prep_nop, "", "Do nothing and complete." },
    .{ "timeout", prep_timeout, "seconds, count=0, flags=0", "Complete with -ETIME after seconds, or after count completions." },
    .{ "timeout_remove", prep_timeout_remove, "user_data, flags=0", "Take a timeout back." },
    .{ "timeout_update", prep_timeout_update, "seconds, user_data, flags=0", "Give a timeout another time (5.11)." },
    .{ "link_timeout", prep_link_timeout, "seconds, flags=0", "Limit the time of the linked operation before." },
    .{ "poll_add", prep_poll_add, "fd, mask", "Wait until fd is ready once, as poll(2)." },
    .{ "poll_multishot", prep_poll_multishot, "fd, mask", "Wait for fd again and again (5.13)." },
    .{ "poll_remove", prep_poll_remove, "user_data", "Take a poll back." },
    .{ "poll_update", prep_poll_update, "user_data, new_user_data, mask, flags", "Change a poll that is armed (5.13)." },
    .{ "cancel", prep_cancel, "user_data, flags=0", "Cancel the operation with this user_data." },
    .{ "cancel64", prep_cancel, "user_data, flags=0", "As prep_cancel." },
    .{ "cancel_fd", prep_cancel_fd, "fd, flags=0", "Cancel the operations on fd (5.19)." },
    .{ "epoll_ctl", prep_epoll_ctl, "epfd, fd, op, event=None", "Change an epoll set; event is (events, data)." },
    .{ "epoll_wait", prep_epoll_wait, "fd, events, flags=0", "Read epoll events into a buffer (6.15)." },
    .{ "provide_buffers", prep_provide_buffers, "memory, length, count, group, bid", "Lend count buffers of length bytes to a group." },
    .{ "remove_buffers", prep_remove_buffers, "count, group", "Take buffers back from a group." },
    .{ "msg_ring", prep_msg_ring, "fd, length, data, flags=0", "Post a completion to another ring (5.18)." },
    .{ "msg_ring_cqe_flags", prep_msg_ring_cqe_flags, "fd, length, data, flags, cqe_flags", "As prep_msg_ring, with the flags of its CQE (6.3)." },
    .{ "msg_ring_fd", prep_msg_ring_fd, "fd, source, target, data, flags=0", "Send a fixed file to another ring (6.0)." },
    .{ "msg_ring_fd_alloc", prep_msg_ring_fd_alloc, "fd, source, data, flags=0", "As prep_msg_ring_fd, to a free slot." },
    .{ "waitid", prep_waitid, "idtype, id, info, options, flags=0", "Wait for a child, as waitid(2); info has 128 bytes (6.7)." },
    .{ "futex_wake", prep_futex_wake, "futex, value, mask, futex_flags, flags=0", "Wake waiters of a futex (6.7)." },
    .{ "futex_wait", prep_futex_wait, "futex, value, mask, futex_flags, flags=0", "Wait for a futex (6.7)." },
    .{ "futex_waitv", prep_futex_waitv, "waiters, flags=0", "Wait for one of several (futex, value, flags) (6.7)." },
};
