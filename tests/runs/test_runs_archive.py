"""Archives: a run is imported completely or not at all."""

import io
import json
import lzma
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from helpers.checkpoints import harm_file, no_warning, warnings_into
from helpers.commands import check_same_end, run_small, small_disk, state_digest
from helpers.racers import raced
from reprise import durable
from reprise.checkpoints import store
from reprise.errors import CheckpointError, DataError, UsageError, WriteError
from reprise.runs.folder import RunFolder, locked
from reprise.runs.manage import archive


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in ("LOCK", "trackers.json")
    }


@pytest.fixture
def packed(at_step_12: RunFolder, tmp_path: Path) -> Path:
    """The run of twelve steps in a plain archive."""
    archive.export(at_step_12, tmp_path / "run.tar", no_warning)
    return tmp_path / "run.tar"


def check_nothing_left(runs: Path) -> None:
    assert not runs.exists() or list(runs.iterdir()) == []


@pytest.mark.parametrize("suffix", archive.SUFFIXES)
def test_archive_round_trip_restores_the_run(
    at_step_12: RunFolder, tmp_path: Path, suffix: str
) -> None:
    file = tmp_path / f"run{suffix}"
    facts = archive.export(at_step_12, file, no_warning)
    assert facts["bytes"] == file.stat().st_size
    assert list(tmp_path.iterdir()) == [file]
    folder = archive.import_(file, tmp_path / "runs")
    assert folder.path == tmp_path / "runs" / at_step_12.path.name
    assert contents(folder.path) == contents(at_step_12.path)
    assert len(contents(folder.path)) == facts["files"]
    assert "checkpoints/metrics.jsonl" in contents(folder.path)
    record = folder.record.stat().st_mtime
    assert record == int(at_step_12.record.stat().st_mtime)
    with pytest.raises(UsageError, match="already exists"):
        archive.import_(file, tmp_path / "runs")
    with pytest.raises(UsageError, match="already exists"):
        archive.export(at_step_12, file, no_warning)


RACER = """
import sys
from pathlib import Path
from reprise.errors import UsageError
from reprise.runs.manage import archive
source, runs, rounds = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
print("ready", flush=True)
sys.stdin.readline()
won = 0
for number in range(rounds):
    try:
        archive.import_(source, runs / str(number))
        won += 1
    except UsageError:
        pass
print(won)
"""


@pytest.mark.parametrize(
    "rounds", [pytest.param(4, id="few"), pytest.param(200, id="many", marks=pytest.mark.long)]
)
def test_import_lets_one_of_two_racing_processes_win_with_all_files(
    at_step_12: RunFolder, packed: Path, tmp_path: Path, rounds: int
) -> None:
    won = map(int, raced(RACER, packed, tmp_path / "runs", rounds, racers=2))
    assert sum(won) == rounds
    expected = contents(at_step_12.path)
    for number in range(rounds):
        here = tmp_path / "runs" / str(number)
        assert [path.name for path in here.iterdir()] == [at_step_12.path.name]
        assert contents(here / at_step_12.path.name) == expected


def test_archive_import_resumes_exactly(
    small_data: Path, undisturbed: RunFolder, packed: Path, tmp_path: Path
) -> None:
    folder = archive.import_(packed, tmp_path / "runs")
    run_small(small_data, tmp_path / "runs")
    check_same_end(folder, undisturbed)


def test_archive_export_of_a_running_run_skips_damaged_and_partial_checkpoints(
    twelve_steps: RunFolder, tmp_path: Path
) -> None:
    digest = state_digest(twelve_steps)
    harm_file(twelve_steps.checkpoints / "ckpt-8" / "rows.npy", "flip")
    said: list[str] = []
    with locked(twelve_steps):
        (twelve_steps.checkpoints / ".draft-1-ckpt-16").mkdir()
        (twelve_steps.checkpoints / ".draft-1-ckpt-16" / "rows.npy").touch()
        (twelve_steps.path / ".draft-run.json").touch()
        (twelve_steps.path / "gone").symlink_to("nowhere")
        archive.export(twelve_steps, tmp_path / "run.tgz", warnings_into(said))
    assert said == ["damaged_ignored"]
    folder = archive.import_(tmp_path / "run.tgz", tmp_path / "runs")
    assert state_digest(folder) == digest
    found = contents(folder.path)
    assert not [name for name in found if "ckpt-8" in name or "draft" in name or "gone" in name]


def test_archive_export_refuses_if_a_checkpoint_disappears_meanwhile(
    twelve_steps: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verify = store.verify

    def superseding(checkpoint: store.Checkpoint) -> None:
        verify(checkpoint)
        if checkpoint.progress.step == 12:
            durable.discard(twelve_steps.checkpoints / "ckpt-8")

    monkeypatch.setattr(store, "verify", superseding)
    with pytest.raises(CheckpointError, match=r"ckpt-8.*changed while it was read"):
        archive.export(twelve_steps, tmp_path / "run.tar", no_warning)
    assert not (tmp_path / "run.tar").exists()


def test_archive_export_refuses_a_bad_place_and_reports_a_full_disk(
    twelve_steps: RunFolder, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"FILE\.tar\.zst"):
        archive.export(twelve_steps, tmp_path / "run.zip", no_warning)
    with pytest.raises(DataError, match="No such file"):
        archive.export(twelve_steps, tmp_path / "none" / "run.tar", no_warning)
    before = set(tmp_path.iterdir())
    with small_disk(20_000), pytest.raises(WriteError):
        archive.export(twelve_steps, tmp_path / "run.tar", no_warning)
    superseded = tmp_path / "ckpt-1" / "rows.npy"
    with (
        tarfile.open(fileobj=io.BytesIO(), mode="w") as unfinished,
        pytest.raises(CheckpointError, match="changed while it was read"),
    ):
        archive._add(unfinished, superseded, "rows.npy")
    shutil.rmtree(twelve_steps.checkpoints)
    with pytest.raises(CheckpointError, match="no intact checkpoint"):
        archive.export(twelve_steps, tmp_path / "run.tar", no_warning)
    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.98])
@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tar.zst"])
def test_archive_import_of_a_truncated_file_imports_nothing(
    at_step_12: RunFolder, tmp_path: Path, suffix: str, share: float
) -> None:
    file = tmp_path / f"run{suffix}"
    archive.export(at_step_12, file, no_warning)
    ends = file.read_bytes().rfind(b"REPRISE.json") if suffix == ".tar" else file.stat().st_size
    file.write_bytes(file.read_bytes()[: int(share * ends)])
    with pytest.raises(DataError, match="cannot be imported"):
        archive.import_(file, tmp_path / "runs")
    check_nothing_left(tmp_path / "runs")


@pytest.mark.parametrize("content", [b"", b"user,item\n1,2\n"])
def test_archive_import_refuses_other_files_in_one_line(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "run.tar.gz"
    file.write_bytes(content)
    with pytest.raises(DataError, match="cannot be imported") as refusal:
        archive.import_(file, tmp_path / "runs")
    assert "contains no run" in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_archive_import_reports_a_compressed_file_of_a_few_bytes_as_truncated(
    at_step_12: RunFolder, tmp_path: Path
) -> None:
    """So much of it that it opens, so little that nothing is unpacked."""
    file = tmp_path / "run.tar.zst"
    archive.export(at_step_12, file, no_warning)
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(DataError, match=r"truncated: no REPRISE\.json"):
        archive.import_(file, tmp_path / "runs")


def test_archive_import_names_the_file_of_a_flipped_bit(packed: Path, tmp_path: Path) -> None:
    with tarfile.open(packed) as members:
        at = next(one for one in members if one.name.endswith("ckpt-12/rows.npy")).offset_data
    content = bytearray(packed.read_bytes())
    content[at + 1000] ^= 1
    packed.write_bytes(content)
    with pytest.raises(DataError, match=r"ckpt-12/rows.npy: SHA-256 differs"):
        archive.import_(packed, tmp_path / "runs")
    check_nothing_left(tmp_path / "runs")


@pytest.mark.parametrize("suffix", [".tar.gz", ".tar.zst"])
def test_archive_import_of_a_compressed_file_with_a_hole_imports_nothing(
    at_step_12: RunFolder, tmp_path: Path, suffix: str
) -> None:
    file = tmp_path / f"run{suffix}"
    archive.export(at_step_12, file, no_warning)
    harm_file(file, "zeros")
    with pytest.raises(DataError, match="cannot be imported"):
        archive.import_(file, tmp_path / "runs")
    check_nothing_left(tmp_path / "runs")


def test_archive_import_accepts_xz_and_refuses_a_damaged_one(packed: Path, tmp_path: Path) -> None:
    file = tmp_path / "run.tar.xz"
    file.write_bytes(lzma.compress(packed.read_bytes(), preset=0))
    assert archive.import_(file, tmp_path / "runs").record.is_file()
    harm_file(file, "zeros")
    with pytest.raises(DataError, match="cannot be imported"):
        archive.import_(file, tmp_path / "others")
    check_nothing_left(tmp_path / "others")


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


EVIL: dict[str, Callable[[str], tarfile.TarInfo]] = {
    "above": lambda run: member("../evil"),
    "above from inside": lambda run: member(f"{run}/../../evil"),
    "absolute": lambda run: member("/evil"),
    "another top": lambda run: member("other/evil"),
    "hidden": lambda run: member(f"{run}/.evil"),
    "nameless": lambda run: member(f"{run}//evil"),
    "a symbolic link": lambda run: member(f"{run}/evil", tarfile.SYMTYPE, "/evil"),
    "a hard link": lambda run: member(f"{run}/evil", tarfile.LNKTYPE, f"{run}/run.json"),
    "a pipe": lambda run: member(f"{run}/evil", tarfile.FIFOTYPE),
    "a folder": lambda run: member(f"{run}/evil", tarfile.DIRTYPE),
    "the same again": lambda run: member(f"{run}/run.json"),
    "not in the digests": lambda run: member(f"{run}/evil"),
}


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("kind", EVIL)
def test_archive_import_refuses_members_outside_the_run(
    packed: Path, at_step_12: RunFolder, tmp_path: Path, kind: str, first: bool
) -> None:
    evil, made = tmp_path / "evil.tar", EVIL[kind](at_step_12.path.name)
    with tarfile.open(packed) as source, tarfile.open(evil, "w") as target:
        members = source.getmembers()
        for one in [made, *members] if first else [*members[:-1], made, members[-1]]:
            target.addfile(one, source.extractfile(one) if one is not made else io.BytesIO())
    before = contents(tmp_path)
    with pytest.raises(DataError, match="cannot be imported"):
        archive.import_(evil, tmp_path / "runs")
    assert contents(tmp_path) == before
    check_nothing_left(tmp_path / "runs")


def rebuilt(packed: Path, change: Callable[[dict[str, object]], object]) -> None:
    """Change what an archive's end says."""
    with tarfile.open(packed) as source:
        members = {one.name: source.extractfile(one).read() for one in source}  # type: ignore[union-attr]
    members["REPRISE.json"] = json.dumps(change(json.loads(members["REPRISE.json"]))).encode()
    with tarfile.open(packed, "w") as target:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            target.addfile(info, io.BytesIO(content))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda facts: facts | {"schema": 9}, "schema 9"),
        (lambda facts: facts | {"run": "other"}, "'other'"),
        (lambda facts: facts | {"files": facts["files"] | {"more": {}}}, "more: SHA-256 differs"),
        (lambda facts: [facts], "unexpected content"),
    ],
)
def test_archive_import_refuses_checksums_of_another_run(
    packed: Path, tmp_path: Path, change: Callable[[dict[str, object]], object], said: str
) -> None:
    rebuilt(packed, change)
    with pytest.raises(DataError, match=said):
        archive.import_(packed, tmp_path / "runs")
    check_nothing_left(tmp_path / "runs")


def test_archive_import_refuses_garbage_and_reports_a_full_disk(
    packed: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="No such file"):
        archive.import_(tmp_path / "none.tar", tmp_path / "runs")
    (tmp_path / "text.tar").write_text("no archive" * 200)
    with pytest.raises(DataError, match="cannot be imported"):
        archive.import_(tmp_path / "text.tar", tmp_path / "runs")
    with small_disk(3_000), pytest.raises(WriteError):
        archive.import_(packed, tmp_path / "runs")
    check_nothing_left(tmp_path / "runs")
