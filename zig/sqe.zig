//! What an SQE builder's parameters are, the builders' common ground, and the list of them all.
//! Owns no memory: a builder writes numbers and addresses into an SQE that its caller owns, and
//! whoever converted the arguments keeps what lies behind an address alive.
//!
//! Builders are named as in liburing (man 3 io_uring_prep_*), and fill an SQE just as its do. The
//! parameters' types say what an argument may be; sqe_object.zig derives the checks from them.

const std = @import("std");
const kernel = @import("kernel.zig");
const linux = kernel.linux;

pub const Sqe = linux.io_uring_sqe;

/// The slot that asks the kernel to pick a free one in the table of fixed files.
pub const file_index_alloc: u32 = std.math.maxInt(u32);

/// A descriptor: an int >= 0, or an object with fileno().
pub const Fd = struct { number: i32 };

/// A position in a file; -1 is the file's own, as read(2) uses it.
pub const Offset = struct { value: u64 };

/// Bytes the kernel reads from. An int in its place is a length without memory (BUFFER_SELECT).
pub const Source = struct { addr: u64, len: u32 };

/// Memory the kernel writes to. An int in its place is a length without memory (BUFFER_SELECT).
pub const Target = struct { addr: u64, len: u32 };

/// Iovecs over memory that the kernel reads from.
pub const SourceVector = struct { addr: u64, count: u32 };

/// Iovecs over memory that the kernel writes to.
pub const TargetVector = struct { addr: u64, count: u32 };

/// A path or a name that ends in a zero byte.
pub const Path = struct { addr: u64 };

/// A sockaddr that the kernel reads.
pub const Address = struct { addr: u64, len: u32 };

/// Room for a sockaddr and, by itself, its socklen_t; both zero for none.
pub const AddressRoom = struct { addr: u64, len_addr: u64 };

/// A __kernel_timespec, from seconds.
pub const Time = struct { addr: u64 };

/// A msghdr that the kernel reads through.
pub const SendMessage = struct { addr: u64 };

/// A msghdr that the kernel writes through.
pub const ReceiveMessage = struct { addr: u64 };

/// A struct open_how.
pub const OpenHow = struct { addr: u64 };

/// A struct epoll_event; zero for none.
pub const EpollEvent = struct { addr: u64 };

/// Room for struct epoll_event's.
pub const EpollRoom = struct { addr: u64, count: u32 };

/// An array of int that the kernel reads and writes (array('i') in Python).
pub const Ints = struct { addr: u64, count: u32 };

/// An array of struct futex_waitv.
pub const FutexWaiters = struct { addr: u64, count: u32 };

/// A slot in the table of fixed files, or `file_index_alloc`.
pub const FileIndex = struct {
    slot: u32,

    /// The SQE's field: slot + 1, for 0 means "an ordinary descriptor" (F18).
    fn field(self: FileIndex) u32 {
        return if (self.slot == file_index_alloc) self.slot else self.slot + 1;
    }
};

/// The user_data of another operation, translated when the SQE is submitted.
pub const UserData = struct { value: u64 };

/// The user_data that an operation is to have from then on.
pub const NewUserData = struct { value: u64 };

/// Room for a siginfo_t; zero for none.
pub const SiginfoRoom = struct { addr: u64 };

/// Writable memory of at least `bytes` bytes.
pub fn Room(comptime bytes: u32) type {
    return struct {
        pub const room = bytes;
        addr: u64,
    };
}

/// Into an SQE that is all zero.
pub fn set(sqe: *Sqe, opcode: linux.IORING_OP, fd: i32, addr: u64, len: u32, off: u64) void {
    sqe.opcode = opcode;
    sqe.fd = fd;
    sqe.addr = addr;
    sqe.len = len;
    sqe.off = off;
}

pub fn set_file_index(sqe: *Sqe, index: FileIndex) void {
    sqe.splice_fd_in = @bitCast(index.field());
}

/// -1 and other signed numbers where the kernel has an unsigned field.
pub fn unsigned(number: i32) u32 {
    return @bitCast(number);
}
