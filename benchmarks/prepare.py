"""Measure `reprise prepare` on a big file: python benchmarks/prepare.py

Generates interactions in the form of Taobao's UserBehavior.csv, with its proportions (101 a user,
24 an item, 90% of them views, nine days; ids are scattered), and prepares them in a process of its
own whose peak memory the system counts. Beside it, in the same run and for a tenth of the rows:
a plain Python program that does what ComiRec's two preprocessing scripts do, with dictionaries.

--order grouped (default): as the original file, user by user and by time. scattered: in any order,
as a log has it. "us/row" is wall time over all rows of the file; "cpu us" counts all cores, which
a machine that others use, too, changes less. "ratio" is Python's time over ours.

--max-memory SIZE: measure `reprise prepare --max-memory SIZE` beside it, on the same file; the two
must make the same data set. "own GB" is the most that was allocated ("peak GB" has mapped files,
too), "disk GB" the most that the folder took. --parquet: the file as parts of Parquet, in any
order, which plain Python does not read; --only-disk: without the one in memory;
--without-category: users, items and times alone, which take less disk.
--features: measure it beside with a table of all items, too: a brand, a price and a vector of 8.
"""

import argparse
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl

from common import machine, make_parser, print_facts, print_table, write_json
from reprise.data.dataset import stored_fingerprint

ROWS, TENTH = 100_000_000, 10
USERS_ITEMS = 101, 24  # rows a user, rows an item
LEAST_LENGTH = 10
ITEM_IDS, CATEGORIES = 5_163_070, 9_439
BEHAVIOURS = {"pv": 0.896, "cart": 0.055, "fav": 0.029, "buy": 0.02}
START, SECONDS = 1_511_539_200, 9 * 86_400
HEAD = 100  # popularity falls as 1 / (rank + HEAD)
CHUNK = 2_000_000  # rows
PROMISED_RATIO, PROMISED_GB = 15, 10


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--order", choices=["grouped", "scattered"], default="grouped")
    parser.add_argument("--folder", type=Path, help="Where the files lie while it runs.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--max-memory", metavar="SIZE")
    parser.add_argument("--parquet", action="store_true")
    parser.add_argument("--only-disk", action="store_true", help="With --parquet, --max-memory.")
    parser.add_argument("--without-category", action="store_true", help="With --parquet.")
    parser.add_argument("--features", action="store_true")
    parser.add_argument("--plain", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.plain is not None:
        prepare_plainly(options.plain, options.plain.parent)
        return
    with TemporaryDirectory(dir=options.folder) as name:
        if options.parquet:
            table = measure_parts(Path(name), options)
        else:
            table = measure(Path(name), options)
    facts = machine()
    print_facts(facts)
    print(f"order {options.order}\n")
    print_table(table)
    if options.parquet:
        write_json(options.json, facts, table)
        return
    ours, plain = table[0], table[-1]
    ratio = float(plain["us/row"]) / float(ours["us/row"])
    cpu_ratio = float(plain["cpu us"]) / float(ours["cpu us"])
    print(f"\nratio {ratio:.1f} (of processor time {cpu_ratio:.1f}); promise:", end=" ")
    kept = ratio >= PROMISED_RATIO and float(ours["peak GB"]) < PROMISED_GB
    print(f"{PROMISED_RATIO} and under {PROMISED_GB} GB: {'kept' if kept else 'BROKEN'}")
    write_json(options.json, facts | {"order": options.order, "ratio": ratio}, table)


Row = dict[str, str | int | float]


def measure(folder: Path, options: argparse.Namespace) -> list[Row]:
    """Return rows of the table for `reprise prepare`, and one for plain Python."""
    whole, tenth = folder / "UserBehavior.csv", folder / "tenth" / "UserBehavior.csv"
    tenth.parent.mkdir()
    made = generate(whole, options.rows, options.order, options.seed)
    made_tenth = generate(tenth, options.rows // TENTH, options.order, options.seed)
    plain = [sys.executable, __file__, "--plain", tenth]
    return [
        *measure_ours(folder, whole, made, options),
        row("Python dictionaries", made_tenth, plain),
    ]


def measure_parts(folder: Path, options: argparse.Namespace) -> list[Row]:
    """Return rows of the table for `reprise prepare` of Parquet."""
    parts = folder / "parts"
    parts.mkdir()
    made = 0
    for number, frame in enumerate(chunks(options.rows, options.seed)):
        columns = ["behaviour", "category"] if options.without_category else ["behaviour"]
        rows = frame.drop(columns).sample(fraction=1, shuffle=True, seed=number)
        rows.write_parquet(parts / f"{number:04}.parquet", row_group_size=1 << 20)
        made += len(rows)
    return measure_ours(folder, parts, made, options)


def measure_ours(folder: Path, source: Path, rows: int, options: argparse.Namespace) -> list[Row]:
    """Return rows of the table for `reprise prepare` in memory and on disk."""
    ours = [sys.executable, "-m", "reprise", "prepare", source, "--data-dir", folder / "data"]
    found, made = [], []
    if not options.only_disk:
        found.append(row("reprise prepare", rows, [*ours, "--name", "big"], folder / "data"))
        made.append(folder / "data" / "big")
    if options.features:
        table = write_items(folder / "items.parquet", options.rows)
        asked = ["--items", table, "--item-features", "brand,price,vector"]
        found.append(row("with features", rows, [*ours, "--name", "items", *asked]))
        ratio = float(found[1]["cpu us"]) / float(found[0]["cpu us"])
        print(f"with features: {ratio:.2f} of the processor time")
    if options.max_memory:
        command = [*ours, "--name", "disk", "--max-memory", options.max_memory]
        found.append(row(f"--max-memory {options.max_memory}", rows, command, folder / "data"))
        made.append(folder / "data" / "disk")
    if len({stored_fingerprint(one) for one in made}) > 1:
        raise SystemExit("the data sets differ")
    return found


def row(name: str, rows: int, command: list[object], folder: Path | None = None) -> Row:
    """Run a command and return its figures; folder: what it writes into."""
    start = time.perf_counter()
    before = size_of(folder)
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL)
    own = disk = 0
    while not (ended := os.wait4(process.pid, os.WNOHANG))[0]:
        own, disk = max(own, allocated(process.pid)), max(disk, size_of(folder) - before)
        time.sleep(0.1)
    _, status, used = ended
    seconds = time.perf_counter() - start
    if os.waitstatus_to_exitcode(status):
        raise SystemExit(f"{name} failed")
    unit = 1e9 if sys.platform == "darwin" else 1e6
    return {
        "program": name,
        "rows": rows,
        "seconds": seconds,
        "us/row": 1e6 * seconds / rows,
        "cpu us": 1e6 * (used.ru_utime + used.ru_stime) / rows,
        "peak GB": used.ru_maxrss / unit,
        "own GB": own / 1e9,
        "disk GB": disk / 1e9,
    }


def allocated(pid: int) -> int:
    """Return the bytes that a process has allocated, without mapped files; 0 where unknown."""
    with suppress(OSError, StopIteration):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return 1024 * int(next(line.split()[1] for line in lines if line.startswith("RssAnon")))
    return 0


def size_of(folder: Path | None) -> int:
    """Return the bytes of all files below a folder that changes."""
    total = 0
    for path in folder.rglob("*") if folder is not None and folder.is_dir() else ():
        with suppress(OSError):
            total += path.lstat().st_size
    return total


def generate(path: Path, rows: int, order: str, seed: int) -> int:
    """Write about `rows` interactions, chunk by chunk of whole users; return how many."""
    written = 0
    with open(path, "wb") as file:
        for number, frame in enumerate(chunks(rows, seed)):
            if order == "grouped":
                frame = frame.sort("user", "time")
            else:
                frame = frame.sample(fraction=1, shuffle=True, seed=number)
            frame.write_csv(file, include_header=False)
            written += len(frame)
    return written


def chunks(rows: int, seed: int) -> Iterator[pl.DataFrame]:
    """Yield about `rows` interactions, chunk by chunk of whole users."""
    users, items = max(rows // USERS_ITEMS[0], 1), max(rows // USERS_ITEMS[1], 1)
    for number, first in enumerate(range(0, users, CHUNK // USERS_ITEMS[0])):
        rng = np.random.default_rng([seed, number])
        count = min(CHUNK // USERS_ITEMS[0], users - first)
        yield chunk(rng, np.arange(first + 1, first + count + 1), items)


def write_items(path: Path, rows: int) -> Path:
    """Write a table of the items of about `rows` interactions."""
    rng = np.random.default_rng(rows)
    item = ids_of(np.arange(1, max(rows // USERS_ITEMS[1], 1) + HEAD + 2))
    brand = pl.Series("brand", [f"b{one}" for one in rng.integers(0, 5000, len(item))])
    price = pl.Series("price", rng.gamma(2, 10, len(item)))
    vector = pl.Series("vector", rng.normal(size=(len(item), 8)).astype(np.float32))
    frame = pl.DataFrame({"item_id": item}).with_columns(brand, price, vector)
    frame.unique("item_id").write_parquet(path)
    return path


def ids_of(rank: np.ndarray) -> np.ndarray:
    """Return the items' scattered ids by their ranks by popularity."""
    ids: np.ndarray = rank * 2_654_435_761 % ITEM_IDS + 1
    return ids


def chunk(rng: np.random.Generator, users: np.ndarray, items: int) -> pl.DataFrame:
    """Return all rows of the users: lengths geometric, items by a Zipf-Mandelbrot law."""
    mean = USERS_ITEMS[0] - LEAST_LENGTH
    owner = np.repeat(users, LEAST_LENGTH - 1 + rng.geometric(1 / (mean + 1), len(users)))
    reach = (items + 1 + HEAD) / (1 + HEAD)
    rank = ((1 + HEAD) * reach ** rng.random(len(owner)) - HEAD).astype(np.int64)
    item = ids_of(rank)
    kinds, shares = list(BEHAVIOURS), np.cumsum(list(BEHAVIOURS.values()))
    kind = np.searchsorted(shares[:-1], rng.random(len(owner)))
    return pl.DataFrame(
        {
            "user": owner,
            "item": item,
            "category": item % CATEGORIES + 1,
            "behaviour": pl.Series(kinds).gather(kind),
            "time": START + rng.integers(0, SECONDS, len(owner)),
        }
    )


def prepare_plainly(source: Path, folder: Path) -> None:
    """Do what ComiRec's scripts do: data.py's filter, ids, split and files; category.py's file."""
    users: dict[int, list[tuple[int, int]]] = {}
    count: dict[int, int] = {}
    with open(source) as file:
        for line in file:
            fields = line.strip().split(",")
            if fields[3] != "pv":
                continue
            user, item, when = int(fields[0]), int(fields[1]), int(fields[4])
            count[item] = count.get(item, 0) + 1
            users.setdefault(user, []).append((item, when))
    by_count = sorted(count.items(), key=lambda pair: pair[1], reverse=True)
    ids = {item: rank for rank, (item, times) in enumerate(by_count, start=1) if times >= 5}
    active = [user for user, own in users.items() if sum(item in ids for item, _ in own) >= 5]
    random.seed(1230)
    random.shuffle(active)
    numbers = {user: number for number, user in enumerate(active)}
    ends = [0, int(len(active) * 0.8), int(len(active) * 0.9), len(active)]
    for split, first, end in zip(("train", "valid", "test"), ends, ends[1:], strict=False):
        with open(folder / f"taobao_{split}.txt", "w") as out:
            for user in active[first:end]:
                own = sorted(users[user], key=lambda pair: pair[1])
                known = (ids[item] for item, _ in own if item in ids)
                for place, item in enumerate(known):
                    out.write(f"{numbers[user]},{item},{place}\n")
    with open(folder / "taobao_item_map.txt", "w") as out:
        for item, number in ids.items():
            out.write(f"{item},{number}\n")
    category: dict[int, int] = {}
    with open(source) as file:
        for line in file:
            fields = line.strip().split(",")
            if fields[3] == "pv" and int(fields[1]) in ids:
                category[ids[int(fields[1])]] = int(fields[2])
    with open(folder / "taobao_item_cate.txt", "w") as out:
        for number, own_kind in category.items():
            out.write(f"{number},{own_kind}\n")


if __name__ == "__main__":
    main()
