//! Every symbol that libpyuring.so exports, and nothing else: plain C types, >= 0 or -errno.
//! Each function is a line or two over the module that does the work.
//! `pyuring/_native.py` binds the same list; a test compares both with the library's symbol table.

const std = @import("std");
const python = @import("python.zig");

/// Raised whenever a symbol or a shared struct changes its meaning.
pub const abi_version: u32 = 1;

export fn pyuring_abi_version() u32 {
    return abi_version;
}

/// With the interpreter lock held: resolves CPython's functions, makes the native types.
/// Returns a new dict, name -> type; null with an exception set on failure.
export fn pyuring_python_types() ?*python.Object {
    python.init() catch return null;
    const types = python.c.PyDict_New() orelse return null;
    return types;
}
