//! What happens when a native assertion fails: our own mistake. A line on stderr, then a stop,
//! before memory that the kernel may still write to is used again. Owns nothing, never returns.
//!
//! These are the functions that the compiler calls (std.debug.FullPanic has the same). Ours leave
//! the numbers out: formatting them would bring a tenth of the library's size along.

const std = @import("std");

pub fn call(message: []const u8, _: ?usize) noreturn {
    @branchHint(.cold);
    const prefix = "pyuring: native assertion failed (please report): ";
    _ = std.os.linux.write(2, prefix, prefix.len);
    _ = std.os.linux.write(2, message.ptr, message.len);
    _ = std.os.linux.write(2, "\n", 1);
    @trap();
}

fn saying(comptime message: []const u8) fn () noreturn {
    return struct {
        fn stop() noreturn {
            @branchHint(.cold);
            call(message, null);
        }
    }.stop;
}

pub const reachedUnreachable = saying("reached unreachable code");
pub const unwrapNull = saying("attempt to use null value");
pub const castToNull = saying("cast causes pointer to be null");
pub const incorrectAlignment = saying("incorrect alignment");
pub const invalidErrorCode = saying("invalid error code");
pub const integerOutOfBounds = saying("integer does not fit in destination type");
pub const integerOverflow = saying("integer overflow");
pub const shlOverflow = saying("left shift overflowed bits");
pub const shrOverflow = saying("right shift overflowed bits");
pub const divideByZero = saying("division by zero");
pub const exactDivisionRemainder = saying("exact division produced remainder");
pub const integerPartOutOfBounds = saying("integer part of floating point value out of bounds");
pub const corruptSwitch = saying("switch on corrupt value");
pub const shiftRhsTooBig = saying("shift amount is greater than the type size");
pub const invalidEnumValue = saying("invalid enum value");
pub const forLenMismatch = saying("for loop over objects with non-equal lengths");
pub const copyLenMismatch = saying("source and destination arguments have non-equal lengths");
pub const memcpyAlias = saying("@memcpy arguments alias");
pub const noreturnReturned = saying("'noreturn' function returned");

pub fn unwrapError(_: anyerror) noreturn {
    saying("attempt to unwrap error")();
}

pub fn outOfBounds(_: usize, _: usize) noreturn {
    saying("index out of bounds")();
}

pub fn startGreaterThanEnd(_: usize, _: usize) noreturn {
    saying("start index is larger than end index")();
}

pub fn sliceCastLenRemainder(_: usize) noreturn {
    saying("slice length does not divide exactly into destination elements")();
}

pub fn sentinelMismatch(expected: anytype, _: @TypeOf(expected)) noreturn {
    saying("sentinel mismatch")();
}

pub fn inactiveUnionField(active: anytype, _: @TypeOf(active)) noreturn {
    saying("access of an inactive union field")();
}
