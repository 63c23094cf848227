"""Which files the house rules speak about, and how a file's name becomes a module's.

It owns the walk over the tree and the list of what lies outside it (build output, caches);
it knows no rule.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

SKIPPED_DIRECTORIES = {
    ".git", ".nox", ".venv", ".zig-cache", ".hypothesis", ".mypy_cache", ".pytest_cache",
    ".ruff_cache", "__pycache__", "build", "dist", "node_modules", "zig-out", "zig-pkg",
}  # fmt: skip
TEXT_SUFFIXES = {".py", ".zig", ".zon", ".md", ".toml", ".txt", ".cfg", ".yml", ".yaml", ".sh", ""}


def walk(root: Path) -> Iterator[Path]:
    """Yield every file of ours below `root`, in a stable order."""
    for directory, names, files in os.walk(root):
        names[:] = sorted(
            n
            for n in names
            if n not in SKIPPED_DIRECTORIES and not n.startswith((".venv", ".cache"))
        )
        for name in sorted(files):
            yield Path(directory, name)


def sources(root: Path, suffix: str, *tops: str) -> Iterator[Path]:
    """Yield the files that end in `suffix` below the directories `tops` of `root`."""
    for top in tops:
        yield from (path for path in walk(root / top) if path.suffix == suffix)


def texts(root: Path) -> Iterator[tuple[str, str]]:
    """Yield the name and the text of every file that people read."""
    for path in walk(root):
        if path.suffix not in TEXT_SUFFIXES:
            continue
        try:
            yield name_of(root, path), path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # a binary without a suffix


def name_of(root: Path, path: Path) -> str:
    """Return the path below `root` with slashes."""
    return path.relative_to(root).as_posix()


def module_of(top: Path, path: Path) -> str:
    """Return `ring` for top/ring.py, `testing/fake_ring` for top/testing/fake_ring.zig."""
    return path.relative_to(top).with_suffix("").as_posix()
