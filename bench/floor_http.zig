//! The HTTP floor's answer: 200 and thirteen bytes of text for every empty line, nothing parsed.
//! Owns how far into an empty line each connection is, and the head with the current second's date.
//! Never looks at a request otherwise: no method, no target, no field, no body.

const std = @import("std");
const engine = @import("pyuring");
const floor = @import("floor.zig");

const head_end = "\r\n\r\n";
const date_zero = "Thu, 01 Jan 1970 00:00:00 GMT";
const before_date = "HTTP/1.1 200 OK\r\nDate: ";
const after_date = "\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 13\r\n\r\nHello, world!";

pub const Hello = struct {
    reply: [before_date.len + date_zero.len + after_date.len]u8 = (before_date ++ date_zero ++ after_date).*,
    second: u64 = 0,
    /// How many bytes of `head_end` each connection's last receive ended with.
    matched: [floor.max_connections]u8 = @splat(0),

    pub fn connected(self: *Hello, connection: *engine.Connection) void {
        self.matched[connection.slot] = 0;
    }

    /// Replies to all requests that end in `data`, in one piece.
    pub fn received(self: *Hello, worker: anytype, connection: *engine.Connection, data: []const u8) void {
        const count = self.count_requests(connection.slot, data);
        if (count == 0) return;
        self.refresh();
        const replies = floor.allocate(count * self.reply.len) orelse return;
        for (0..count) |index| @memcpy(replies[index * self.reply.len ..][0..self.reply.len], &self.reply);
        floor.send(worker, connection, replies);
    }

    fn count_requests(self: *Hello, slot: u32, data: []const u8) usize {
        const matched = &self.matched[slot];
        var rest = data;
        // An empty line that began in an earlier receive is rare: byte by byte.
        while (matched.* > 0 and rest.len > 0) {
            if (rest[0] == head_end[matched.*]) {
                matched.* += 1;
                rest = rest[1..];
            } else {
                matched.* = 0;
            }
            if (matched.* == head_end.len) {
                matched.* = 0;
                return 1 + self.count_requests(slot, rest);
            }
        }
        var count: usize = 0;
        while (std.mem.indexOf(u8, rest, head_end)) |at| : (count += 1) rest = rest[at + head_end.len ..];
        for (1..head_end.len) |len| {
            if (std.mem.endsWith(u8, rest, head_end[0..len])) matched.* = @intCast(len);
        }
        return count;
    }

    /// Writes the date anew when the second has changed.
    fn refresh(self: *Hello) void {
        var now: std.os.linux.timespec = undefined;
        _ = std.os.linux.clock_gettime(.REALTIME_COARSE, &now);
        const second: u64 = @intCast(now.sec);
        if (second == self.second) return;
        self.second = second;
        write_date(self.reply[before_date.len..][0..date_zero.len], second);
    }
};

/// IMF-fixdate (RFC 9110, section 5.6.7).
fn write_date(target: *[date_zero.len]u8, second: u64) void {
    const weekdays = [_][]const u8{ "Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed" };
    const months = [_][]const u8{
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    };
    const seconds = std.time.epoch.EpochSeconds{ .secs = second };
    const day = seconds.getEpochDay();
    const year = day.calculateYearDay();
    const month = year.calculateMonthDay();
    const time = seconds.getDaySeconds();
    _ = std.fmt.bufPrint(target, "{s}, {d:0>2} {s} {d:0>4} {d:0>2}:{d:0>2}:{d:0>2} GMT", .{
        weekdays[day.day % 7],
        month.day_index + 1,
        months[@intFromEnum(month.month) - 1],
        year.year,
        time.getHoursIntoDay(),
        time.getMinutesIntoHour(),
        time.getSecondsIntoMinute(),
    }) catch unreachable;
}
