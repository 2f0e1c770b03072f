"""Faults injected into system calls by strace: SIGKILL before a call, errors."""

import re
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

# "?": not every architecture has every call.
_CHANGING = (
    "?open,?openat,?openat2,?creat,?write,?pwrite64,?writev,?pwritev,?fsync,?fdatasync,?mkdir,"
    "?mkdirat,?rename,?renameat,?renameat2,?unlink,?unlinkat,?rmdir,?truncate,?ftruncate,"
    "?link,?linkat,?symlink,?symlinkat,?fallocate,?sync_file_range"
)
# Options of a trace that `read_trace` reads.
TRACING = ("-y", "-s", "100", "-e", f"trace={_CHANGING}")
_LINE = re.compile(r"(\d+) +(\w+)\((.*)")

needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")


@dataclass(frozen=True)
class Call:
    """A system call: the `occurrence`-th of this name in its thread; `text` as strace shows it."""

    name: str
    occurrence: int
    text: str

    @property
    def changes_files(self) -> bool:
        """Whether the call changes a file or a folder, or makes it durable."""
        return not self.name.startswith("open") or "O_CREAT" in self.text

    @property
    def is_output(self) -> bool:
        """Whether the call writes to the standard output."""
        return self.name == "write" and self.text.startswith("1<")

    def inject(self, fault: str) -> tuple[str, ...]:
        """Return strace's options that inject `fault` into this call."""
        return aimed_at(self.name, f"{fault}:when={self.occurrence}")


def aimed_at(name: str, fault: str) -> tuple[str, ...]:
    """Return strace's options that inject `fault` into the system call `name`."""
    return "-e", f"trace={name}", "-e", f"inject={name}:{fault}"


def under_strace(command: Sequence[str], *options: str, log: Path | None = None) -> list[str]:
    """Return `command` under strace, which ends as the command does, to inject errors: it stops
    only at the calls that the options name, where signals would get lost.
    """
    output = ("-o", "/dev/null" if log is None else str(log))
    return ["strace", "-f", "--seccomp-bpf", "-qq", *output, *options, *command]


def attached(process: int, sign: str, *options: str, log: Path | None = None) -> list[str]:
    """Return the command that traces the process, whose system call `sign` it refuses from when on
    it sees all that the process does.
    """
    output = ("-o", "/dev/null" if log is None else str(log))
    refusal = ("-e", f"inject={sign}:error=ENOSYS")
    return ["strace", "-f", "-qq", *output, *_also(sign, options), *refusal, "-p", str(process)]


def _also(name: str, options: Sequence[str]) -> list[str]:
    """Return strace's options with one more system call among those it traces."""
    return [f"{one},{name}" if one.startswith("trace=") else one for one in options]


def read_trace(log: Path, folder: Path) -> list[Call]:
    """Return the calls of a trace, in order, that name what is in `folder` or the standard
    output.
    """
    counts: Counter[tuple[str, str]] = Counter()
    calls = []
    for line in log.read_text(errors="replace").splitlines():
        match = _LINE.match(line)
        if match is not None and "resumed>" not in line:
            thread, name, text = match.groups()
            counts[thread, name] += 1
            call = Call(name, counts[thread, name], text)
            if str(folder) in text or call.is_output:
                calls.append(call)
    return calls
