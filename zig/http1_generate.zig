//! HTTP/1.1, for tests only: requests from a seed, most of them good but for a change or two.
//! Knows how requests are made up, not what becomes of them.

const std = @import("std");

const methods = [_][]const u8{ "GET", "POST", "OPTIONS", "HEAD", "PUT", "CONNECT", "PRI", "x" };
const targets = [_][]const u8{
    "/",        "/a?b=c",   "*",         "http://a/b",  "https://[::1]:8/?x",                        "a:80", "//a",
    "/%41?a?b", "http://a", "/a/../b;c", "http://u@a/", "/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
};
const versions = [_][]const u8{ "HTTP/1.1", "HTTP/1.0", "HTTP/1.2", "HTTP/2.0", "HTTP/0.9", "http/1.1" };
const lines = [_][]const u8{
    "Host: a\r\n",                                                                            "Host: localhost:8000\r\n",        "Host:\r\n",
    "Content-Length: 5\r\n",                                                                  "Content-Length: 0\r\n",           "Content-Length: 5, 5\r\n",
    "Content-Length: +5\r\n",                                                                 "Transfer-Encoding: chunked\r\n",  "Transfer-Encoding: gzip\r\n",
    "Transfer-Encoding:\tchunked\r\n",                                                        "Transfer-Encoding: xchunked\r\n", "Connection: close\r\n",
    "Connection: keep-alive, x\r\n",                                                          "Connection: upgrade\r\n",         "Upgrade: websocket\r\n",
    "Expect: 100-continue\r\n",                                                               "Expect: x\r\n",                   "X: y\r\n",
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:125.0) Gecko/20100101 Firefox/125.0\r\n", "Accept: */*\r\n",                 "Cookie: a=b; c=d\r\n",
    "X-Long-Name-Of-A-Field: \x80\xff\r\n",                                                   " folded\r\n",                     "X : y\r\n",
    ": y\r\n",                                                                                "no colon\r\n",                    "Content_Length: 5\r\n",
    "X:\t y \t\r\n",
};
const tokens = [_][]const u8{
    "\r\n", "\r", "\n",   "\x00", " ",     "\t",            ":",    ",",    ";",       "0",
    "5",    "f",  "0x",   "\x0b", "\x1c",  "\x85",          "\xa0", "\x7f", "chunked", "\r\n\r\n",
    "-",    "_",  "HTTP", "/",    "Host:", "\r\n0\r\n\r\n", "#",    "?",    "[",       "@",
};

/// Writes into a buffer that it never overflows.
pub const Generator = struct {
    random: std.Random,
    buffer: []u8,
    len: usize = 0,

    pub fn request(self: *Generator) []u8 {
        if (self.chance(8)) self.put("\r\n");
        self.put(self.mostly(&methods, 4));
        self.put(" ");
        self.put(self.mostly(&targets, 3));
        self.put(" ");
        self.put(self.mostly(&versions, 8));
        self.put("\r\n");
        if (!self.chance(16)) self.put(lines[self.below(2)]);
        const framing = self.below(4);
        if (framing == 1) self.put("Content-Length: 5\r\n");
        if (framing == 2) self.put("Transfer-Encoding: chunked\r\n");
        for (0..self.below(5)) |_| {
            const harmless = !self.chance(6);
            self.put(if (harmless) lines[11 + self.below(11)] else lines[self.below(lines.len)]);
        }
        self.put("\r\n");
        if (framing == 1) self.put("hello");
        if (framing == 2) self.chunks();
        if (self.chance(4)) self.put("GET / HTTP/1.1\r\n");
        if (self.chance(2)) for (0..1 + self.below(3)) |_| self.mutate();
        return self.buffer[0..self.len];
    }

    fn chunks(self: *Generator) void {
        for (0..self.below(4)) |_| {
            const size = 1 + self.below(40);
            self.format("{x}", size);
            if (self.chance(4)) self.put(";a=\"b\"");
            self.put("\r\n");
            for (0..size) |_| self.put(&.{self.random.int(u8)});
            self.put("\r\n");
        }
        self.put("0\r\n");
        for (0..self.below(3)) |_| if (self.chance(2)) self.put(lines[self.below(lines.len)]);
        self.put("\r\n");
    }

    fn mutate(self: *Generator) void {
        if (self.len == 0) return;
        const at = self.below(self.len);
        switch (self.below(7)) {
            0 => self.buffer[at] = self.random.int(u8),
            1 => self.buffer[at] ^= @as(u8, 1) << self.random.int(u3),
            2 => self.remove(at, 1 + self.below(3)),
            3 => self.insert(at, tokens[self.below(tokens.len)]),
            4 => self.len = at,
            // A line's end, where most of what may go wrong goes wrong.
            5 => if (std.mem.indexOf(u8, self.buffer[at..self.len], "\r\n")) |offset| {
                self.buffer[at + offset + self.below(2)] = "\r\n0 :;"[self.below(6)];
            },
            else => {
                const from = self.below(self.len);
                var copy: [24]u8 = undefined;
                const count = @min(copy.len, self.len - from);
                @memcpy(copy[0..count], self.buffer[from..][0..count]);
                self.insert(at, copy[0..self.below(count + 1)]);
            },
        }
    }

    fn remove(self: *Generator, at: usize, wanted: usize) void {
        const count = @min(wanted, self.len - at);
        std.mem.copyForwards(u8, self.buffer[at..], self.buffer[at + count .. self.len]);
        self.len -= count;
    }

    fn insert(self: *Generator, at: usize, text: []const u8) void {
        if (self.len + text.len > self.buffer.len) return;
        std.mem.copyBackwards(u8, self.buffer[at + text.len ..], self.buffer[at..self.len]);
        @memcpy(self.buffer[at..][0..text.len], text);
        self.len += text.len;
    }

    fn put(self: *Generator, text: []const u8) void {
        if (self.len + text.len > self.buffer.len) return;
        @memcpy(self.buffer[self.len..][0..text.len], text);
        self.len += text.len;
    }

    fn format(self: *Generator, comptime text: []const u8, value: usize) void {
        var digits: [20]u8 = undefined;
        self.put(std.fmt.bufPrint(&digits, text, .{value}) catch unreachable);
    }

    /// One of the first two, or once in `rarely` any.
    fn mostly(self: *Generator, list: []const []const u8, rarely: usize) []const u8 {
        return list[self.below(if (self.chance(rarely)) list.len else 2)];
    }

    fn chance(self: *Generator, one_in: usize) bool {
        return self.below(one_in) == 0;
    }

    fn below(self: *Generator, end: usize) usize {
        return self.random.uintLessThan(usize, end);
    }
};
