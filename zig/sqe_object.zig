//! The Python type `Sqe`: one operation, its user_data, and the memory it lends to the kernel.
//! Its prep_* methods are derived here from the builders. It never touches a ring's queue: the ring
//! copies the image when it submits, and the SQE is spent by that.

const std = @import("std");
const python = @import("python.zig");
const arguments = @import("arguments.zig");
const sqe = @import("sqe.zig");
const files = @import("sqe_files.zig");
const sockets = @import("sqe_sockets.zig");
const Pins = @import("pins.zig").Pins;
const Object = python.Object;

pub const builders = files.builders ++ sockets.builders;

pub const State = enum(u8) {
    /// Made by a call of the type: belongs to nobody.
    detached,
    /// Handed out by get_sqe(), to be submitted.
    queued,
    /// A part of a Batch: submitted again and again, never spent.
    batched,
    /// Submitted, or its ring is closed.
    spent,
};

pub const Body = struct {
    image: [128]u8 align(8),
    collected: arguments.Collected,
    /// The caller's user_data; null stands for 0.
    user_data: ?*Object,
    /// user_data modulo 2^64.
    key: u64,
    state: State,
    prepared: bool,

    pub fn sqe(self: *Body) *sqe_module.Sqe {
        return @ptrCast(&self.image);
    }

    /// The user_data as a new reference.
    pub fn own_user_data(self: *Body) ?*Object {
        if (self.user_data) |object| return python.incref(object);
        return python.c.PyLong_FromLong(0);
    }

    pub fn drop(self: *Body) void {
        var collected = self.collected;
        self.collected = .{};
        collected.release();
    }
};

const sqe_module = sqe;

/// The type itself, for checks and for making SQEs. Lives as long as the process.
pub var object_type: *Object = undefined;

pub fn body(object: *Object) *Body {
    return python.body(Body, object);
}

/// A new SQE, or null with an exception set.
pub fn create(state: State) ?*Object {
    const object = python.c.PyType_GenericAlloc(object_type, 0) orelse return null;
    body(object).state = state;
    return object;
}

fn new(_: *Object, args: ?*Object, kwargs: ?*Object) callconv(.c) ?*Object {
    if ((args != null and python.c.PyTuple_Size(args.?) != 0) or kwargs != null) {
        python.c.PyErr_SetString(python.exc.PyExc_TypeError.*, "Sqe() takes no arguments");
        return null;
    }
    return create(.detached);
}

fn dealloc(object: *Object) callconv(.c) void {
    const self = body(object);
    self.drop();
    if (self.user_data) |data| python.decref(data);
    python.free_instance(object);
}

fn check_usable(self: *Body) arguments.Error!void {
    if (self.state != .spent) return;
    raise_ours("SqeStateError", "this SQE was submitted, or its ring closed: get a new one");
    return error.PythonRaised;
}

/// Raises one of pyuring.errors' classes.
pub fn raise_ours(name: [*:0]const u8, message: [*:0]const u8) void {
    const module = python.c.PyImport_ImportModule("pyuring.errors") orelse return;
    defer python.decref(module);
    const kind = python.c.PyObject_GetAttrString(module, name) orelse return;
    defer python.decref(kind);
    python.c.PyErr_SetString(kind, message);
}

/// What tells one builder from another; the rest of a call is the same for all, and compiled once.
const Builder = struct {
    name: [*:0]const u8,
    parameters: []const [*:0]const u8,
    /// Converts the arguments, and has the builder write the image.
    fill: *const fn ([*]const ?*Object, *sqe.Sqe, *arguments.Collected) arguments.Error!void,
};

const most_parameters = 12;

fn prepare(
    object: *Object,
    args: [*]const *Object,
    count: python.Ssize,
    keywords: ?*Object,
    builder: *const Builder,
) ?*Object {
    var given: [most_parameters]?*Object = @splat(null);
    const self = body(object);
    check_usable(self) catch return null;
    const places = given[0..builder.parameters.len];
    gather(builder.name, builder.parameters, places, args[0..@intCast(count)], keywords, args) catch return null;
    var collected = arguments.Collected{};
    var image: sqe.Sqe = undefined;
    builder.fill(&given, &image, &collected) catch {
        collected.release();
        return null;
    };
    @memcpy(self.image[0..64], std.mem.asBytes(&image));
    self.prepared = true;
    std.mem.swap(arguments.Collected, &self.collected, &collected);
    collected.release(); // what the SQE held before; may run Python code, so last
    return python.return_none();
}

/// The wrapper of one builder: arguments by position or name, converted by the builder's types.
fn Prep(comptime entry: anytype) type {
    @setEvalBranchQuota(100_000);
    const function = entry[1];
    const parameters = @typeInfo(@TypeOf(function)).@"fn".params[1..];
    const names = parameter_names(entry[2]);
    comptime std.debug.assert(names.len == parameters.len and names.len <= most_parameters);
    return struct {
        const builder = Builder{ .name = entry[0], .parameters = &names, .fill = &fill };

        fn call(object: *Object, args: [*]const *Object, count: python.Ssize, keywords: ?*Object) callconv(.c) ?*Object {
            return prepare(object, args, count, keywords, &builder);
        }

        fn fill(given: [*]const ?*Object, image: *sqe.Sqe, collected: *arguments.Collected) arguments.Error!void {
            var values: std.meta.ArgsTuple(@TypeOf(function)) = undefined;
            values[0] = image;
            inline for (parameters, 0..) |parameter, i| {
                const T = parameter.type.?;
                values[i + 1] = if (given[i]) |value|
                    try arguments.convert(T, value, collected)
                else if (comptime default_of(entry[2], i)) |text|
                    default_value(T, text)
                else
                    return missing(names[i], entry[0]);
            }
            if (comptime std.mem.eql(u8, entry[0], "provide_buffers")) {
                if (@as(u64, values[2]) * values[3] > 0 and values[1].len < @as(u64, values[2]) * values[3]) {
                    return arguments.raise(python.exc.PyExc_ValueError, "memory is smaller than length · count");
                }
            }
            @call(.auto, function, values);
        }
    };
}

fn missing(name: [*:0]const u8, builder: [*:0]const u8) arguments.Error {
    _ = python.c.PyErr_Format(python.exc.PyExc_TypeError.*, "prep_%s() misses its argument '%s'", builder, name);
    return error.PythonRaised;
}

/// Sorts a call's arguments into the builder's parameters.
fn gather(
    builder: [*:0]const u8,
    names: []const [*:0]const u8,
    given: []?*Object,
    positional: []const *Object,
    keywords: ?*Object,
    values: [*]const *Object,
) arguments.Error!void {
    if (positional.len > names.len) {
        _ = python.c.PyErr_Format(
            python.exc.PyExc_TypeError.*,
            "prep_%s() takes at most %zd arguments, not %zd",
            builder,
            @as(python.Ssize, @intCast(names.len)),
            @as(python.Ssize, @intCast(positional.len)),
        );
        return error.PythonRaised;
    }
    for (positional, given[0..positional.len]) |value, *place| place.* = value;
    const words = keywords orelse return;
    for (0..@intCast(python.c.PyTuple_Size(words))) |i| {
        const word = python.c.PyTuple_GetItem(words, @intCast(i)) orelse return error.PythonRaised;
        const index = for (names, 0..) |name, n| {
            if (python.c.PyUnicode_CompareWithASCIIString(word, name) == 0) break n;
        } else names.len;
        if (index == names.len or given[index] != null) {
            const text = if (index == names.len) "prep_%s() has no parameter %R" else "prep_%s() got %R twice";
            _ = python.c.PyErr_Format(python.exc.PyExc_TypeError.*, text, builder, word);
            return error.PythonRaised;
        }
        given[index] = values[positional.len + i];
    }
}

fn parameter_count(comptime signature: []const u8) usize {
    return if (signature.len == 0) 0 else std.mem.count(u8, signature, ",") + 1;
}

fn parameter_text(comptime signature: []const u8, comptime index: usize) []const u8 {
    var parts = std.mem.splitSequence(u8, signature, ", ");
    inline for (0..index) |_| _ = parts.next();
    return parts.next().?;
}

fn parameter_names(comptime signature: []const u8) [parameter_count(signature)][*:0]const u8 {
    var names: [parameter_count(signature)][*:0]const u8 = undefined;
    for (&names, 0..) |*name, i| {
        const text = parameter_text(signature, i);
        const end = std.mem.indexOfScalar(u8, text, '=') orelse text.len;
        name.* = text[0..end] ++ "";
    }
    return names;
}

fn default_of(comptime signature: []const u8, comptime index: usize) ?[]const u8 {
    const text = parameter_text(signature, index);
    const at = std.mem.indexOfScalar(u8, text, '=') orelse return null;
    return text[at + 1 ..];
}

fn default_value(comptime T: type, comptime text: []const u8) T {
    if (comptime std.mem.eql(u8, text, "None")) {
        return if (@typeInfo(T) == .optional) null else std.mem.zeroes(T);
    }
    const number = comptime std.fmt.parseInt(i64, text, 10) catch unreachable;
    if (@typeInfo(T) == .int) return number;
    if (T == sqe.Offset) return .{ .value = @bitCast(@as(i64, number)) };
    return .{ .addr = 0, .len = number };
}

fn bytes(object: *Object, _: ?*Object) callconv(.c) ?*Object {
    const self = body(object);
    var image: sqe.Sqe = self.sqe().*;
    image.user_data = 0;
    if (self.user_data) |data| image.user_data = python.c.PyLong_AsUnsignedLongLongMask(data);
    return python.c.PyBytes_FromStringAndSize(std.mem.asBytes(&image), @sizeOf(sqe.Sqe));
}

fn set_command(object: *Object, argument: *Object) callconv(.c) ?*Object {
    const self = body(object);
    check_usable(self) catch return null;
    var pins = Pins.create() catch return null;
    defer pins.release();
    const data = pins.hold(argument, false) catch return null;
    if (self.sqe().opcode != .URING_CMD or data.len > 80) {
        python.c.PyErr_SetString(python.exc.PyExc_ValueError.*, "up to 80 bytes, after prep_uring_cmd()");
        return null;
    }
    @memset(self.image[48..], 0);
    @memcpy(self.image[48..][0..data.len], data);
    return python.return_none();
}

/// Keeps a buffer that a driver's command names until the last completion.
fn hold(object: *Object, argument: *Object) callconv(.c) ?*Object {
    const self = body(object);
    check_usable(self) catch return null;
    const pins = self.collected.held() catch return null;
    const data = pins.hold(argument, false) catch return null;
    return python.c.PyLong_FromUnsignedLongLong(@intFromPtr(data.ptr));
}

const methods = table: {
    @setEvalBranchQuota(1_000_000);
    var list: [builders.len + 4]python.MethodDef = undefined;
    for (builders, 0..) |entry, i| list[i] = .{
        .name = "prep_" ++ entry[0],
        .function = @ptrCast(&Prep(entry).call),
        .flags = python.METH_FASTCALL | python.METH_KEYWORDS,
        .doc = "prep_" ++ entry[0] ++ "($self, /" ++ (if (entry[2].len == 0) "" else ", ") ++ entry[2] ++ ")\n--\n\n" ++ entry[3],
    };
    list[builders.len] = .{
        .name = "__bytes__",
        .function = @ptrCast(&bytes),
        .flags = python.METH_NOARGS,
        .doc = "__bytes__($self, /)\n--\n\nReturn the 64 bytes of struct io_uring_sqe, with the caller's user_data.",
    };
    list[builders.len + 1] = .{
        .name = "set_command",
        .function = @ptrCast(&set_command),
        .flags = python.METH_O,
        .doc = "set_command($self, data, /)\n--\n\nFill a driver command's own bytes (16, or 80 with SQE128).",
    };
    list[builders.len + 2] = .{
        .name = "hold",
        .function = @ptrCast(&hold),
        .flags = python.METH_O,
        .doc = "hold($self, buffer, /)\n--\n\nKeep buffer alive till the last completion; return its address.",
    };
    list[builders.len + 3] = .{};
    break :table list;
};

const type_doc = "One operation: prepare it with a prep_* method, then set flags and user_data, then submit.\n\n" ++
    "Belongs to the caller until the submit, and raises SqeStateError after it. Memory handed to a prep_*\n" ++
    "method stays alive, and cannot be resized, until the operation's last completion was consumed.";

/// Makes the type; called once with the interpreter lock held.
pub fn make_type() ?*Object {
    const fields = @import("sqe_fields.zig");
    const slots = [_]python.TypeSlot{
        .{ .slot = python.Py_tp_new, .function = @ptrCast(&new) },
        .{ .slot = python.Py_tp_dealloc, .function = @ptrCast(&dealloc) },
        .{ .slot = python.Py_tp_methods, .function = @ptrCast(&methods) },
        .{ .slot = python.Py_tp_getset, .function = @ptrCast(&fields.table) },
        .{ .slot = python.Py_tp_doc, .function = @ptrCast(type_doc) },
        .{},
    };
    const spec = python.TypeSpec{
        .name = "pyuring.Sqe",
        .basicsize = python.basic_size(Body),
        .flags = python.TPFLAGS_DEFAULT,
        .slots = &slots,
    };
    object_type = python.c.PyType_FromSpec(&spec) orelse return null;
    return python.incref(object_type);
}
