//! All SQE builders under one number each: what their arguments may be, and calling one by its number.
//! Owns nothing. What tells the builders apart is one byte a parameter, so that the code between
//! Python's arguments and a builder (arguments.zig, sqe_object.zig) is compiled once for them all.

const std = @import("std");
const sqe = @import("sqe.zig");
const files = @import("sqe_files.zig");
const sockets = @import("sqe_sockets.zig");

/// Name, function, Python parameters, what it does.
pub const all = files.builders ++ sockets.builders;

/// No builder has more parameters.
pub const most_parameters = 6;

/// What an argument may be; each type of a builder's parameter is one.
pub const Kind = enum(u5) {
    u16,
    u32,
    u64,
    i32,
    i64,
    fd,
    offset,
    source,
    target,
    source_vector,
    target_vector,
    path,
    address,
    address_room,
    time,
    send_message,
    receive_message,
    open_how,
    epoll_event,
    epoll_room,
    ints,
    futex_waiters,
    file_index,
    user_data,
    new_user_data,
    siginfo,
    room_4,
    room_8,
    room_256,
};

fn kind_of(comptime T: type) Kind {
    return switch (T) {
        u16 => .u16,
        u32 => .u32,
        u64 => .u64,
        i32 => .i32,
        i64 => .i64,
        sqe.Fd => .fd,
        sqe.Offset => .offset,
        sqe.Source => .source,
        sqe.Target => .target,
        sqe.SourceVector => .source_vector,
        sqe.TargetVector => .target_vector,
        sqe.Path => .path,
        sqe.Address => .address,
        sqe.AddressRoom => .address_room,
        sqe.Time => .time,
        sqe.SendMessage => .send_message,
        sqe.ReceiveMessage => .receive_message,
        sqe.OpenHow => .open_how,
        sqe.EpollEvent => .epoll_event,
        sqe.EpollRoom => .epoll_room,
        sqe.Ints => .ints,
        sqe.FutexWaiters => .futex_waiters,
        sqe.FileIndex => .file_index,
        sqe.UserData => .user_data,
        sqe.NewUserData => .new_user_data,
        sqe.SiginfoRoom => .siginfo,
        sqe.Room(4) => .room_4,
        sqe.Room(8) => .room_8,
        sqe.Room(256) => .room_256,
        else => @compileError("no conversion for " ++ @typeName(T)),
    };
}

/// What stands for an argument that is not given.
pub const Default = enum(u3) {
    required,
    zero,
    minus_one,
    mode_511,

    pub fn numbers(self: Default) Numbers {
        return switch (self) {
            .required => unreachable,
            .zero => .{ 0, 0 },
            .minus_one => .{ std.math.maxInt(u64), 0 },
            .mode_511 => .{ 511, 0 },
        };
    }
};

pub const Parameter = packed struct(u8) { kind: Kind, default: Default };

/// An argument once it is converted: the fields of the parameter's type, in order.
pub const Numbers = [2]u64;

/// Builder `index` has the first `counts[index]` of `parameters[index]`.
pub const counts: [all.len]u8 = list: {
    var list: [all.len]u8 = undefined;
    for (all, &list) |builder, *count| count.* = @typeInfo(@TypeOf(builder[1])).@"fn".params.len - 1;
    break :list list;
};

pub const parameters: [all.len][most_parameters]Parameter = table: {
    @setEvalBranchQuota(100_000);
    var table: [all.len][most_parameters]Parameter = @splat(@splat(.{ .kind = .u16, .default = .required }));
    for (all, &table) |builder, *row| {
        var texts = std.mem.tokenizeSequence(u8, builder[2], ", ");
        for (@typeInfo(@TypeOf(builder[1])).@"fn".params[1..], 0..) |parameter, i| {
            row[i] = .{ .kind = kind_of(parameter.type.?), .default = default_of(texts.next().?) };
        }
        std.debug.assert(texts.next() == null);
    }
    break :table table;
};

fn default_of(parameter: []const u8) Default {
    const at = std.mem.indexOfScalar(u8, parameter, '=') orelse return .required;
    const text = parameter[at + 1 ..];
    if (std.mem.eql(u8, text, "-1")) return .minus_one;
    if (std.mem.eql(u8, text, "511")) return .mode_511;
    if (std.mem.eql(u8, text, "0") or std.mem.eql(u8, text, "None")) return .zero;
    @compileError("no default for " ++ parameter);
}

pub fn index_of(comptime name: []const u8) u8 {
    for (all, 0..) |builder, i| if (std.mem.eql(u8, builder[0], name)) return i;
    @compileError("no builder is called " ++ name);
}

/// Has builder `index` write its operation into `image`, which is all zero.
pub fn build(index: u8, image: *sqe.Sqe, arguments: *const [most_parameters]Numbers) void {
    @setEvalBranchQuota(100_000);
    switch (index) {
        inline 0...all.len - 1 => |i| {
            const function = all[i][1];
            var values: std.meta.ArgsTuple(@TypeOf(function)) = undefined;
            values[0] = image;
            inline for (1..values.len) |n| values[n] = value_of(@TypeOf(values[n]), arguments[n - 1]);
            @call(.auto, function, values);
        },
        else => unreachable,
    }
}

/// The parameter's value: an integer's low bits, or the fields of a struct. Each was checked to fit
/// when the argument was converted.
fn value_of(comptime T: type, numbers: Numbers) T {
    if (@typeInfo(T) == .int) return narrow(T, numbers[0]);
    var value: T = undefined;
    inline for (@typeInfo(T).@"struct".fields, 0..) |field, i| @field(value, field.name) = narrow(field.type, numbers[i]);
    return value;
}

fn narrow(comptime T: type, number: u64) T {
    return @truncate(@as(if (@typeInfo(T).int.signedness == .signed) i64 else u64, @bitCast(number)));
}
