//! The Python type `Sqe`: one operation, its user_data, and the memory it lends to the kernel.
//! Its prep_* methods are derived here from the builders. It never touches a ring's queue: the ring
//! copies the image when it submits, and the SQE is spent by that.

const std = @import("std");
const python = @import("python.zig");
const arguments = @import("arguments.zig");
const python_type = @import("python_type.zig");
const sqe = @import("sqe.zig");
const builders = @import("sqe_builders.zig");
const Guard = @import("guard.zig").Guard;
const Pins = @import("pins.zig").Pins;
const Object = python.Object;

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
    /// For the image, what it lends and the user_data: an SQE of a Batch may be prepared by one
    /// thread while another submits it, with nothing else between them on a free-threaded build.
    guard: Guard,

    pub fn lock(self: *Body) void {
        if (python.free_threaded()) self.guard.lock();
    }

    pub fn unlock(self: *Body) void {
        if (python.free_threaded()) self.guard.unlock();
    }

    pub fn sqe(self: *Body) *sqe_module.Sqe {
        return @ptrCast(&self.image);
    }

    /// The user_data as a new reference.
    pub fn own_user_data(self: *Body) ?*Object {
        self.lock();
        defer self.unlock();
        if (self.user_data) |object| return python.incref(object);
        return python.c.PyLong_FromLong(0);
    }

    pub fn drop(self: *Body) void {
        var collected = arguments.Collected{};
        self.lock();
        std.mem.swap(arguments.Collected, &self.collected, &collected);
        self.unlock();
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

/// A call of builder `index`: its arguments by position or name, converted, and its image written.
noinline fn prepare(
    object: *Object,
    args: [*]const *Object,
    count: python.Ssize,
    keywords: ?*Object,
    index: u8,
) ?*Object {
    const self = body(object);
    check_usable(self) catch return null;
    var collected = arguments.Collected{};
    var image = std.mem.zeroes(sqe.Sqe);
    fill(&image, args[0..@intCast(count)], keywords, index, &collected) catch {
        collected.release();
        return null;
    };
    check_usable(self) catch { // an argument's own code has submitted it
        collected.release();
        return null;
    };
    self.lock();
    @memcpy(self.image[0..64], std.mem.asBytes(&image));
    self.prepared = true;
    std.mem.swap(arguments.Collected, &self.collected, &collected);
    self.unlock();
    collected.release(); // what the SQE held before; may run Python code, so last
    return python.return_none();
}

fn fill(
    image: *sqe.Sqe,
    positional: []const *Object,
    keywords: ?*Object,
    index: u8,
    collected: *arguments.Collected,
) arguments.Error!void {
    var given: [builders.most_parameters]?*Object = @splat(null);
    const places = given[0..builders.counts[index]];
    try gather(index, places, positional, keywords);
    var numbers: [builders.most_parameters]builders.Numbers = undefined;
    for (places, builders.parameters[index][0..places.len], numbers[0..places.len], 0..) |place, parameter, *pair, i| {
        if (place) |value| {
            pair.* = try arguments.convert(parameter.kind, value, collected);
        } else if (parameter.default == .required) {
            return missing(index, i);
        } else pair.* = parameter.default.numbers();
    }
    if (index == comptime builders.index_of("provide_buffers")) {
        const memory = numbers[0][1];
        const wanted = numbers[1][0] * numbers[2][0];
        if (wanted > 0 and memory < wanted) {
            return arguments.raise(python.exc.PyExc_ValueError, "memory is smaller than length · count");
        }
    }
    builders.build(index, image, &numbers);
}

/// Sorts a call's arguments into the builder's parameters.
fn gather(index: u8, given: []?*Object, positional: []const *Object, keywords: ?*Object) arguments.Error!void {
    if (positional.len > given.len) {
        return complain(index, "%s() takes at most %zd arguments, not %zd", .{
            @as(python.Ssize, @intCast(given.len)),
            @as(python.Ssize, @intCast(positional.len)),
        });
    }
    for (positional, given[0..positional.len]) |value, *place| place.* = value;
    const words = keywords orelse return;
    for (0..@intCast(python.c.PyTuple_Size(words))) |i| {
        const word = python.c.PyTuple_GetItem(words, @intCast(i)) orelse return error.PythonRaised;
        const place = find(index, word) orelse return complain(index, "%s() has no parameter %R", .{word});
        if (given[place] != null) return complain(index, "%s() got %R twice", .{word});
        given[place] = positional.ptr[positional.len + i]; // CPython puts named values behind the others
    }
}

/// The place of the parameter that a str names.
fn find(index: u8, word: *Object) ?usize {
    const wanted = python.text_view(word) orelse {
        python.c.PyErr_Clear(); // no UTF-8, so nobody's name
        return null;
    };
    var names = Names.of(index);
    var place: usize = 0;
    while (names.next()) |name| : (place += 1) if (std.mem.eql(u8, name, wanted)) return place;
    return null;
}

fn missing(index: u8, parameter: usize) arguments.Error {
    var names = Names.of(index);
    for (0..parameter) |_| _ = names.next();
    const name = names.next().?;
    var buffer: [32:0]u8 = @splat(0);
    @memcpy(buffer[0..name.len], name);
    return complain(index, "%s() misses its argument '%s'", .{@as([*:0]const u8, &buffer)});
}

fn complain(index: u8, text: [*:0]const u8, values: anytype) arguments.Error {
    const name = methods.defs[index].name.?;
    _ = @call(.auto, python.c.PyErr_Format, .{ python.exc.PyExc_TypeError.*, text, name } ++ values);
    return error.PythonRaised;
}

/// A builder's parameters, out of what CPython shows as its signature: `name($self, /, one, other=0)`.
const Names = struct {
    /// At the comma before the next name, or at the closing parenthesis.
    rest: [*:0]const u8,

    fn of(index: u8) Names {
        const def = methods.defs[index];
        return .{ .rest = def.doc.? + std.mem.len(def.name.?) + "($self, /".len };
    }

    fn next(self: *Names) ?[]const u8 {
        if (self.rest[0] == ')') return null;
        const name = self.rest + ", ".len;
        var length: usize = 0;
        while (name[length] != ',' and name[length] != ')' and name[length] != '=') length += 1;
        self.rest = name + length;
        while (self.rest[0] != ',' and self.rest[0] != ')') self.rest += 1;
        return name[0..length];
    }
};

/// The method of builder `index`.
fn Prep(comptime index: u8) type {
    return struct {
        fn call(object: *Object, args: [*]const *Object, count: python.Ssize, keywords: ?*Object) callconv(.c) ?*Object {
            return prepare(object, args, count, keywords, index);
        }
    };
}

fn bytes(object: *Object, _: ?*Object) callconv(.c) ?*Object {
    const self = body(object);
    self.lock();
    var image: sqe.Sqe = self.sqe().*;
    image.user_data = if (self.user_data == null) 0 else self.key;
    self.unlock();
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

fn share_pins(self: *Body) arguments.Error!*Pins {
    self.lock();
    defer self.unlock();
    return (try self.collected.held()).share();
}

/// Keeps a buffer that a driver's command names until the last completion.
fn hold(object: *Object, argument: *Object) callconv(.c) ?*Object {
    const self = body(object);
    check_usable(self) catch return null;
    const pins = share_pins(self) catch return null;
    defer pins.release(); // __buffer__ may have spent this SQE
    const data = pins.hold(argument, false) catch return null;
    check_usable(self) catch return null;
    return python.c.PyLong_FromUnsignedLongLong(@intFromPtr(data.ptr));
}

const methods = python_type.Methods(list: {
    @setEvalBranchQuota(100_000);
    var list: []const python_type.Method = &.{};
    for (builders.all, 0..) |builder, i| list = list ++ .{python_type.Method{
        .name = "prep_" ++ builder[0],
        .parameters = builder[2],
        .flags = python.METH_FASTCALL | python.METH_KEYWORDS,
        .function = &Prep(i).call,
        .doc = builder[3],
    }};
    break :list list ++ [_]python_type.Method{
        .none("__bytes__()", bytes, "Return the 64 bytes of struct io_uring_sqe, with the caller's user_data."),
        .one("set_command(data)", set_command, "Fill a driver command's own bytes (16, or 80 with SQE128)."),
        .one("hold(buffer)", hold, "Keep buffer alive till the last completion; return its address."),
    };
});

const type_doc = "One operation: prepare it with a prep_* method, then set flags and user_data, then submit.\n\n" ++
    "Belongs to the caller until the submit, and raises SqeStateError after it. Memory handed to a prep_*\n" ++
    "method stays alive, and cannot be resized, until the operation's last completion was consumed.";

/// Makes the type; called once with the interpreter lock held.
pub fn make_type() ?*Object {
    const fields = @import("sqe_fields.zig");
    object_type = python_type.make("pyuring.Sqe", Body, 0, .{
        .{ python.Py_tp_new, &new },
        .{ python.Py_tp_dealloc, &dealloc },
        .{ python.Py_tp_methods, methods.table() },
        .{ python.Py_tp_getset, fields.attributes.table() },
        .{ python.Py_tp_doc, type_doc },
    }) orelse return null;
    return python.incref(object_type);
}
