"""Finds Debian's kernels, downloads and unpacks them, by this machine's own apt.

Where the archive is comes from this machine's configuration, when asked; here are only names of
suites and series. apt works in a directory of its own: nothing of the machine's is changed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Archive", "Kernel", "UnavailableError", "Wanted"]

SUITES = (
    "buster",
    "bullseye",
    "bookworm",
    "bookworm-backports",
    "trixie",
    "trixie-backports",
    "sid",
)
SECURITY = ("bullseye-security", "bookworm-security", "trixie-security")
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
NEWEST = "newest"
# The -cloud kernels have all that is asked built in: no module is needed, and they are small.
_NAME = r"^linux-image-{series}[0-9a-z.+~-]*-cloud-amd64$"
_PARTS = r"linux-binary-[^ ,()]+"  # since 7.2 the image's package only names others


class UnavailableError(Exception):
    """A kernel that cannot be had, and why; never with an address in it."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A series ("6.1", or "newest") and the tier that pyuring reaches on it."""

    series: str
    tier: str


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel that has been unpacked."""

    package: str
    version: str
    image: Path


class Archive:
    """Debian's archive as this machine reaches it; `directory` keeps what was downloaded."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        for name in ("lists/partial", "archives/partial", "images"):
            (directory / name).mkdir(parents=True, exist_ok=True)
        (directory / "status").touch()

    def update(self) -> None:
        """Fetch the lists of packages. A suite that the archive lacks merely has none."""
        if shutil.which("apt-get") is None:
            raise UnavailableError("this machine has no apt")
        main, security = self._sites()
        signed = f"[signed-by={KEYRING}] " if KEYRING.exists() else ""
        lines = [f"deb {signed}{main} {suite} main" for suite in SUITES]
        lines += [f"deb {signed}{security} {suite} main" for suite in SECURITY if security]
        (self._directory / "sources.list").write_text("\n".join(lines) + "\n")
        self._apt("apt-get", "update", "-q", check=False)

    def fetch(self, wanted: Wanted) -> Kernel:
        """Download the newest kernel of a series, unless it is here, and unpack it."""
        package, version = self._newest(wanted.series)
        holder = self._holder(package, version)
        image = self._directory / "images" / f"{holder}_{version}"
        if not image.exists():
            self._unpack(holder, version, image)
        return Kernel(package, version, image)

    def _newest(self, series: str) -> tuple[str, str]:
        pattern = _NAME.format(series="[0-9]" if series == NEWEST else re.escape(series) + "[.+]")
        names = self._apt("apt-cache", "search", "--names-only", pattern).split("\n")
        found = [line.split(" ")[0] for line in names if line]
        versions = self._apt("apt-cache", "madison", *found) if found else ""
        best = newest(versions.splitlines())
        if best is None:
            raise UnavailableError(f"the archive has no kernel {series} (any more)")
        return best

    def _holder(self, package: str, version: str) -> str:
        """Return the package that holds the kernel itself."""
        told = self._apt("apt-cache", "show", f"{package}={version}")
        depends = re.search(r"^Depends: (.*)", told, re.M)
        other = re.search(_PARTS, depends[1]) if depends else None
        return other[0] if other else package

    def _unpack(self, package: str, version: str, image: Path) -> None:
        archives = self._directory / "archives"
        self._apt("apt-get", "download", "-q", f"{package}={version}", where=archives)
        (deb,) = archives.glob(f"{package}_*.deb")
        with (
            subprocess.Popen(
                ["dpkg-deb", "--fsys-tarfile", deb], stdout=subprocess.PIPE
            ) as unpacking,
            tarfile.open(fileobj=unpacking.stdout, mode="r|") as packed,
        ):
            content = _kernel_in(packed)
        deb.unlink()
        if content is None:
            raise UnavailableError(f"{package} {version} holds no kernel")
        image.write_bytes(content)

    @staticmethod
    def _sites() -> tuple[str, str | None]:
        """Return where this machine gets Debian's packages from, and their security updates."""
        form = "$(SITE) $(RELEASE)"
        command = ["apt-get", "indextargets", "--format", form, "Created-By: Packages"]
        told = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        pairs = [line.split() for line in told.splitlines() if len(line.split()) == 2]
        secure = [site for site, suite in pairs if suite.endswith("-security")]
        main = [
            site for site, suite in pairs if re.fullmatch(r"[a-z]+", suite) and site not in secure
        ]
        if not main:
            raise UnavailableError("this machine's apt names no archive of Debian's")
        return main[0], secure[0] if secure else None

    def _apt(self, *command: str, check: bool = True, where: Path | None = None) -> str:
        """Run one of apt's commands in our directory; UnavailableError where it fails."""
        own = {
            "Dir::Etc::sourcelist": self._directory / "sources.list",
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::State": self._directory,
            "Dir::State::status": self._directory / "status",
            "Dir::Cache": self._directory,
            "Dir::Cache::pkgcache": "pkgcache.bin",  # some machines have it switched off
            "APT::Sandbox::User": "root",  # else it complains that its own user cannot write here
            "Acquire::Languages": "none",
        }
        options = [part for name, value in own.items() for part in ("-o", f"{name}={value}")]
        done = subprocess.run(
            [command[0], *options, *command[1:]],
            capture_output=True, text=True, check=False, cwd=where,
            env={**os.environ, "LC_ALL": "C"},
        )  # fmt: skip
        if check and done.returncode:
            raise UnavailableError(f"{' '.join(command[:2])} ended with status {done.returncode}")
        return done.stdout


def newest(madison: Iterable[str]) -> tuple[str, str] | None:
    """Return package and version of the newest line of `apt-cache madison`, or None."""
    found = [tuple(part.strip() for part in line.split("|"))[:2] for line in madison if "|" in line]
    best = max(found, key=lambda pair: [int(n) for n in re.findall(r"\d+", pair[1])], default=None)
    return None if best is None else (best[0], best[1])


def _kernel_in(packed: tarfile.TarFile) -> bytes | None:
    """Return the kernel of a package, read as a stream, or None."""
    content = None
    for member in packed:
        if member.isfile() and re.fullmatch(r"vmlinuz(-.*)?", os.path.basename(member.name)):
            file = packed.extractfile(member)
            content = file.read() if file is not None else None
    return content
