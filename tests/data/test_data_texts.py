"""ComiRec's text files, replaced after a dataset was prepared from them, are detected."""

import errno
import json
import os
import shlex
from pathlib import Path

import pytest

from helpers.builders_data import write_comirec
from helpers.commands import QUICK, comirec, reprise
from reprise import durable
from reprise.data import texts
from reprise.data.dataset import SPLITS, open_dataset
from reprise.data.prepare import locate
from reprise.errors import DataError

YEARS = 10**9  # seconds
LONGER = {
    split: [(10 * place + user, (user + n) % 4 + 1, n) for user in range(3) for n in range(4)]
    for place, split in enumerate(SPLITS)
}


def refused(data: Path, name: str = "mine") -> str:
    with pytest.raises(DataError) as refusal:
        locate(data, name)
    assert refusal.value.key == "texts_replaced"
    return str(refusal.value.values["command"])


def add_line(source: Path, line: str, kind: str = "train") -> None:
    """Add a line to a text, whose time of change moves far from the dataset's."""
    file = source / f"mine_{kind}.txt"
    file.write_text(file.read_text() + line)
    os.utime(file, (2 * YEARS, 2 * YEARS))


def forget(folder: Path) -> None:
    """Make the dataset one of an older version, which remembers no texts."""
    meta = json.loads((folder / "meta.json").read_text())
    del meta["source"]["texts"]
    (folder / "meta.json").write_text(json.dumps(meta))


@pytest.mark.parametrize("older", [False, True])
@pytest.mark.parametrize(("place", "prepared"), [("mine_data", "mine"), ("mine", "mine_prepared")])
def test_locate_refuses_replaced_texts_and_prints_the_command(
    tmp_path: Path, place: str, prepared: str, older: bool
) -> None:
    source = write_comirec(tmp_path / place, prefix="mine")
    folder = locate(tmp_path, "mine")
    assert folder == tmp_path / prepared
    if older:
        forget(folder)
    before = open_dataset(folder)
    add_line(source, "77,1,1\n77,2,2\n77,3,3\n")
    command = refused(tmp_path)
    assert locate(tmp_path, "mine", trained_on=before.fingerprint) == folder
    with pytest.raises(DataError):
        locate(tmp_path, "mine", trained_on="another's")
    done = reprise(*shlex.split(command)[1:])
    assert done.returncode == 0, done.stderr
    assert locate(tmp_path, "mine") == folder
    assert open_dataset(folder).fingerprint != before.fingerprint


@pytest.mark.parametrize("older", [False, True])
def test_locate_accepts_a_copy_of_the_same_texts(tmp_path: Path, older: bool) -> None:
    """A copy has another time, and the same digest."""
    source = write_comirec(tmp_path / "mine_data", prefix="mine")
    folder = locate(tmp_path, "mine")
    if older:
        forget(folder)
    add_line(source, "")
    assert locate(tmp_path, "mine") == folder


def test_locate_reads_no_text_with_the_same_size_and_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_comirec(tmp_path / "mine_data", prefix="mine")
    folder = locate(tmp_path, "mine")
    monkeypatch.delattr(texts, "file_digest")
    assert locate(tmp_path, "mine") == folder


def test_locate_detects_a_change_of_each_text(tmp_path: Path) -> None:
    source = write_comirec(tmp_path / "mine_data", prefix="mine")
    locate(tmp_path, "mine")
    (source / "mine_item_cate.txt").unlink(missing_ok=True)
    (source / "mine_item_map.txt").unlink(missing_ok=True)
    for name in ("valid.txt", "test.txt", "item_map.txt", "item_cate.txt"):
        file = source / f"mine_{name}"
        kept = file.read_bytes() if file.exists() else None
        file.write_bytes((kept or b"") + b"9,1,1\n")
        refused(tmp_path)
        if kept is None:
            file.unlink()
        else:
            file.write_bytes(kept)


def test_locate_prints_the_protocol_of_a_dataset_prepared_by_hand(tmp_path: Path) -> None:
    source = write_comirec(tmp_path / "mine_data", LONGER, prefix="mine")
    command = ["prepare", source, "--name", "mine", "--data-dir", tmp_path]
    done = reprise(*command, "--protocol", "leave-one-out")
    assert done.returncode == 0, done.stderr
    add_line(source, "77,1,1\n77,2,2\n77,3,3\n")
    assert "--protocol leave-one-out --overwrite" in refused(tmp_path)
    forget(tmp_path / "mine")
    assert "--protocol leave-one-out --overwrite" in refused(tmp_path)


def test_locate_ignores_texts_of_other_sources(tmp_path: Path) -> None:
    """Data made of another folder, or by another reader, has nothing to do with texts beside it."""
    elsewhere = write_comirec(tmp_path / "elsewhere", prefix="mine")
    done = reprise("prepare", elsewhere, "--name", "mine", "--data-dir", tmp_path)
    assert done.returncode == 0, done.stderr
    beside = write_comirec(tmp_path / "mine_data", prefix="mine")
    add_line(beside, "77,1,1\n77,2,2\n77,3,3\n")
    assert locate(tmp_path, "mine") == tmp_path / "mine"
    assert texts.replaced(Path()) is None


def test_locate_refuses_texts_that_cannot_be_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether they were replaced is not known."""
    write_comirec(tmp_path / "mine_data", prefix="mine")
    locate(tmp_path, "mine")

    def entries(folder: Path) -> list[Path]:
        assert folder.name == "mine_data"
        raise PermissionError(errno.EACCES, "Permission denied", str(folder))

    monkeypatch.setattr(durable, "entries", entries)
    with pytest.raises(DataError, match=r"Cannot list .*mine_data: Permission denied"):
        locate(tmp_path, "mine")


def test_train_resumes_with_its_stored_data_and_reports_so(tmp_path: Path) -> None:
    source = tmp_path / "data" / "small_data"
    source.mkdir(parents=True)
    for number, split in enumerate(("train", "valid", "test")):
        users = range(20 * number, 20 * number + 20)
        rows = [f"{u},{(7 * u + 3 * t) % 40 + 1},{t}\n" for u in users for t in range(8)]
        (source / f"small_{split}.txt").write_text("".join(rows))
    first = reprise("train", *QUICK, "--steps", 5, cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    with (source / "small_train.txt").open("a") as file:
        file.write("".join(f"99,{t + 1},{t}\n" for t in range(8)))
    command = "reprise prepare data/small_data --name small --data-dir data --overwrite"
    for more in (["--data-dir", "data"], []):
        again = reprise("train", *QUICK, "--steps", 10, *more, cwd=tmp_path)
        assert again.returncode == 0, again.stderr
        assert command in again.stdout + again.stderr
    refusals = (
        reprise("train", *QUICK[:-1], "other", "--steps", 5, cwd=tmp_path),
        comirec("--dataset", "small", "--model_type", "DNN", "--name", "x", cwd=tmp_path),
    )
    for refusal in refusals:
        assert refusal.returncode == 3
        assert refusal.stderr.strip().endswith(command)


def test_locate_names_a_folder_of_texts_that_cannot_be_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That its texts are the same is then not known."""
    source = write_comirec(tmp_path / "mine_data", prefix="mine")
    locate(tmp_path, "mine")
    entries = durable.entries

    def refuse(folder: Path) -> list[Path]:
        if folder == source:
            raise PermissionError(13, "Permission denied")
        return entries(folder)

    monkeypatch.setattr(durable, "entries", refuse)
    with pytest.raises(DataError) as refusal:
        locate(tmp_path, "mine")
    assert (refusal.value.key, refusal.value.values["path"]) == ("folder_unreadable", source)
