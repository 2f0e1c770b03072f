"""Faults injected into system calls by strace: SIGKILL before a call, a refusal."""

import re
import shutil
import subprocess
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
    """Return `command` under strace, which ends as the command does.

    (Not with --seccomp-bpf, quicker though it is: signals injected there get lost.)
    """
    output = ("-o", "/dev/null" if log is None else str(log))
    return ["strace", "-f", "-qq", *output, *options, *command]


def traced(command: Sequence[str], folder: Path, log: Path) -> list[Call]:
    """Run `command` to its end; return its calls, in order, that name what is in `folder` or the
    standard output.
    """
    options = ("-y", "-s", "100", "-e", f"trace={_CHANGING}")
    subprocess.run(under_strace(command, *options, log=log), check=True, stdout=subprocess.DEVNULL)
    return read_trace(log, folder)


def read_trace(log: Path, folder: Path) -> list[Call]:
    """Return the calls of a trace (made with -f and -y) that touch `folder` or standard output."""
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
