"""`reprise data show`: numbers compared with loops, warnings, and both output formats."""

import json
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from helpers.builders_data import (
    draft_of,
    leave_one_out_slowly,
    split_of,
    write_comirec,
    write_inter,
)
from helpers.effort import examples
from reprise.cli.main import cli
from reprise.data.dataset import LAST, SPLITS, Dataset, open_dataset
from reprise.data.draft import Draft
from reprise.data.prepare import prepare, publish
from reprise.data.splits import Users, leave_one_out
from reprise.data.statistics import describe, warnings_of

Lists = list[list[int]]
CATEGORY = np.array([-1, 0, -1, 4, 4, -1, 0], np.int32)  # of items 1..6
users_of_a_split = st.lists(
    st.lists(st.integers(1, 6), min_size=1, max_size=9), min_size=1, max_size=6
)


def publish_lists(folder: Path, lists: dict[str, Lists]) -> Dataset:
    draft = draft_of({split: split_of(own) for split, own in lists.items()}, CATEGORY)
    return open_dataset(publish(draft, "x", folder / "x"))


def histogram(numbers: list[int]) -> dict[int, int]:
    """How many of each number of binary digits."""
    return dict(Counter(number.bit_length() for number in numbers))


def check(facts: dict[str, object], lists: Lists) -> None:
    """Facts that do not depend on how the users are split."""
    flat = [item for items in lists for item in items]
    count = Counter(flat)
    counts = [count[item] for item in range(1, 7)]
    for kind, numbers in (("history_length", [len(own) for own in lists]), ("popularity", counts)):
        found = facts[kind]
        assert isinstance(found, dict)
        assert found["mean"] == pytest.approx(sum(numbers) / len(numbers))
        ordered = sorted(numbers)
        assert found["quantiles"]["0"] == ordered[0]
        assert found["quantiles"]["50"] == ordered[(len(ordered) + 1) // 2 - 1]
        assert found["quantiles"]["100"] == ordered[-1]
        shown = {low.bit_length(): n for low, _, n in found["histogram"] if n}
        assert shown == histogram(numbers)
    popularity = facts["popularity"]
    assert isinstance(popularity, dict)
    assert popularity["top_share"] == pytest.approx(max(counts) / len(flat))
    assert counts[popularity["top_item"] - 1] == max(counts)
    pairs = [abs(a - b) for a in counts for b in counts]
    assert popularity["gini"] == pytest.approx(sum(pairs) / (2 * 6 * sum(counts)))
    by_popularity = sorted(range(1, 7), key=lambda item: -counts[item - 1])
    apart = sum((rank - item) ** 2 for rank, item in enumerate(by_popularity, start=1))
    assert facts["rank_correlation"] == pytest.approx(1 - 6 * apart / (6 * 35))
    seen = sum(len(own) - len(set(own)) for own in lists)
    assert facts["repeated_interactions"] == pytest.approx(seen / len(flat))
    known = sum(CATEGORY[item] >= 0 for item in flat) / len(flat)
    assert facts["category_coverage"] == {"items": 4 / 6, "interactions": pytest.approx(known)}


@examples(60)
@given(lists=st.fixed_dictionaries(dict.fromkeys(SPLITS, users_of_a_split)))
def test_describe_equals_the_loops(lists: dict[str, Lists]) -> None:
    with TemporaryDirectory() as name:
        facts = describe(publish_lists(Path(name), lists))
    check(facts, [own for split in SPLITS for own in lists[split]])
    for split in ("valid", "test"):
        long = [own for own in lists[split] if len(own) >= 2]
        again = [
            any(item in own[: int(len(own) * 0.8)] for item in own[int(len(own) * 0.8) :])
            for own in long
        ]
        expected = pytest.approx(sum(again) / len(long)) if long else None
        assert facts["repeated_targets"][split] == expected


@examples(40)
@given(users_of_a_split.filter(lambda lists: any(len(own) >= 3 for own in lists)))
def test_describe_counts_every_interaction_once_for_leave_one_out(lists: Lists) -> None:
    raw_ids = pl.Series([f"u{n}" for n in range(len(lists))])
    splits = leave_one_out(Users(raw_ids, split_of(lists)))
    draft = Draft(
        splits={split: own.sequences for split, own in splits.items()},
        raw_users={split: own.raw_ids for split, own in splits.items()},
        raw_items=pl.Series([f"i{n}" for n in range(1, 7)]),
        item_category=CATEGORY,
        source={},
        truth={},
        evaluation=LAST,
    )
    with TemporaryDirectory() as name:
        facts = describe(open_dataset(publish(draft, "x", Path(name) / "x")))
    check(facts, lists)
    whole = leave_one_out_slowly([(str(n), own) for n, own in enumerate(lists)])["test"]
    again = [own[-1] in own[:-1] for _, own in whole]
    assert facts["repeated_targets"]["test"] == pytest.approx(sum(again) / len(again))


def even(lists: Lists) -> dict[str, Lists]:
    return dict.fromkeys(SPLITS, lists)


@pytest.mark.parametrize(
    ("lists", "warned"),
    [
        ([[item] * (7 - item) for item in range(1, 7)], {"dominating_item", "short_histories"}),
        ([[1, 2, 3, 4, 5, 6]] * 3, {"dominating_item"}),  # a sixth of all, each
        ([[6] * 9 + [5] * 7 + [4] * 5 + [3, 3, 2, 1]], {"dominating_item", "ids_out_of_order"}),
    ],
)
def test_warnings_name_what_hurts_training(tmp_path: Path, lists: Lists, warned: set[str]) -> None:
    facts = describe(publish_lists(tmp_path, even(lists)))
    assert {warning["warning"] for warning in facts["warnings"]} == warned


def test_warnings_are_none_for_sound_data(tmp_path: Path) -> None:
    facts = describe(publish_lists(tmp_path, even([[1, 2, 3, 4, 5, 6]])))
    facts["popularity"]["top_share"] = 0.01
    assert warnings_of(facts) == []


@pytest.mark.parametrize(
    ("first", "last", "shown"),
    [
        (881250949, 893286638, "1997-12-04 to 1998-04-22"),
        (1511539200000, 1512316799000, "2017-11-24 to 2017-12-03"),
        (1511539200 * 10**6, 1512316799 * 10**6, "2017-11-24 to 2017-12-03"),
        (1511539200 * 10**9, 1512316799 * 10**9, "2017-11-24 to 2017-12-03"),
        (3, 29.5, "3 to 29.5"),
    ],
)
def test_data_show_prints_timestamps_as_dates(
    tmp_path: Path, first: float, last: float, shown: str
) -> None:
    events = [(f"u{n % 20}", f"i{n % 7}", [first, last][n % 2]) for n in range(200)]
    path = write_inter(tmp_path / "x.inter", events)
    prepare(path, "x", tmp_path)
    done = CliRunner().invoke(cli, ["data", "show", "x", "--data-dir", str(tmp_path)])
    assert f"Times: {shown}\n" in done.output
    assert "⚠️ Item ids" not in done.output  # ties are in order
    assert "Kept by the filter: 20 of 20 users, 7 of 7 items, 200 of 200 interactions" in (
        done.output
    )


@pytest.mark.parametrize("language", ["en", "zh"])
def test_data_show_prints_numbers_bars_and_warnings(tmp_path: Path, language: str) -> None:
    publish_lists(tmp_path, even([[6, 5, 6, 4]] * 3))
    given = ["data", "show", "x", "--data-dir", str(tmp_path)]
    done = CliRunner().invoke(cli, [*given, "--lang", language])
    assert done.exit_code == 0, done.output
    assert "█" in done.output
    assert ("9 users, 6 items, 36 interactions" in done.output) == (language == "en")
    assert "50.0%" in done.output  # of item 6
    assert done.output.count("⚠️") == 3
    printed = json.loads(CliRunner().invoke(cli, [*given, "--json"]).output)
    assert printed["users"] == {"train": 3, "valid": 3, "test": 3, "all": 9}
    assert printed == describe(open_dataset(tmp_path / "x"))


@pytest.mark.parametrize(
    ("protocol", "core", "shown"),
    [
        ("comirec", None, "物品 >= 5 次, 用户 >= 5 次, 用户 8:1:1（种子 1230）"),
        ("comirec", 2, "2-core, 用户 8:1:1（种子 1230）"),
        ("leave-one-out", None, "物品 >= 5 次, 用户 >= 5 次, leave-one-out"),
    ],
)
def test_data_show_states_protocol_and_filter_in_chinese(
    tmp_path: Path, protocol: str, core: int | None, shown: str
) -> None:
    events = [(f"u{n % 20}", f"i{n % 7}", float(n)) for n in range(400)]
    path = write_inter(tmp_path / "x.inter", events)
    prepare(path, "x", tmp_path, protocol=protocol, core=core)
    done = CliRunner().invoke(cli, ["data", "show", "x", "--data-dir", str(tmp_path), "--lang=zh"])
    assert f"来源: recbole；{shown}\n" in done.output


@pytest.mark.parametrize(
    ("protocol", "shown"),
    [
        ("comirec", "按来源的划分"),
        ("leave-one-out", "三个文件的用户合在一起, 未过滤, leave-one-out"),
    ],
)
def test_data_show_states_the_protocol_of_a_comirec_folder_in_chinese(
    tmp_path: Path, protocol: str, shown: str
) -> None:
    prepare(write_comirec(tmp_path / "source"), "x", tmp_path, protocol=protocol)
    done = CliRunner().invoke(cli, ["data", "show", "x", "--data-dir", str(tmp_path), "--lang=zh"])
    assert f"来源: comirec；{shown}\n" in done.output
