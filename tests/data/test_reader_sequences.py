"""Sequences: one line per user, or one line per user-item pair."""

from pathlib import Path

import numpy as np
import pytest

from helpers.sources import MARK, check, refusal
from reprise.data.prepare import read_source
from reprise.data.readers.recognise import asked_of, recognise
from reprise.errors import DataError


def lists_of_items() -> dict[str, list[int]]:
    rng = np.random.default_rng(7)
    return {str(user): rng.integers(1, 9, size=12).tolist() for user in range(1, 30)}


def in_order(lists: dict[str, list[int]]) -> list[tuple[str, str, float]]:
    return [
        (user, str(item), float(n)) for user, items in lists.items() for n, item in enumerate(items)
    ]


def a_line_a_user(lists: dict[str, list[int]]) -> str:
    return "".join(f"{user} {' '.join(map(str, row))}\n" for user, row in lists.items())


def test_sequences_have_one_line_per_user_or_per_pair(tmp_path: Path) -> None:
    lists = lists_of_items()
    events = in_order(lists)
    whole, pairs = tmp_path / "whole.txt", tmp_path / "pairs.txt"
    whole.write_text(a_line_a_user(lists))
    pairs.write_text("".join(f"{user} {item}\r\n" for user, item, _ in events))
    for source in (whole, pairs):
        assert recognise(source) == "sequences"
        check(read_source(source), events)


def test_sequences_skip_a_byte_order_mark(tmp_path: Path) -> None:
    lists = lists_of_items()
    path = tmp_path / "x.txt"
    path.write_bytes(MARK + b"\n" + a_line_a_user(lists).encode())
    for source in (path, tmp_path):
        assert recognise(source) == "sequences"
        check(read_source(source), in_order(lists))


def test_sequences_in_a_folder_are_read_unless_tables_are_beside_them(tmp_path: Path) -> None:
    lists = lists_of_items()
    (tmp_path / "Beauty.txt").write_text(a_line_a_user(lists))
    (tmp_path / "README.txt").write_text("what this is\n")
    assert recognise(tmp_path) == "sequences"
    check(read_source(tmp_path), in_order(lists))
    attributes = tmp_path / "Beauty_item2attributes.json"
    attributes.write_text('{"1": [2, 3], "2": [4]}\n')
    with pytest.raises(DataError, match=r"Beauty.txt, Beauty_item2attributes.json\. Give one"):
        read_source(tmp_path)
    check(read_source(tmp_path, asked=asked_of("sequences")), in_order(lists))
    attributes.unlink()
    (tmp_path / "Sports.txt").write_text("1 2 3\n")
    with pytest.raises(DataError, match=r"found Beauty.txt, Sports.txt\. Give"):
        read_source(tmp_path)


def test_sequences_without_items_are_named(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text("1 2 3\n4 5\n6\n")
    assert "x.txt, line 3: expected a user id and item ids" in refusal(path)
