"""Becoming another user for good, once what needs root is done: `--user USER[:GROUP]`.

Owns the lookup, the order of the calls, and the look afterwards whether it was for good. Never
decides when. Source: credentials(7), setresuid(2), capabilities(7).

The order: supplementary groups, then the group, then the user, for each needs the rights that the
last one gives up. Capabilities go with the three user ids, unless something has had them kept.
"""

from __future__ import annotations

import dataclasses
import os

__all__ = ["Identity", "become", "find"]


@dataclasses.dataclass(frozen=True, slots=True)
class Identity:
    """A user and a group to run as."""

    name: str  # as it was asked for
    uid: int
    gid: int
    login: str | None  # for the supplementary groups; None: it has none
    home: str | None


def find(text: str) -> Identity:
    """Look up USER[:GROUP], names or numbers; ValueError says what is wrong with it."""
    import pwd

    user, colon, group = text.partition(":")
    if not user or (colon and not group):
        raise ValueError("must be USER or USER:GROUP")
    entry = None
    try:
        entry = pwd.getpwuid(_number(user)) if _is_number(user) else pwd.getpwnam(user)
    except KeyError:
        if not _is_number(user):
            raise ValueError(f"there is no user {user!r}") from None
    uid = entry.pw_uid if entry is not None else _number(user)
    if uid == 0:
        raise ValueError("that is root, who gives nothing up")
    if group:
        gid = _group(group)
    elif entry is not None:
        gid = entry.pw_gid
    else:
        raise ValueError(f"user {user} is in no list, so say the group too: {user}:GROUP")
    login, home = (entry.pw_name, entry.pw_dir) if entry is not None else (None, None)
    return Identity(text, uid, gid, login, home)


def become(whom: Identity) -> None:
    """Be that user from here on, in every thread; OSError where the kernel does not allow it.

    HOME, USER and LOGNAME follow, for what is started from here.
    """
    if whom.login is not None:
        os.initgroups(whom.login, whom.gid)
    else:
        os.setgroups([whom.gid])
    os.setresgid(whom.gid, whom.gid, whom.gid)
    os.setresuid(whom.uid, whom.uid, whom.uid)
    if (os.getresuid(), os.getresgid()) != ((whom.uid,) * 3, (whom.gid,) * 3) or _comes_back():
        raise PermissionError(1, "root's rights are not given up")
    for name, value in (("HOME", whom.home), ("USER", whom.login), ("LOGNAME", whom.login)):
        if value is not None:
            os.environ[name] = value


def _comes_back() -> bool:
    """Return whether root can be had again: where capabilities were kept (SECBIT_KEEP_CAPS)."""
    try:
        os.setresuid(0, 0, 0)
    except PermissionError:
        return False
    return True


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 11


def _number(text: str) -> int:
    number = int(text)
    if number >= 2**32 - 1:  # -1 stands for "leave it"
        raise ValueError(f"{text} is no user or group id")
    return number


def _group(text: str) -> int:
    """Return the number of a group."""
    import grp

    if _is_number(text):
        return _number(text)
    try:
        return grp.getgrnam(text).gr_gid
    except KeyError:
        raise ValueError(f"there is no group {text!r}") from None
