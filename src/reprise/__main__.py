"""`python -m reprise`, and the entry points of the commands."""

from typing import NoReturn

from reprise.runtime.memory import share_one_heap
from reprise.runtime.streams import prepare_streams


def main() -> NoReturn:
    """Run the `reprise` command."""
    prepare_streams()
    share_one_heap()  # before NumPy's threads start, as they do when it is imported
    from reprise.cli.main import main

    main()


def comirec() -> NoReturn:
    """Run ComiRec's command line, `python src/train.py`."""
    prepare_streams()
    share_one_heap()
    from reprise.cli.main import main_of_comirec

    main_of_comirec()


if __name__ == "__main__":
    main()
