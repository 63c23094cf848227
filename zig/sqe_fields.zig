//! The attributes of `Sqe` that a caller may read and set after prep_*: flags, user_data and others.
//! Never lets a caller set an address, a length or an opcode: those decide what memory the kernel
//! touches, and come from the prep_* methods' checked arguments only (F53).

const std = @import("std");
const python = @import("python.zig");
const python_type = @import("python_type.zig");
const arguments = @import("arguments.zig");
const sqe_object = @import("sqe_object.zig");
const linux = std.os.linux;
const Object = python.Object;

/// A number of the SQE, read and (where `writable`) set under its C name.
fn Field(comptime name: []const u8, comptime writable: bool) type {
    return struct {
        const T = @FieldType(linux.io_uring_sqe, name);

        fn get(object: *Object, _: ?*anyopaque) callconv(.c) ?*Object {
            const value = @field(sqe_object.body(object).sqe(), name);
            if (T == linux.IORING_OP) return python.c.PyLong_FromLong(@intFromEnum(value));
            if (T == u64) return python.c.PyLong_FromUnsignedLongLong(value);
            return python.c.PyLong_FromLongLong(value);
        }

        const set: ?python.Setter = if (writable) struct {
            fn set(object: *Object, value: ?*Object, _: ?*anyopaque) callconv(.c) c_int {
                if (value == null) return undeletable();
                const number = arguments.integer(T, value.?) catch return -1;
                const self = usable(object) orelse return -1;
                @field(self.sqe(), name) = number;
                return 0;
            }
        }.set else null;
    };
}

fn undeletable() c_int {
    python.c.PyErr_SetString(python.exc.PyExc_TypeError.*, "an SQE's field cannot be deleted");
    return -1;
}

/// The SQE, asked for after a new value's own code (`__index__`) has run: that may have submitted it.
fn usable(object: *Object) ?*sqe_object.Body {
    const self = sqe_object.body(object);
    if (self.state == .spent) {
        sqe_object.raise_ours("SqeStateError", "this SQE was submitted: get a new one");
        return null;
    }
    return self;
}

fn get_user_data(object: *Object, _: ?*anyopaque) callconv(.c) ?*Object {
    return sqe_object.body(object).own_user_data();
}

fn set_user_data(object: *Object, value: ?*Object, _: ?*anyopaque) callconv(.c) c_int {
    if (value == null) return undeletable();
    var number: ?*Object = null;
    const key = arguments.keep_number(value.?, &number) catch return -1;
    const self = usable(object) orelse {
        python.decref(number.?);
        return -1;
    };
    self.lock();
    const old = self.user_data;
    self.user_data = number;
    self.key = key;
    self.unlock();
    if (old) |before| python.decref(before);
    return 0;
}

/// A file position may be set again (a Batch reads elsewhere each time), but only where the field is
/// one: elsewhere it may be an address.
fn set_offset(object: *Object, value: ?*Object, _: ?*anyopaque) callconv(.c) c_int {
    if (value == null) return undeletable();
    const offset = arguments.offset(value.?) catch return -1;
    const self = usable(object) orelse return -1;
    switch (self.sqe().opcode) {
        .READ, .WRITE, .READV, .WRITEV, .READ_FIXED, .WRITE_FIXED => {},
        else => {
            python.c.PyErr_SetString(python.exc.PyExc_ValueError.*, "only a read or a write has an offset");
            return -1;
        },
    }
    self.sqe().off = offset;
    return 0;
}

fn field(comptime python_name: []const u8, comptime name: []const u8, comptime writable: bool, comptime doc: []const u8) python_type.Attribute {
    const F = Field(name, writable);
    return .{ .name = python_name, .get = F.get, .set = F.set, .doc = doc };
}

pub const attributes = python_type.Attributes(&.{
    field("opcode", "opcode", false, "The operation's number (Op)."),
    field("flags", "flags", true, "IOSQE_* flags (SqeFlags)."),
    field("ioprio", "ioprio", true, "Priority, or the flags of accept, send and receive."),
    field("fd", "fd", false, "The descriptor, or the slot with FIXED_FILE."),
    field("length", "len", false, "struct io_uring_sqe's len."),
    field("op_flags", "rw_flags", false, "The operation's own flags, as its prep_* method set them."),
    field("buf_index", "buf_index", true, "The registered buffer's index."),
    field("buf_group", "buf_index", true, "The buffer group to pick from, with BUFFER_SELECT."),
    field("personality", "personality", true, "The registered credentials' id."),
    .{ .name = "offset", .get = Field("off", false).get, .set = set_offset, .doc = "The file position of a read or a write." },
    .{ .name = "user_data", .get = get_user_data, .set = set_user_data, .doc = "Any int; comes back in the completion." },
});
