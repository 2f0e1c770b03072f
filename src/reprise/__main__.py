"""`python -m reprise`, and the entry points of the commands."""

import os
from typing import NoReturn

from reprise.runtime.memory import refuse_what_cannot_load, share_one_heap
from reprise.runtime.streams import (
    WORKER,
    apart_from_libraries,
    end_with_parent,
    prepare_streams,
)


def main() -> NoReturn:
    """Run the `reprise` command."""
    _prepare_process()
    from reprise.cli.main import main

    main()


def comirec() -> NoReturn:
    """Run ComiRec's command line, `python src/train.py`."""
    _prepare_process()
    from reprise.cli.main import main_of_comirec

    main_of_comirec()


def _prepare_process() -> None:
    prepare_streams()
    if printed := os.environ.get(WORKER):
        end_with_parent()
        apart_from_libraries(printed)
    refuse_what_cannot_load()
    share_one_heap()  # before NumPy's threads start, as they do when it is imported


if __name__ == "__main__":
    main()
