//! The CPython functions we call, resolved when the library is loaded, and small helpers.
//! Owns no object. Only the stable ABI, or functions exported by every CPython from 3.10 to 3.14,
//! free-threaded builds included: no macro, no private name, no object's inner layout.
//!
//! Every symbol is weak: the library also loads where no interpreter is (the Zig tests, nm, ldd).
//! `init` checks once that all are there; after that `c.X()` calls through a plain pointer.

const std = @import("std");
const python_head = @import("python_head.zig");

pub const Object = opaque {};
pub const Ssize = isize;

pub const MethodFast = *const fn (*Object, [*]const *Object, Ssize) callconv(.c) ?*Object;
pub const MethodNoArgs = *const fn (*Object, ?*Object) callconv(.c) ?*Object;
pub const MethodOneArg = *const fn (*Object, *Object) callconv(.c) ?*Object;
pub const Getter = *const fn (*Object, ?*anyopaque) callconv(.c) ?*Object;
pub const Visit = *const fn (*Object, ?*anyopaque) callconv(.c) c_int;
pub const Setter = *const fn (*Object, ?*Object, ?*anyopaque) callconv(.c) c_int;

/// PyMethodDef, PyGetSetDef, PyType_Slot, PyType_Spec: "full ABI" in the stable ABI's list
/// (docs.python.org/3/c-api/stable.html).
pub const MethodDef = extern struct {
    name: ?[*:0]const u8 = null,
    function: ?*const anyopaque = null,
    flags: c_int = 0,
    doc: ?[*:0]const u8 = null,
};

pub const GetSetDef = extern struct {
    name: ?[*:0]const u8 = null,
    get: ?Getter = null,
    set: ?Setter = null,
    doc: ?[*:0]const u8 = null,
    closure: ?*anyopaque = null,
};

pub const TypeSlot = extern struct { slot: c_int = 0, function: ?*const anyopaque = null };

pub const TypeSpec = extern struct {
    name: [*:0]const u8,
    basicsize: c_int,
    itemsize: c_int = 0,
    flags: c_uint,
    slots: [*]const TypeSlot,
};

/// Py_buffer: part of the stable ABI since 3.11 and the same in 3.10 (object.h, buffer protocol).
pub const Buffer = extern struct {
    buf: ?[*]u8 = null,
    obj: ?*Object = null,
    len: Ssize = 0,
    itemsize: Ssize = 0,
    readonly: c_int = 0,
    ndim: c_int = 0,
    format: ?[*:0]u8 = null,
    shape: ?*Ssize = null,
    strides: ?*Ssize = null,
    suboffsets: ?*Ssize = null,
    internal: ?*anyopaque = null,
};

pub const METH_VARARGS = 0x0001;
pub const METH_NOARGS = 0x0004;
pub const METH_O = 0x0008;
pub const METH_CLASS = 0x0010;
pub const METH_STATIC = 0x0020;
pub const METH_FASTCALL = 0x0080;
pub const METH_KEYWORDS = 0x0002;

pub const TPFLAGS_DISALLOW_INSTANTIATION = 1 << 7; // since 3.10
pub const TPFLAGS_BASETYPE = 1 << 10;
pub const TPFLAGS_DEFAULT = 1 << 18;
pub const TPFLAGS_HAVE_GC = 1 << 14;

/// PY_VECTORCALL_ARGUMENTS_OFFSET: the callee may use the entry before the arguments.
pub const arguments_offset: usize = 1 << (@bitSizeOf(usize) - 1);

pub const PyBUF_SIMPLE = 0;
pub const PyBUF_WRITABLE = 1;

/// Slot numbers (typeslots.h), fixed by the stable ABI.
pub const Py_bf_getbuffer = 1;
pub const Py_bf_releasebuffer = 2;
pub const Py_mp_length = 4;
pub const Py_sq_length = 45;
pub const Py_sq_item = 44;
pub const Py_tp_alloc = 47;
pub const Py_tp_dealloc = 52;
pub const Py_tp_doc = 56;
pub const Py_tp_iter = 62;
pub const Py_tp_iternext = 63;
pub const Py_tp_methods = 64;
pub const Py_tp_new = 65;
pub const Py_tp_repr = 66;
pub const Py_tp_traverse = 71;
pub const Py_tp_call = 50;
pub const Py_tp_clear = 51;
pub const Py_tp_getset = 73;
pub const Py_tp_free = 74;
pub const Py_tp_hash = 59;
pub const Py_EQ = 2;

/// One field a function; its name is the symbol's.
const Functions = struct {
    Py_IncRef: *const fn (?*Object) callconv(.c) void,
    Py_DecRef: *const fn (?*Object) callconv(.c) void,
    PyErr_Occurred: *const fn () callconv(.c) ?*Object,
    PyErr_Clear: *const fn () callconv(.c) void,
    PyErr_CheckSignals: *const fn () callconv(.c) c_int,
    PyErr_SetString: *const fn (*Object, [*:0]const u8) callconv(.c) void,
    PyErr_SetObject: *const fn (*Object, *Object) callconv(.c) void,
    PyErr_Format: *const fn (*Object, [*:0]const u8, ...) callconv(.c) ?*Object,
    PyErr_NoMemory: *const fn () callconv(.c) ?*Object,
    PyErr_Fetch: *const fn (*?*Object, *?*Object, *?*Object) callconv(.c) void,
    PyErr_NormalizeException: *const fn (*?*Object, *?*Object, *?*Object) callconv(.c) void,
    PyErr_WriteUnraisable: *const fn (?*Object) callconv(.c) void,
    PyException_SetTraceback: *const fn (*Object, *Object) callconv(.c) c_int,
    PyEval_SaveThread: *const fn () callconv(.c) ?*anyopaque,
    PyEval_RestoreThread: *const fn (?*anyopaque) callconv(.c) void,
    PyBytes_FromStringAndSize: *const fn (?[*]const u8, Ssize) callconv(.c) ?*Object,
    _PyBytes_Resize: *const fn (*?*Object, Ssize) callconv(.c) c_int, // documented, whatever its name
    PyBytes_AsStringAndSize: *const fn (*Object, *[*]u8, ?*Ssize) callconv(.c) c_int,
    PyObject_CheckBuffer: *const fn (*Object) callconv(.c) c_int,
    PyIndex_Check: *const fn (*Object) callconv(.c) c_int,
    PyObject_GetBuffer: *const fn (*Object, *Buffer, c_int) callconv(.c) c_int,
    PyBuffer_Release: *const fn (*Buffer) callconv(.c) void,
    PyBuffer_FillInfo: *const fn (*Buffer, ?*Object, ?*anyopaque, Ssize, c_int, c_int) callconv(.c) c_int,
    PyMemoryView_FromObject: *const fn (*Object) callconv(.c) ?*Object,
    PyLong_FromLong: *const fn (c_long) callconv(.c) ?*Object,
    PyLong_FromLongLong: *const fn (c_longlong) callconv(.c) ?*Object,
    PyLong_FromUnsignedLongLong: *const fn (c_ulonglong) callconv(.c) ?*Object,
    PyLong_AsLong: *const fn (*Object) callconv(.c) c_long,
    PyLong_AsLongLong: *const fn (*Object) callconv(.c) c_longlong,
    PyLong_AsUnsignedLongLong: *const fn (*Object) callconv(.c) c_ulonglong,
    PyLong_AsUnsignedLongLongMask: *const fn (*Object) callconv(.c) c_ulonglong,
    PyNumber_Index: *const fn (*Object) callconv(.c) ?*Object,
    PyBool_FromLong: *const fn (c_long) callconv(.c) ?*Object,
    PyUnicode_FromString: *const fn ([*:0]const u8) callconv(.c) ?*Object,
    PyUnicode_AsUTF8AndSize: *const fn (*Object, *Ssize) callconv(.c) ?[*]const u8,
    PyUnicode_AsLatin1String: *const fn (*Object) callconv(.c) ?*Object,
    PyUnicode_DecodeLatin1: *const fn ([*]const u8, Ssize, ?[*:0]const u8) callconv(.c) ?*Object,
    PyUnicode_DecodeUTF8: *const fn ([*]const u8, Ssize, ?[*:0]const u8) callconv(.c) ?*Object,
    PyUnicode_InternFromString: *const fn ([*:0]const u8) callconv(.c) ?*Object,
    PyUnicode_FromFormat: *const fn ([*:0]const u8, ...) callconv(.c) ?*Object,
    PyObject_GetAttrString: *const fn (*Object, [*:0]const u8) callconv(.c) ?*Object,
    PyObject_GetAttr: *const fn (*Object, *Object) callconv(.c) ?*Object,
    PyObject_HasAttrString: *const fn (*Object, [*:0]const u8) callconv(.c) c_int,
    PyObject_IsTrue: *const fn (*Object) callconv(.c) c_int,
    PyType_IsSubtype: *const fn (*Object, *Object) callconv(.c) c_int,
    PyObject_Type: *const fn (*Object) callconv(.c) ?*Object,
    PyObject_CallNoArgs: *const fn (*Object) callconv(.c) ?*Object,
    PyObject_CallFunctionObjArgs: *const fn (*Object, ...) callconv(.c) ?*Object,
    PyObject_VectorcallDict: *const fn (*Object, [*]const *Object, usize, ?*Object) callconv(.c) ?*Object,
    PyObject_VectorcallMethod: *const fn (*Object, [*]const *Object, usize, ?*Object) callconv(.c) ?*Object,
    PyMem_Malloc: *const fn (usize) callconv(.c) ?*anyopaque,
    PyMem_Realloc: *const fn (?*anyopaque, usize) callconv(.c) ?*anyopaque,
    PyMem_Free: *const fn (?*anyopaque) callconv(.c) void,
    PyThread_get_thread_ident: *const fn () callconv(.c) c_ulong,
    PyUnicode_FSConverter: *const fn (*Object, *?*Object) callconv(.c) c_int,
    PyUnicode_CompareWithASCIIString: *const fn (*Object, [*:0]const u8) callconv(.c) c_int,
    PyObject_AsFileDescriptor: *const fn (*Object) callconv(.c) c_int,
    PyObject_RichCompareBool: *const fn (*Object, *Object, c_int) callconv(.c) c_int,
    PyFloat_AsDouble: *const fn (*Object) callconv(.c) f64,
    PyImport_ImportModule: *const fn ([*:0]const u8) callconv(.c) ?*Object,
    PyType_FromSpec: *const fn (*const TypeSpec) callconv(.c) ?*Object,
    PyType_GenericAlloc: *const fn (*Object, Ssize) callconv(.c) ?*Object,
    PyType_GetSlot: *const fn (*Object, c_int) callconv(.c) ?*anyopaque,
    PyCFunction_GetFunction: *const fn (*Object) callconv(.c) ?*const anyopaque,
    PyCFunction_GetSelf: *const fn (*Object) callconv(.c) ?*Object,
    PyCFunction_NewEx: *const fn (*const MethodDef, *Object, ?*Object) callconv(.c) ?*Object,
    PyObject_GC_UnTrack: *const fn (*Object) callconv(.c) void,
    PyObject_Call: *const fn (*Object, *Object, ?*Object) callconv(.c) ?*Object,
    PyObject_IsSubclass: *const fn (*Object, *Object) callconv(.c) c_int,
    PySet_New: *const fn (?*Object) callconv(.c) ?*Object,
    PySet_Contains: *const fn (*Object, *Object) callconv(.c) c_int,
    PyDict_Copy: *const fn (*Object) callconv(.c) ?*Object,
    PyDict_GetItemWithError: *const fn (*Object, *Object) callconv(.c) ?*Object,
    PyDict_New: *const fn () callconv(.c) ?*Object,
    PyDict_SetDefault: *const fn (*Object, *Object, *Object) callconv(.c) ?*Object,
    PyDict_SetItem: *const fn (*Object, *Object, *Object) callconv(.c) c_int,
    PyDict_Size: *const fn (*Object) callconv(.c) Ssize,
    PyDict_SetItemString: *const fn (*Object, [*:0]const u8, *Object) callconv(.c) c_int,
    PyList_New: *const fn (Ssize) callconv(.c) ?*Object,
    PyList_SetItem: *const fn (*Object, Ssize, *Object) callconv(.c) c_int,
    PyList_GetItem: *const fn (*Object, Ssize) callconv(.c) ?*Object,
    PyList_Append: *const fn (*Object, *Object) callconv(.c) c_int,
    PyList_Size: *const fn (*Object) callconv(.c) Ssize,
    PyTuple_New: *const fn (Ssize) callconv(.c) ?*Object,
    PyTuple_SetItem: *const fn (*Object, Ssize, *Object) callconv(.c) c_int,
    PyTuple_GetItem: *const fn (*Object, Ssize) callconv(.c) ?*Object,
    PyTuple_Size: *const fn (*Object) callconv(.c) Ssize,
    PySequence_Tuple: *const fn (*Object) callconv(.c) ?*Object,
    PySequence_List: *const fn (*Object) callconv(.c) ?*Object,
};

/// Global objects of the interpreter: pointers to variables that hold an object.
const Exceptions = struct {
    PyExc_Exception: *const *Object,
    PyExc_KeyboardInterrupt: *const *Object,
    PyExc_SystemExit: *const *Object,
    PyExc_TypeError: *const *Object,
    PyExc_ValueError: *const *Object,
    PyExc_TimeoutError: *const *Object,
    PyExc_IndexError: *const *Object,
    PyExc_OverflowError: *const *Object,
    PyExc_RuntimeError: *const *Object,
    PyExc_OSError: *const *Object,
    PyExc_BufferError: *const *Object,
    PyExc_MemoryError: *const *Object,
    PyExc_ConnectionError: *const *Object,
    PyExc_ConnectionResetError: *const *Object,
};

pub var c: Functions = undefined;
pub var exc: Exceptions = undefined;

/// The singleton None, resolved at `init`.
pub var none: *Object = undefined;

/// Types that results are told apart by.
pub var types: struct { str: *Object, bytes: *Object, tuple: *Object, list: *Object } = undefined;

/// Bytes at the front of every object: 16, or 32 in a free-threaded build. Read from
/// `object.__basicsize__`, so that no layout is assumed.
pub var head_size: usize = 0;

/// Whether several threads may run Python code at once. Such a build's objects have a larger head.
pub fn free_threaded() bool {
    return head_size > 16;
}

pub const InitError = error{ SymbolMissing, PythonRaised };

/// Resolves every function. Called once with the interpreter lock held; idempotent.
pub fn init() InitError!void {
    if (head_size != 0) return;
    if (!fill(&c) or !fill(&exc)) return error.SymbolMissing;
    none = find(*Object, "_Py_NoneStruct") orelse return error.SymbolMissing;
    inline for (.{ .{ "str", "PyUnicode_Type" }, .{ "bytes", "PyBytes_Type" }, .{ "tuple", "PyTuple_Type" }, .{ "list", "PyList_Type" } }) |pair|
        @field(types, pair[0]) = find(*Object, pair[1]) orelse return error.SymbolMissing;
    const object_type = find(*Object, "PyBaseObject_Type") orelse return error.SymbolMissing;
    const size = c.PyObject_GetAttrString(object_type, "__basicsize__") orelse return error.PythonRaised;
    defer c.Py_DecRef(size);
    const bytes = c.PyLong_AsLong(size);
    if (bytes <= 0) return error.PythonRaised;
    try check_head(@intCast(bytes));
    head_size = @intCast(bytes);
}

fn check_head(size: usize) InitError!void {
    if (size != 2 * @sizeOf(usize)) return;
    const list = c.PyList_New(0) orelse return error.PythonRaised;
    defer c.Py_DecRef(list);
    const class = c.PyObject_Type(types.str).?; // type itself, which lives for ever
    c.Py_DecRef(class);
    python_head.check(.{ list, types.str }, .{ types.list, class });
}

/// Fills a table of pointers by their fields' names; false when one is missing. Looked at afterwards
/// in a loop, through a volatile pointer: see `find`.
fn fill(table: anytype) bool {
    const Table = @TypeOf(table.*);
    inline for (@typeInfo(Table).@"struct".fields) |field| {
        const place: *?field.type = @ptrCast(&@field(table, field.name));
        place.* = @extern(?field.type, .{ .name = field.name, .linkage = .weak });
    }
    const words: *volatile [@sizeOf(Table) / @sizeOf(usize)]usize = @ptrCast(table);
    for (0..words.len) |index| if (words[index] == 0) return false;
    return true;
}

/// What this process exports under `name`, or null. Read back through a volatile pointer, because
/// the compiler (0.16) takes the address of an external symbol for non-null, a weak one's as well,
/// and drops the check.
pub fn find(comptime T: type, comptime name: []const u8) ?T {
    var found: ?T = @extern(?T, .{ .name = name, .linkage = .weak });
    return @as(*volatile ?T, &found).*;
}

test "a process without an interpreter is told apart" {
    try std.testing.expectError(error.SymbolMissing, init());
}

/// The part of one of our own objects behind CPython's head.
pub fn body(comptime T: type, object: *Object) *T {
    return @ptrFromInt(@intFromPtr(object) + head_size);
}

/// The object's size for a TypeSpec whose body is a `T`.
pub fn basic_size(comptime T: type) c_int {
    comptime std.debug.assert(@alignOf(T) <= 16);
    return @intCast(head_size + @sizeOf(T));
}

pub fn incref(object: *Object) *Object {
    c.Py_IncRef(object);
    return object;
}

pub fn decref(object: *Object) void {
    c.Py_DecRef(object);
}

/// A new reference to None, as a method returns it.
pub fn return_none() *Object {
    return incref(none);
}

/// Frees one of our own objects at the end of its tp_dealloc: a heap type's instance owns a
/// reference to its type (since 3.8).
pub fn free_instance(object: *Object) void {
    const object_type = class_of(object);
    const free: *const fn (?*anyopaque) callconv(.c) void =
        @ptrCast(@alignCast(c.PyType_GetSlot(object_type, Py_tp_free).?));
    free(object);
    decref(object_type); // the instance's own
}

/// Bytes that a Python object shows, and what keeps them alive.
pub fn bytes_view(object: *Object) ?[]const u8 {
    var pointer: [*]u8 = undefined;
    var length: Ssize = 0;
    if (c.PyBytes_AsStringAndSize(object, &pointer, &length) != 0) {
        c.PyErr_Clear();
        return null;
    }
    return pointer[0..@intCast(length)];
}

/// The UTF-8 bytes of a str, kept alive by it; null with TypeError set for anything else.
pub fn text_view(object: *Object) ?[]const u8 {
    var length: Ssize = 0;
    const pointer = c.PyUnicode_AsUTF8AndSize(object, &length) orelse return null;
    return pointer[0..@intCast(length)];
}

/// Whether it is of this type, or of one derived from it. Unlike isinstance(), asks the object nothing:
/// what claims another class (`__class__`, as mocks do) does not have that class's memory.
pub fn is_kind(object: *Object, wanted: *Object) bool {
    if (is_exactly(object, wanted)) return true;
    const class = c.PyObject_Type(object).?;
    defer decref(class);
    return c.PyType_IsSubtype(class, wanted) != 0;
}

/// Whether the caller's reference is the only one; never on a free-threaded build. The collector can
/// still find the object, and so can a weak reference, if its type has those.
pub fn is_unshared(object: *Object) bool {
    return python_head.has_one_reference(object);
}

/// bool(object).
pub fn truth(object: *Object) error{PythonRaised}!bool {
    const answer = c.PyObject_IsTrue(object);
    return if (answer < 0) error.PythonRaised else answer == 1;
}

/// Whether it is of this very type, and nothing derived from it.
pub fn is_exactly(object: *Object, wanted: *Object) bool {
    return class_of(object) == wanted;
}

/// The object's type, to be compared with others: no reference of its own.
pub fn class_of(object: *Object) *Object {
    if (python_head.class_of(object)) |class| return @ptrCast(class);
    const class = c.PyObject_Type(object).?;
    decref(class); // the object has one
    return class;
}

/// Bytes that nobody can change: the object itself, or a copy of what it shows. New reference.
pub fn frozen(data: *Object) ?*Object {
    if (bytes_view(data) != null) return incref(data);
    var view = Buffer{};
    if (c.PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) != 0) return null;
    defer c.PyBuffer_Release(&view);
    return c.PyBytes_FromStringAndSize(view.buf, view.len);
}

/// Raises OSError(errno, message): Python itself picks the subclass by errno.
pub fn raise_errno(errno: u32, message: [*:0]const u8) void {
    const number = c.PyLong_FromLong(@intCast(errno)) orelse return;
    defer decref(number);
    const text = c.PyUnicode_FromString(message) orelse return;
    defer decref(text);
    const error_object = c.PyObject_CallFunctionObjArgs(
        exc.PyExc_OSError.*,
        number,
        text,
        @as(?*Object, null),
    ) orelse return;
    defer decref(error_object);
    c.PyErr_SetObject(exc.PyExc_OSError.*, error_object);
}
