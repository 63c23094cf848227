//! The front of every Python object: how many references there are to it, and its type.
//! Owns what is known of that layout, and believes it only where objects bear it out.
//!
//! Both words are PyObject's members in the stable ABI's list, and an extension made for the limited
//! API of 3.10 reads them in place: Py_REFCNT and Py_TYPE became functions in 3.14. A free-threaded
//! build has another head, and counts references in two parts; there nothing is read.

const Head = extern struct { references: isize, class: *anyopaque };

/// Whether objects begin with a `Head`.
pub var known = false;

/// Looks at an object with one reference, and at one of another type.
pub fn check(samples: [2]*const anyopaque, classes: [2]*const anyopaque) void {
    known = head_of(samples[0]).references == 1;
    for (samples, classes) |sample, class| known = known and head_of(sample).class == class;
}

fn head_of(object: *const anyopaque) *const volatile Head {
    return @ptrCast(@alignCast(object));
}

/// The object's type, a borrowed pointer to compare; null where heads are not known.
pub inline fn class_of(object: *const anyopaque) ?*anyopaque {
    return if (known) head_of(object).class else null;
}

/// Whether the caller's reference is the only one: nobody else can reach the object, but through
/// weak references and the collector. False where heads are not known.
pub inline fn has_one_reference(object: *const anyopaque) bool {
    return known and head_of(object).references == 1;
}

test "a head is believed when both samples bear it out" {
    const testing = @import("std").testing;
    var classes = [2]u64{ 0, 0 };
    const one = Head{ .references = 1, .class = &classes[0] };
    const two = Head{ .references = 7, .class = &classes[1] };
    defer known = false;
    check(.{ &one, &two }, .{ &classes[0], &classes[1] });
    try testing.expect(has_one_reference(&one) and !has_one_reference(&two));
    try testing.expectEqual(@as(?*anyopaque, &classes[1]), class_of(&two));
    check(.{ &one, &two }, .{ &classes[0], &classes[0] });
    try testing.expect(!has_one_reference(&one) and class_of(&one) == null);
    check(.{ &two, &one }, .{ &classes[1], &classes[0] });
    try testing.expect(!known);
}
