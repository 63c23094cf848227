//! Builds the shared library `libpyuring.so` and runs its tests.
//!
//!   zig build                 the library, into zig-out/lib
//!   zig build -Dpoison=true   the library whose freed memory nobody may touch, for tests
//!   zig build -Dstrip=false   the library with names and lines, for perf and valgrind
//!   zig build test            every Zig test, the simulator's smoke seeds included
//!   zig build simulate -- SEED COUNT    that many runs of the simulator
//!   zig build fuzz-http1 -- SECONDS SEED    the HTTP parser on generated requests
//!   zig build http1-check     the program by which Python tests ask the HTTP parser
//!   zig build bench           bench/*.zig, into zig-out/bin
//!   zig build fmt             fails when a source file is not formatted
//!
//! Always pass -Dtarget (x86_64-linux-gnu.2.17, aarch64-linux-gnu.2.17): without it the
//! library would use instructions that only the building machine may have.

const std = @import("std");

pub fn build(b: *std.Build) void {
    const target = b.standardTargetOptions(.{});
    const optimize = b.standardOptimizeOption(.{});
    const poison = b.option(bool, "poison", "Forbid memory once it is freed (tests)") orelse false;

    const strip = b.option(bool, "strip", "Leave names and lines out") orelse (optimize != .Debug);

    const library = b.addLibrary(.{
        .name = "pyuring",
        .linkage = .dynamic,
        .root_module = b.createModule(.{
            .root_source_file = b.path(if (poison) "zig/root_poison.zig" else "zig/root.zig"),
            .target = target,
            .optimize = optimize,
            .strip = strip,
            .unwind_tables = .none,
            .omit_frame_pointer = optimize != .Debug,
        }),
    });
    b.installArtifact(library);

    add_tests(b, optimize);
    add_simulate(b);
    add_http1(b);
    add_bench(b, target);

    const format = b.addFmt(.{ .paths = &.{ "build.zig", "zig", "bench" }, .check = true });
    b.step("fmt", "Fail when a source file is not formatted").dependOn(&format.step);
}

/// Tests run on the building machine, in whatever mode was asked for.
fn add_tests(b: *std.Build, optimize: std.builtin.OptimizeMode) void {
    const tests = b.addTest(.{
        .root_module = b.createModule(.{
            .root_source_file = b.path("zig/root.zig"),
            .target = b.graph.host,
            .optimize = optimize,
        }),
        .use_llvm = true,
        .filters = b.option([]const []const u8, "filter", "Run the tests whose name has this") orelse &.{},
    });
    const run = b.addRunArtifact(tests);
    run.has_side_effects = true;
    b.step("test", "Run the Zig tests").dependOn(&run.step);
}

/// The simulator for long runs: without optimisation it is ten times slower.
fn add_simulate(b: *std.Build) void {
    const program = b.addExecutable(.{
        .name = "simulate",
        .root_module = b.createModule(.{
            .root_source_file = b.path("zig/simulate.zig"),
            .target = b.graph.host,
            .optimize = .ReleaseSafe,
        }),
    });
    const run = b.addRunArtifact(program);
    if (b.args) |args| run.addArgs(args);
    b.step("simulate", "Run seeds of the simulator: -- SEED COUNT").dependOn(&run.step);
}

/// Programs around the HTTP parser, for tests: safe, since they look for what assertions find.
fn add_http1(b: *std.Build) void {
    const check = add_program(b, "http1_check");
    const install = b.addInstallArtifact(check, .{});
    b.step("http1-check", "Build the HTTP parser's check program").dependOn(&install.step);

    const run = b.addRunArtifact(add_program(b, "http1_fuzz"));
    if (b.args) |args| run.addArgs(args);
    b.step("fuzz-http1", "Fuzz the HTTP parser: -- SECONDS SEED").dependOn(&run.step);
}

fn add_program(b: *std.Build, comptime name: []const u8) *std.Build.Step.Compile {
    return b.addExecutable(.{
        .name = name,
        .root_module = b.createModule(.{
            .root_source_file = b.path("zig/" ++ name ++ ".zig"),
            .target = b.graph.host,
            .optimize = .ReleaseSafe,
        }),
    });
}

/// The benchmark's native programs import the library's modules as `pyuring`.
fn add_bench(b: *std.Build, target: std.Build.ResolvedTarget) void {
    const step = b.step("bench", "Build the benchmark programs");
    const engine = b.createModule(.{
        .root_source_file = b.path("zig/engine.zig"),
        .target = target,
        .optimize = .ReleaseSafe,
    });
    const http1 = b.createModule(.{
        .root_source_file = b.path("zig/http1.zig"),
        .target = target,
        .optimize = .ReleaseSafe,
    });
    inline for (.{ "floor", "load", "epoll_echo", "parse" }) |name| {
        const path = "bench/" ++ name ++ ".zig";
        const program = b.addExecutable(.{
            .name = name,
            .root_module = b.createModule(.{
                .root_source_file = b.path(path),
                .target = target,
                .optimize = .ReleaseFast,
                .imports = &.{
                    .{ .name = "pyuring", .module = engine },
                    .{ .name = "http1", .module = http1 },
                },
            }),
        });
        step.dependOn(&b.addInstallArtifact(program, .{}).step);
    }
}
