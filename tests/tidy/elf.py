"""What a shared library says about itself: its symbols, its needs, its machine.

Reads the file with pyelftools; never loads it, so that a library for another architecture
can be looked at as well.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

MACHINES = {"EM_X86_64": "x86_64", "EM_AARCH64": "aarch64"}

# Found in the process under every libc (glibc 2.17, musl), without a NEEDED entry of ours.
FROM_LIBC = {
    "getauxval",  # Zig's std finds the kernel's clock with it
    "__tls_get_addr",  # threadlocal variables of a loaded library
    "strerror",  # the words of an OSError
}


@dataclass
class Library:
    """The facts that the house rules ask about."""

    machine: str
    size: int
    needed: list[str] = field(default_factory=list)
    exported: set[str] = field(default_factory=set)
    required: set[str] = field(default_factory=set)
    optional: set[str] = field(default_factory=set)
    stripped: bool = True


def read_library(path: Path) -> Library:
    """Read the dynamic section and the symbol table of `path`."""
    with path.open("rb") as file:
        elf = ELFFile(file)
        machine = elf.header["e_machine"]
        library = Library(MACHINES.get(machine, machine), path.stat().st_size)
        for section in elf.iter_sections():
            if isinstance(section, DynamicSection):
                library.needed += [
                    str(getattr(t, "needed", "")) for t in section.iter_tags("DT_NEEDED")
                ]
            if section.name == ".dynsym" and isinstance(section, SymbolTableSection):
                _sort_symbols(section, library)
            if section.name == ".symtab" or section.name.startswith(".debug"):
                library.stripped = False
    return library


def _sort_symbols(section: SymbolTableSection, library: Library) -> None:
    for symbol in section.iter_symbols():
        bind = symbol["st_info"]["bind"]
        if not symbol.name or bind == "STB_LOCAL":
            continue
        if symbol["st_shndx"] != "SHN_UNDEF":
            library.exported.add(symbol.name)
        elif bind == "STB_WEAK":
            library.optional.add(symbol.name)
        else:
            library.required.add(symbol.name)


def check_library(library: Library, size_cap: int = 300_000) -> list[str]:
    """The library is small and stripped and needs nothing that must be there."""
    problems = []
    if library.needed:
        problems.append(f"needs {', '.join(library.needed)}; it must load under any libc")
    missing = sorted(library.required - FROM_LIBC)
    if missing:
        problems.append(f"has symbols that must be resolved: {', '.join(missing)}")
    unknown = library.optional - FROM_LIBC
    strange = sorted(name for name in unknown if not name.startswith(("Py", "_Py")))
    if strange:
        problems.append(f"asks for symbols that CPython does not export: {', '.join(strange)}")
    if library.size >= size_cap:
        problems.append(f"is {library.size} bytes, the cap is {size_cap}")
    if not library.stripped:
        problems.append("is not stripped")
    return problems
