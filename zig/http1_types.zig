//! HTTP/1.1: what the parser's parts share: limits, spans, the parsed head, why a request is refused.
//! Owns no rule of the protocol and never looks at bytes, but to find a field by its name.

const std = @import("std");

/// What a `Head` has room for; `Limits.field_count` is cut to it.
pub const fields_max = 256;

/// Every value is configurable; 0 is not special.
pub const Limits = extern struct {
    /// Bytes of the request line, CRLF not counted -> 414.
    request_line: u32 = 8192,
    /// Bytes of one field line, CRLF not counted -> 431.
    field_line: u32 = 16384,
    /// All that is fed for one head, skipped empty lines and the last CRLF included -> 431, or 414
    /// within the request line. `feed` never asks for more once it has seen this many bytes.
    head: u32 = 65536,
    /// Field lines of one head -> 431.
    field_count: u32 = 100,
    /// All chunk extensions of one body together -> 400.
    chunk_extensions: u32 = 4096,
    /// All trailer lines of one body with their CRLFs -> 431.
    trailers: u32 = 8192,
    /// The largest body, maxInt(u64) for none -> 413; when chunked, as soon as the sum would be larger.
    body: u64 = 0,
};

/// A part of a request: offsets from its first byte as fed, so that its memory may move.
pub const Span = extern struct {
    start: u32 = 0,
    len: u32 = 0,

    pub fn of(self: Span, bytes: []const u8) []const u8 {
        return bytes[self.start..][0..self.len];
    }

    pub fn between(start: usize, end: usize) Span {
        return .{ .start = @intCast(start), .len = @intCast(end - start) };
    }
};

/// One field line; the value is without the white space around it.
pub const Field = extern struct { name: Span, value: Span };

/// How the body's end is known.
pub const Framing = enum(u8) { none, length, chunked };

pub const TargetForm = enum(u8) { origin, absolute, asterisk };

/// One request's head as spans of its bytes. Valid once HeadParser.feed has said `done`.
pub const Head = struct {
    method: Span,
    target: Span,
    /// Path and query of origin and absolute form (never empty: "/" where the URI has none), "*" for
    /// asterisk; the query is without its "?", empty when there is none.
    path: Span,
    query: Span,
    /// The one that holds: absolute-form's wins over Host; empty when there is none.
    authority: Span,
    target_form: TargetForm,
    /// HTTP/1.`minor`: 0 or 1; other 1.x count as 1.
    minor: u8,
    framing: Framing,
    content_length: u64,
    /// The connection may carry another request, by version and Connection.
    keep_alive: bool,
    /// The client waits for "100 Continue" before it sends its body; never in 1.0, nor without a body.
    expect_continue: bool,
    /// Upgrade is there and named in Connection: left to the application. Never in 1.0.
    upgrade: bool,
    field_count: u32,
    /// Only the first `field_count` are defined.
    fields: [fields_max]Field,

    /// Forget everything; `fields` keeps whatever it holds.
    pub fn reset(self: *Head) void {
        self.method = .{};
        self.target = .{};
        self.path = .{};
        self.query = .{};
        self.authority = .{};
        self.target_form = .origin;
        self.minor = 1;
        self.framing = .none;
        self.content_length = 0;
        self.keep_alive = false;
        self.expect_continue = false;
        self.upgrade = false;
        self.field_count = 0;
    }

    /// The first value of a field, whatever the case of its name; `lower_name` is in lower case.
    pub fn find(self: *const Head, bytes: []const u8, lower_name: []const u8) ?[]const u8 {
        for (self.fields[0..self.field_count]) |field| {
            if (field.name.len != lower_name.len) continue;
            if (std.ascii.eqlIgnoreCase(field.name.of(bytes), lower_name)) return field.value.of(bytes);
        }
        return null;
    }

    /// Copy without the fields that are not in use.
    pub fn copy_from(self: *Head, other: *const Head) void {
        inline for (std.meta.fields(Head)) |member| {
            if (comptime std.mem.eql(u8, member.name, "fields")) continue;
            @field(self, member.name) = @field(other, member.name);
        }
        @memcpy(self.fields[0..other.field_count], other.fields[0..other.field_count]);
    }
};

/// Why a request is refused, and with which status.
pub const Failure = struct {
    status: u16,
    reason: Reason,

    pub fn of(reason: Reason) Failure {
        return .{ .status = reason.status(), .reason = reason };
    }
};

/// RFC 9112 and RFC 9110 have the rule behind each; docs/http-differences.md where others differ.
pub const Reason = enum(u8) {
    bare_cr,
    bare_lf,
    control_byte,
    too_many_empty_lines,
    request_line_malformed,
    http_0_9,
    http_2_preface,
    method_invalid,
    version_malformed,
    target_byte,
    target_form,
    space_before_fields,
    obs_fold,
    name_empty,
    name_invalid,
    space_before_colon,
    colon_missing,
    host_missing,
    host_twice,
    host_invalid,
    length_invalid,
    length_twice,
    length_with_coding,
    coding_in_1_0,
    coding_twice,
    coding_invalid,
    chunk_size_invalid,
    chunk_size_too_long,
    chunk_end_missing,
    chunk_extensions_too_long,
    trailer_forbidden,
    body_too_large,
    request_line_too_long,
    expectation_unknown,
    field_line_too_long,
    head_too_large,
    fields_too_many,
    trailers_too_large,
    connect_refused,
    coding_unknown,
    version_unsupported,

    pub fn status(self: Reason) u16 {
        return switch (self) {
            .body_too_large => 413,
            .request_line_too_long => 414,
            .expectation_unknown => 417,
            .field_line_too_long, .head_too_large, .fields_too_many, .trailers_too_large => 431,
            .connect_refused, .coding_unknown => 501,
            .version_unsupported => 505,
            else => 400,
        };
    }

    /// Words for a log or an answer; never a byte of the request.
    pub fn text(self: Reason) [:0]const u8 {
        return switch (self) {
            .bare_cr => "a CR without its LF",
            .bare_lf => "an LF without its CR",
            .control_byte => "a control byte",
            .too_many_empty_lines => "too many empty lines before the request line",
            .request_line_malformed => "the request line is not METHOD TARGET VERSION",
            .http_0_9 => "HTTP/0.9 is not spoken here",
            .http_2_preface => "HTTP/2 is not spoken here",
            .method_invalid => "the method is not a token",
            .version_malformed => "the version is not HTTP/DIGIT.DIGIT",
            .target_byte => "a byte that no request target may have",
            .target_form => "the request target has no form that goes with the method",
            .space_before_fields => "white space before the first field line",
            .obs_fold => "a folded field line",
            .name_empty => "a field line without a name",
            .name_invalid => "a field name that is not a token",
            .space_before_colon => "white space between field name and colon",
            .colon_missing => "a field line without a colon",
            .host_missing => "no Host field",
            .host_twice => "more than one Host field",
            .host_invalid => "Host is not host[:port]",
            .length_invalid => "Content-Length is not a number",
            .length_twice => "more than one Content-Length field",
            .length_with_coding => "both Content-Length and Transfer-Encoding",
            .coding_in_1_0 => "Transfer-Encoding in HTTP/1.0",
            .coding_twice => "more than one Transfer-Encoding field",
            .coding_invalid => "Transfer-Encoding is not `chunked`",
            .chunk_size_invalid => "a chunk size that is not hexadecimal digits",
            .chunk_size_too_long => "a chunk size of more than 16 digits",
            .chunk_end_missing => "no CRLF after a chunk's data",
            .chunk_extensions_too_long => "too many bytes of chunk extensions",
            .trailer_forbidden => "a framing field or Host in the trailers",
            .body_too_large => "the body is too large",
            .request_line_too_long => "the request line is too long",
            .expectation_unknown => "an expectation other than 100-continue",
            .field_line_too_long => "a field line is too long",
            .head_too_large => "the head is too large",
            .fields_too_many => "too many field lines",
            .trailers_too_large => "the trailers are too large",
            .connect_refused => "CONNECT is not served here",
            .coding_unknown => "an unknown transfer coding",
            .version_unsupported => "an HTTP version other than 1.0 and 1.1",
        };
    }
};
