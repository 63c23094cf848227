//! The peer's address as text, asked of the socket: what a request shows of its client.
//! Never kept from accept on: a multishot accept knows no addresses (F60).

const std = @import("std");
const kernel = @import("kernel.zig");
const linux = kernel.linux;
const python = @import("python.zig");
const Object = python.Object;
const c = &python.c;

pub const Name = struct {
    text: [46]u8,
    length: usize,
    port: u16,

    /// False when the socket has no IP peer: a Unix socket, or one that is gone.
    pub fn ask(self: *Name, fd: i32) bool {
        var storage: linux.sockaddr.storage align(8) = undefined;
        var length: u32 = @sizeOf(linux.sockaddr.storage);
        if (kernel.result_of(linux.getpeername(fd, @ptrCast(&storage), &length)) < 0) return false;
        switch (storage.family) {
            linux.AF.INET => {
                const address: *const linux.sockaddr.in = @ptrCast(&storage);
                self.port = std.mem.bigToNative(u16, address.port);
                self.put_ipv4(std.mem.asBytes(&address.addr));
            },
            linux.AF.INET6 => {
                const address: *const linux.sockaddr.in6 = @ptrCast(&storage);
                self.port = std.mem.bigToNative(u16, address.port);
                self.put_ipv6(&address.addr);
            },
            else => return false,
        }
        return true;
    }

    pub fn host(self: *const Name) []const u8 {
        return self.text[0..self.length];
    }

    /// (host, port); null with an exception set.
    pub fn to_tuple(self: *const Name) ?*Object {
        const pair = c.PyTuple_New(2) orelse return null;
        const name = c.PyUnicode_DecodeLatin1(&self.text, @intCast(self.length), null) orelse {
            python.decref(pair);
            return null;
        };
        _ = c.PyTuple_SetItem(pair, 0, name);
        const number = c.PyLong_FromLong(self.port) orelse {
            python.decref(pair);
            return null;
        };
        _ = c.PyTuple_SetItem(pair, 1, number);
        return pair;
    }

    fn put(self: *Name, byte: u8) void {
        self.text[self.length] = byte;
        self.length += 1;
    }

    noinline fn put_number(self: *Name, number: u16, base: u16) void {
        if (number >= base) self.put_number(number / base, base);
        self.put("0123456789abcdef"[number % base]);
    }

    fn put_ipv4(self: *Name, bytes: []const u8) void {
        self.length = 0;
        for (bytes, 0..) |byte, index| {
            if (index > 0) self.put('.');
            self.put_number(byte, 10);
        }
    }

    /// The canonical text of RFC 5952: the longest run of two or more zero groups is left out.
    fn put_ipv6(self: *Name, bytes: *const [16]u8) void {
        self.length = 0;
        if (std.mem.eql(u8, bytes[0..12], "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff")) {
            const rest = bytes[12..16];
            self.put_ipv4(rest); // an IPv4 client on a socket that takes both: its own name
            return;
        }
        var groups: [8]u16 = undefined;
        for (&groups, 0..) |*group, index| group.* = std.mem.readInt(u16, bytes[index * 2 ..][0..2], .big);
        const gap = longest_zeros(&groups);
        var index: usize = 0;
        while (index < 8) {
            if (index == gap.start and gap.count > 1) {
                self.put(':');
                self.put(':');
                index += gap.count;
                continue;
            }
            if (index > 0 and !(gap.count > 1 and index == gap.start + gap.count)) self.put(':');
            self.put_number(groups[index], 16);
            index += 1;
        }
    }
};

const Run = struct { start: usize, count: usize };

fn longest_zeros(groups: *const [8]u16) Run {
    var best = Run{ .start = 8, .count = 0 };
    var start: usize = 0;
    while (start < 8) : (start += 1) {
        var count: usize = 0;
        while (start + count < 8 and groups[start + count] == 0) count += 1;
        if (count > best.count) best = .{ .start = start, .count = count };
        if (count > 0) start += count - 1;
    }
    return best;
}

test "addresses are written in their canonical form" {
    var name: Name = undefined;
    name.put_ipv4(&.{ 127, 0, 0, 1 });
    try std.testing.expectEqualStrings("127.0.0.1", name.host());
    const cases = [_]struct { [16]u8, []const u8 }{
        .{ @splat(0), "::" },
        .{ .{ 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1 }, "::1" },
        .{ .{ 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }, "2001:db8::" },
        .{ .{ 0x20, 1, 0xd, 0xb8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xff, 1 }, "2001:db8:0:1::ff01" },
        .{ .{ 0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0, 7, 0, 0 }, "1:2:3:4:5:6:7:0" },
        .{ .{ 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 9 }, "10.0.0.9" },
    };
    for (cases) |case| {
        name.put_ipv6(&case[0]);
        try std.testing.expectEqualStrings(case[1], name.host());
    }
}
