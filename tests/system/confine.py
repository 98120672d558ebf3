"""Runs a command under what a unit of ours forbids and one process can forbid itself.

    python confine.py UNIT COMMAND ...

System calls, executable memory, address families, new privileges and the mask of new files are set
as the unit says; namespaces, the read-only file system and device rules need systemd itself. Uses
libseccomp, as systemd does, through ctypes.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import subprocess
import sys
from pathlib import Path

ALLOW = 0x7FFF0000
ERRNO = 0x00050000
EQUAL, GREATER, MASKED = 4, 6, 7  # enum scmp_compare
PR_SET_NO_NEW_PRIVS = 38
PROT_WRITE, PROT_EXEC, SHM_EXEC = 2, 4, 0o100000
FAMILIES = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10}


class Compare(ctypes.Structure):
    """struct scmp_arg_cmp."""

    _fields_ = (
        ("argument", ctypes.c_uint),
        ("how", ctypes.c_int),
        ("first", ctypes.c_uint64),
        ("second", ctypes.c_uint64),
    )


def library() -> ctypes.CDLL:
    """Raises OSError where it is not installed."""
    loaded = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    loaded.seccomp_init.restype = ctypes.c_void_p
    loaded.seccomp_init.argtypes = [ctypes.c_uint32]
    loaded.seccomp_load.argtypes = loaded.seccomp_release.argtypes = [ctypes.c_void_p]
    loaded.seccomp_rule_add_array.argtypes = [
        ctypes.c_void_p,
        ctypes.c_uint32,
        ctypes.c_int,
        ctypes.c_uint,
        ctypes.POINTER(Compare),
    ]
    return loaded


class Filter:
    """One seccomp filter; later ones are laid over earlier ones, and the strictest word counts."""

    def __init__(self, seccomp: ctypes.CDLL, otherwise: int) -> None:
        self._seccomp = seccomp
        self._context = seccomp.seccomp_init(otherwise)

    def rule(self, call: str, action: int, *compares: Compare) -> None:
        number = self._seccomp.seccomp_syscall_resolve_name(call.encode())
        if number != -1:  # else this architecture does not have it
            array = (Compare * max(1, len(compares)))(*compares)
            self._checked(
                self._seccomp.seccomp_rule_add_array(
                    self._context, action, number, len(compares), array
                )
            )

    def load(self) -> None:
        self._checked(self._seccomp.seccomp_load(self._context))
        self._seccomp.seccomp_release(self._context)

    def _checked(self, code: int) -> None:
        # A call that libseccomp has to imitate on this architecture (-EDOM) is no loss here.
        if code < 0 and code != -errno.EDOM:
            raise OSError(-code, os.strerror(-code))


def members(name: str) -> set[str]:
    """System calls of a set like `@system-service`, or the call of that name."""
    if not name.startswith("@"):
        return {name}
    shown = subprocess.run(
        ["systemd-analyze", "--no-pager", "syscall-filter", name],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    words = [line.strip() for line in shown.stdout.splitlines()[1:]]
    names = [word for word in words if word and not word.startswith("#")]
    return set().union(*(members(inner) for inner in names))


def allowed(unit: str) -> set[str]:
    """What remains of `SystemCallFilter=`, line by line; @default is always allowed."""
    calls = members("@default")
    for line in re.findall(r"^SystemCallFilter=(.*)$", unit, re.MULTILINE):
        named = set().union(*(members(name) for name in line.removeprefix("~").split()))
        calls = calls - named if line.startswith("~") else calls | named
    return calls


def confine(unit: str) -> None:
    """This process and all that it starts, for good."""
    seccomp = library()
    calls = allowed(unit)
    families = re.search(r"^RestrictAddressFamilies=(.*)$", unit, re.MULTILINE)
    mask = re.search(r"^UMask=(\d+)$", unit, re.MULTILINE)
    assert families is not None
    assert mask is not None
    assert "\nMemoryDenyWriteExecute=yes\n" in unit
    os.umask(int(mask[1], 8))
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")

    sockets = Filter(seccomp, ALLOW)
    known = {FAMILIES[name] for name in families[1].split()}
    refused = [Compare(0, EQUAL, number, 0) for number in range(max(known)) if number not in known]
    for compare in [*refused, Compare(0, GREATER, max(known), 0)]:
        sockets.rule("socket", ERRNO | errno.EAFNOSUPPORT, compare)
    sockets.load()

    memory = Filter(seccomp, ALLOW)
    both = PROT_WRITE | PROT_EXEC
    memory.rule("mmap", ERRNO | errno.EPERM, Compare(2, MASKED, both, both))
    for call in ("mprotect", "pkey_mprotect"):
        memory.rule(call, ERRNO | errno.EPERM, Compare(2, MASKED, PROT_EXEC, PROT_EXEC))
    memory.rule("shmat", ERRNO | errno.EPERM, Compare(2, MASKED, SHM_EXEC, SHM_EXEC))
    memory.load()

    filtered = Filter(seccomp, ERRNO | errno.EPERM)
    for call in sorted(calls):
        filtered.rule(call, ALLOW)
    filtered.load()


if __name__ == "__main__":
    confine(Path(sys.argv[1]).read_text(encoding="utf-8"))
    os.execvp(sys.argv[2], sys.argv[2:])
