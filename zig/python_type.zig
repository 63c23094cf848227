//! Native types from short descriptions: methods, attributes and slots become the tables that
//! CPython wants when the type is made. Owns those tables; they live as long as the process.
//!
//! Why not constant tables: an entry of one costs 32 or 40 bytes, and three times that in relocations
//! (a library is mapped anywhere, so the loader must add its address to every pointer). Here an
//! entry is its text, and two instructions that store its function's address.

const std = @import("std");
const python = @import("python.zig");
const Guard = @import("guard.zig").Guard;

pub const Method = struct {
    name: []const u8,
    /// The parameters behind `self`, as Python would write them: positional only, or with
    /// METH_KEYWORDS by name too.
    parameters: []const u8 = "",
    flags: u8,
    function: *const anyopaque,
    doc: []const u8 = "",

    /// "name(parameters)", a function of as many arguments as come.
    pub fn fast(comptime signature: []const u8, comptime function: python.MethodFast, comptime doc: []const u8) Method {
        return of(signature, python.METH_FASTCALL, function, doc);
    }

    /// "name(parameter)", a function of one argument.
    pub fn one(comptime signature: []const u8, comptime function: python.MethodOneArg, comptime doc: []const u8) Method {
        return of(signature, python.METH_O, function, doc);
    }

    /// "name()", a function of none.
    pub fn none(comptime signature: []const u8, comptime function: python.MethodNoArgs, comptime doc: []const u8) Method {
        return of(signature, python.METH_NOARGS, function, doc);
    }

    fn of(comptime signature: []const u8, flags: u8, function: *const anyopaque, comptime doc: []const u8) Method {
        const opening = std.mem.indexOfScalar(u8, signature, '(').?;
        return .{
            .name = signature[0..opening],
            .parameters = signature[opening + 1 .. signature.len - 1],
            .flags = flags,
            .function = function,
            .doc = doc,
        };
    }
};

pub const Attribute = struct {
    name: []const u8,
    get: python.Getter,
    set: ?python.Setter = null,
    doc: []const u8 = "",
};

/// A type's methods; `table()` is what Py_tp_methods takes.
pub fn Methods(comptime entries: []const Method) type {
    return struct {
        const compact = text: {
            @setEvalBranchQuota(100_000);
            var text: [:0]const u8 = "";
            for (entries) |entry| {
                text = text ++ .{entry.flags} ++ entry.name ++ .{0} ++ entry.parameters ++ .{0} ++ entry.doc ++ .{0};
            }
            break :text text;
        };
        const room = size: {
            var size: usize = 0;
            for (entries) |entry| {
                size += 2 * entry.name.len + entry.parameters.len + entry.doc.len + "\x00($self, , /)\n--\n\n\x00".len;
            }
            break :size size;
        };
        pub var defs: [entries.len + 1]python.MethodDef = undefined;
        var composed: [room]u8 = undefined;

        pub fn table() *[entries.len + 1]python.MethodDef {
            inline for (entries, defs[0..entries.len]) |entry, *def| def.function = entry.function;
            compose(compact, defs[0..entries.len], &composed);
            defs[entries.len] = .{};
            return &defs;
        }
    };
}

/// Writes what CPython reads a name and a signature from: `name`, `name($self, parameters, /)\n--\n\ndoc`.
fn compose(compact: [*:0]const u8, defs: []python.MethodDef, room: []u8) void {
    var reader = Reader{ .rest = compact };
    var writer = Writer{ .rest = room };
    for (defs) |*def| {
        def.flags = reader.byte();
        const name = reader.string();
        const parameters = reader.string();
        const named = def.flags & python.METH_KEYWORDS != 0;
        def.name = writer.here();
        writer.put(name);
        writer.put("\x00");
        def.doc = writer.here();
        writer.put(name);
        writer.put(if (named) "($self, /" else "($self");
        if (parameters.len > 0) writer.put(", ");
        writer.put(parameters);
        writer.put(if (named) ")\n--\n\n" else ", /)\n--\n\n");
        writer.put(reader.string());
        writer.put("\x00");
    }
}

const Reader = struct {
    rest: [*:0]const u8,

    fn byte(self: *Reader) u8 {
        defer self.rest += 1;
        return self.rest[0];
    }

    fn string(self: *Reader) [:0]const u8 {
        const text = std.mem.span(self.rest);
        self.rest += text.len + 1;
        return text;
    }
};

const Writer = struct {
    rest: []u8,

    /// Where the next text will begin; it is ended by a put of a zero byte.
    fn here(self: *Writer) [*:0]const u8 {
        return @ptrCast(self.rest.ptr);
    }

    fn put(self: *Writer, text: []const u8) void {
        @memcpy(self.rest[0..text.len], text);
        self.rest = self.rest[text.len..];
    }
};

/// A type's attributes; `table()` is what Py_tp_getset takes.
pub fn Attributes(comptime entries: []const Attribute) type {
    return struct {
        const texts = text: {
            var text: [:0]const u8 = "";
            for (entries) |entry| text = text ++ entry.name ++ .{0} ++ entry.doc ++ .{0};
            break :text text;
        };
        var defs: [entries.len + 1]python.GetSetDef = undefined;

        pub fn table() *[entries.len + 1]python.GetSetDef {
            inline for (entries, defs[0..entries.len]) |entry, *def| {
                def.get = entry.get;
                def.set = entry.set;
            }
            name_all(texts, defs[0..entries.len]);
            defs[entries.len] = .{};
            return &defs;
        }
    };
}

fn name_all(texts: [*:0]const u8, defs: []python.GetSetDef) void {
    var reader = Reader{ .rest = texts };
    for (defs) |*def| {
        def.name = reader.string().ptr;
        const doc = reader.string();
        def.doc = if (doc.len > 0) doc.ptr else null;
        def.closure = null;
    }
}

/// A new heap type whose instances are a `Body` behind CPython's head; `slots` are pairs of a slot's
/// number and what goes there, `flags` come on top of the default. Null with an exception set.
pub fn make(name: [*:0]const u8, comptime Body: type, flags: c_uint, slots: anytype) ?*python.Object {
    var list: [slots.len + 1]python.TypeSlot = undefined;
    inline for (slots, list[0..slots.len]) |slot, *place| {
        place.* = .{ .slot = slot[0], .function = @ptrCast(slot[1]) };
    }
    list[slots.len] = .{};
    const spec = python.TypeSpec{
        .name = name,
        .basicsize = python.basic_size(Body),
        .flags = python.TPFLAGS_DEFAULT | flags,
        .slots = &list,
    };
    return python.c.PyType_FromSpec(&spec);
}

/// For types whose body is nothing but references (`?*Object`): the garbage collector's questions, the
/// end, and attributes that show one or take another.
pub fn References(comptime Body: type) type {
    const count = @typeInfo(Body).@"struct".fields.len;
    comptime std.debug.assert(@sizeOf(Body) == count * @sizeOf(?*python.Object));
    return struct {
        /// Where no interpreter lock keeps threads apart; one for all instances, since it is held for
        /// a moment.
        pub var guard: Guard = .{};

        fn all(object: *python.Object) *[count]?*python.Object {
            return @ptrCast(python.body(Body, object));
        }

        pub fn traverse(object: *python.Object, visit: python.Visit, argument: ?*anyopaque) callconv(.c) c_int {
            const class = python.c.PyObject_Type(object).?;
            python.decref(class); // the instance has a reference of its own
            const answer = visit(class, argument);
            if (answer != 0) return answer;
            for (all(object)) |held| if (held) |other| {
                const result = visit(other, argument);
                if (result != 0) return result;
            };
            return 0;
        }

        pub fn clear(object: *python.Object) callconv(.c) c_int {
            for (all(object)) |*place| if (place.*) |held| {
                place.* = null;
                python.decref(held);
            };
            return 0;
        }

        pub fn dealloc(object: *python.Object) callconv(.c) void {
            python.c.PyObject_GC_UnTrack(object);
            _ = clear(object);
            python.free_instance(object);
        }

        /// None stands for null.
        pub fn attribute(comptime name: []const u8) Attribute {
            const access = struct {
                fn get(object: *python.Object, _: ?*anyopaque) callconv(.c) ?*python.Object {
                    return guard.show(&@field(python.body(Body, object), name));
                }
                fn set(object: *python.Object, value: ?*python.Object, _: ?*anyopaque) callconv(.c) c_int {
                    const new = if (value == python.none) null else value;
                    if (new) |given| _ = python.incref(given);
                    guard.swap(&@field(python.body(Body, object), name), new);
                    return 0;
                }
            };
            return .{ .name = name, .get = access.get, .set = access.set };
        }
    };
}

fn nothing(_: *python.Object, _: ?*python.Object) callconv(.c) ?*python.Object {
    return null;
}

test "a method's signature and text are what CPython reads" {
    const methods = Methods(&.{
        .none("close()", nothing, "Close it."),
        .{ .name = "read", .parameters = "fd, size=-1", .flags = 0x82, .function = &nothing, .doc = "Read." },
        .one("put(data)", @ptrCast(&nothing), ""),
    });
    const table = methods.table();
    try std.testing.expectEqualStrings("close", std.mem.span(table[0].name.?));
    try std.testing.expectEqualStrings("close($self, /)\n--\n\nClose it.", std.mem.span(table[0].doc.?));
    try std.testing.expectEqualStrings("read($self, /, fd, size=-1)\n--\n\nRead.", std.mem.span(table[1].doc.?));
    try std.testing.expectEqualStrings("put($self, data, /)\n--\n\n", std.mem.span(table[2].doc.?));
    try std.testing.expectEqual(null, table[3].name);
}
