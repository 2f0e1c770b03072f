"""Processes that do the same thing at the same time."""

import subprocess
import sys

from helpers.commands import ENVIRONMENT


def raced(program: str, *arguments: object, racers: int) -> list[str]:
    """Run a Python program in several processes at once, and return what each has printed. It
    prints "ready", and then waits for a line.
    """
    command = [sys.executable, "-c", program, *map(str, arguments)]
    running = [
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT
        )
        for _ in range(racers)
    ]
    for racer in running:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in running:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    said = [racer.communicate(timeout=600)[0] for racer in running]
    assert [racer.returncode for racer in running] == [0] * racers
    return said
