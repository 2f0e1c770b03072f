"""Every file of a run damaged in every way: it is loaded as saved, or refused."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations, product
from pathlib import Path
from typing import Any

import pytest

from helpers.commands import evaluating, run_small, small_config
from reprise.checkpoints import store
from reprise.errors import RepriseError
from reprise.runs.folder import (
    Resumption,
    RunFolder,
    Source,
    check_identity,
    find_checkpoint,
    load_checkpoint,
    locked,
    record_events,
    resume,
)
from reprise.runs.loop import evaluate_state
from reprise.runs.session import Request, run_session
from reprise.show.run import RunConsole, Voice
from reprise.text.messages import Messages
from reprise.training.state import Best, Progress, Snapshot

pytestmark = pytest.mark.users_bits

RECALLS = (0.2, 0.5, 0.3, 0.4, 0.1, 0.3, 0.2)  # four evaluations, a rewind, three more
BEST, MIDDLE, LATEST = NAMES = ("ckpt-8", "ckpt-16-b1", "ckpt-20-b1")  # oldest first
SIZES: dict[str, Any] = {"embedding_dim": 16, "hidden_size": 16}  # item rows of over a page
LARGEST = ("rows.npy", "MANIFEST.json", "state.json")  # hit in more places
PAGE = 4096

Harm = Callable[[Path], None]
Count = Callable[[str, object], None]


@dataclass(frozen=True)
class Original:
    """A whole run, and what each of its checkpoints is."""

    folder: RunFolder
    identity: dict[str, Any]
    digests: dict[str, str]
    progress: dict[str, Progress]

    def best_among(self, names: list[str]) -> str:
        """Return the checkpoint of the highest metric, the first on ties."""
        return max(names, key=lambda name: self.progress[name].metric or 0.0)


@pytest.fixture(scope="module")
def fast_root() -> Iterator[Path]:
    """A folder in memory, where there is one."""
    memory = Path("/dev/shm")
    usable = memory.is_dir() and os.access(memory, os.W_OK)
    with tempfile.TemporaryDirectory(dir=memory if usable else None) as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def original(small_data: Path, fast_root: Path) -> Original:
    """A run with a best older than the newest two, which are on the branch after it."""
    recalls = iter(RECALLS)

    def scripted(task: Any, state: Any, stop: Any) -> dict[str, float]:
        return evaluate_state(task, state, stop) | {"recall@10": next(recalls)}

    with evaluating(scripted):
        run_small(small_data, fast_root, max_steps=16, **SIZES)
        _, _, folder = run_small(small_data, fast_root, max_steps=20, resume_from="best", **SIZES)
    found = store.scan(folder.checkpoints, on_damage=lambda path, reason: pytest.fail(str(reason)))
    assert [checkpoint.path.name for checkpoint in found] == list(NAMES)
    return Original(
        folder,
        dict(found[-1].identity),
        {checkpoint.path.name: store.load(checkpoint).digest() for checkpoint in found},
        {checkpoint.path.name: checkpoint.progress for checkpoint in found},
    )


class Trial:
    """A copy of the run to be damaged: hard links, so that what is unchanged keeps its inode."""

    def __init__(self, original: Original, root: Path) -> None:
        self.original = original
        self.folder = RunFolder(root / "trial")
        shutil.rmtree(self.folder.path, ignore_errors=True)
        shutil.copytree(original.folder.path, self.folder.path, copy_function=os.link)

    def checkpoint(self, name: str) -> Path:
        return self.folder.checkpoints / name

    def judge(self, damaged: set[str], source: Source) -> None:
        """Resume: what comes must be what was saved."""
        before = {name: inodes(self.checkpoint(name)) for name in NAMES}
        whole = [name for name in NAMES if name not in damaged]
        said: list[str] = []
        resumption = resume(
            self.folder, self.original.identity, source, lambda key, **values: said.append(key)
        )
        if whole:
            assert resumption is not None
            best = self.original.best_among(whole)
            self._check_loaded(resumption, whole[-1] if source == "latest" else best)
            assert said.count("best_lost") == (BEST in damaged)
            assert set(said) <= {"quarantined", "best_lost"}
        else:
            assert resumption is None
        set_aside = self.folder.checkpoints / store.QUARANTINE
        for name in NAMES:
            if (set_aside / name).is_symlink() or (set_aside / name).exists():
                assert name in damaged
                assert inodes(set_aside / name) == before[name]
            else:  # damage to weights that were not asked for is found when they are
                assert inodes(self.checkpoint(name)) == before[name]

    def _check_loaded(self, resumption: Resumption, name: str) -> None:
        original, snapshot = self.original, resumption.snapshot
        assert resumption.checkpoint.path.name == name
        arrays_as_stored = Snapshot(snapshot.arrays, original.progress[name])
        assert arrays_as_stored.digest() == original.digests[name]
        assert resumption.checkpoint.progress == original.progress[name]
        assert snapshot.progress.best == Best(0.5, 8, 0)
        if not resumption.rewound:
            assert snapshot.progress == original.progress[name]


def inodes(path: Path) -> dict[str, int]:
    """Return the inode of each file under `path`, and its own."""
    found = {str(child.relative_to(path)): child.lstat().st_ino for child in path.rglob("*")}
    return found | ({".": path.lstat().st_ino} if path.is_symlink() or path.exists() else {})


def rewritten(change: Callable[[bytes], bytes]) -> Harm:
    def harm(path: Path) -> None:
        content = path.read_bytes()
        path.unlink()  # the other links keep theirs
        path.write_bytes(change(content))

    return harm


def flipped(at: int) -> Harm:
    return rewritten(lambda old: old[:at] + bytes([old[at] ^ (1 << at % 8)]) + old[at + 1 :])


def zeroed(start: int, size: int) -> Harm:
    return rewritten(
        lambda old: old[:start] + bytes(len(old[start : start + size])) + old[start + size :]
    )


def as_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def as_dangling_link(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.with_name("nowhere"))


def harms(content: bytes, header: int, flips: int) -> Iterator[Harm]:
    """Yield ways to damage a file of this content, each leaving another one: a bit flipped in each
    of the first `header` bytes and about `flips` others, and more.
    """
    size = len(content)
    for at in sorted({*range(min(header, size)), *range(0, size, max(1, size // flips))}):
        yield flipped(at)
    blocks = {*range(512, size, 4 * 512), *range(PAGE, size, PAGE)}
    for length in sorted({0, 1, size // 2, size - 1, *blocks} & set(range(size))):
        yield rewritten(lambda old, length=length: old[:length])  # type: ignore[misc]
    for start in range(0, size, PAGE):
        if any(content[start : start + PAGE]):
            yield zeroed(start, PAGE)
    for garbage in (b"\0", b"\n", content or b"x"):
        yield rewritten(lambda old, garbage=garbage: old + garbage)  # type: ignore[misc]
    yield Path.unlink
    yield as_folder
    yield as_dangling_link


SOURCES: tuple[Source, ...] = ("latest", "best")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("places", "least"),
    [
        pytest.param((8, 4), 200, id="few"),
        pytest.param((128, 64), 1000, id="many", marks=pytest.mark.long),
    ],
)
def test_checkpoint_with_a_damaged_file_is_never_loaded(
    original: Original,
    fast_root: Path,
    name: str,
    places: tuple[int, int],
    least: int,
    record_property: Count,
) -> None:
    """Scenarios 20, 21, 26, 27 (lightning#688, transformers#35782, torch.save, Orbax): flips, cuts,
    zeroed pages, garbage, folders, links, deletion. `places`: of flips in the larger files.
    """
    cases = 0
    for file in sorted((original.folder.checkpoints / name).iterdir()):
        header, flips = places if file.name in LARGEST else (8, 12)
        for harm in harms(file.read_bytes(), header, flips):
            trial = Trial(original, fast_root)
            harm(trial.checkpoint(name) / file.name)
            trial.judge({name}, SOURCES[cases % 2])
            cases += 1
    assert cases >= least
    record_property("damages to files, survived", cases)


def test_checkpoint_with_a_file_of_another_is_never_loaded(
    original: Original, fast_root: Path, record_property: Count
) -> None:
    """Scenario 27 (torch.save, safetensors, Orbax): files of two checkpoints swapped, and names."""
    cases = 0
    for (one, two), source in product(combinations(NAMES, 2), SOURCES):
        for file in sorted((original.folder.checkpoints / one).iterdir()):
            trial = Trial(original, fast_root)
            pair = (trial.checkpoint(one) / file.name, trial.checkpoint(two) / file.name)
            if pair[0].read_bytes() != pair[1].read_bytes():
                swap(*pair)
                trial.judge({one, two}, source)
                cases += 1
        trial = Trial(original, fast_root)
        swap(trial.checkpoint(one), trial.checkpoint(two))
        trial.judge({one, two}, source)
        cases += 1
    assert cases >= 60
    record_property("damages to files, survived", cases)


def swap(one: Path, two: Path) -> None:
    aside = one.with_name("aside")
    one.rename(aside)
    two.rename(one)
    aside.rename(two)


def empty_folder(path: Path) -> None:
    shutil.rmtree(path)
    path.mkdir()


def plain_file(path: Path) -> None:
    shutil.rmtree(path)
    path.write_text("not a folder")


def link_to_nowhere(path: Path) -> None:
    shutil.rmtree(path)
    path.symlink_to("nowhere")


def folder_inside(path: Path) -> None:
    inner = path.with_name("aside")
    path.rename(inner)
    path.mkdir()
    inner.rename(path / path.name)


FOLDER_HARMS = (shutil.rmtree, empty_folder, plain_file, link_to_nowhere, folder_inside)


@pytest.mark.parametrize("harm", FOLDER_HARMS, ids=lambda harm: harm.__name__)
def test_checkpoint_with_a_damaged_folder_is_never_loaded(
    original: Original, fast_root: Path, harm: Harm, record_property: Count
) -> None:
    """Any one, any two and all of them, quarantined copies of earlier damage being there."""
    cases = 0
    for size, source in product((1, 2, 3), SOURCES):
        for names in combinations(NAMES, size):
            trial = Trial(original, fast_root)
            for name in names:
                harm(trial.checkpoint(name))
            trial.judge(set(names), source)
            cases += 1
    record_property("damages to files, survived", cases)


@pytest.mark.parametrize("name", ["run.json", "metrics.jsonl", "checkpoints/metrics.jsonl", "LOCK"])
def test_resume_does_not_depend_on_damaged_files_of_the_run(
    original: Original, fast_root: Path, name: str, record_property: Count
) -> None:
    """Scenarios 28, 43 (TensorFlow's pointer file, tensorboard#3732): the checkpoints alone say
    what is so; or one clear refusal.
    """
    text = original.folder.metrics.read_text()
    cases, refusals = 0, []
    for harm in harms((original.folder.path / name).read_bytes(), header=64, flips=64):
        trial = Trial(original, fast_root)
        harm(trial.folder.path / name)
        cases += 1
        try:
            resumption = start(trial.folder, original.identity)
        except RepriseError as error:
            refusals.append(error.key)
            assert (trial.folder.path / name).is_dir()
            continue
        assert resumption is not None
        assert resumption.snapshot.digest() == original.digests[LATEST]
        assert trial.folder.metrics.read_text() == text
        record = json.loads(trial.folder.record.read_text())
        assert record["identity"] == original.identity
        assert record["events"][-1]["event"] == "resumed"
    # A folder in its place: one is read before it is written.
    keys = {"run.json": "checkpoint_unreadable", "LOCK": "write_refused_new"}
    assert refusals == [keys.get(name, "write_refused")]
    record_property("damages to files, survived", cases)


def start(folder: RunFolder, identity: dict[str, Any]) -> Resumption | None:
    """Do with the folder what a session's start does."""
    with locked(folder):
        check_identity(folder, identity, lambda key, **values: None)
        resumption = resume(folder, identity, "latest", lambda key, **values: None)
        assert resumption is not None
        record_events(folder, identity, {}, {}, [{"event": "resumed"}])
    return resumption


def nothing(path: Path) -> None:
    """Leave it as it is."""


SIDE_HARMS: tuple[Harm, ...] = (nothing, Path.unlink, as_folder, as_dangling_link, flipped(3))


def test_training_does_not_depend_on_damaged_logs(
    small_data: Path, tmp_path: Path, record_property: Count
) -> None:
    """Scenarios 18, 43 (transformers#17265, tensorboard#3732): train.log and TensorBoard's files,
    in whole sessions.
    """

    def session(runs: Path, steps: int) -> RunFolder:
        config = small_config(max_steps=steps)
        request = Request(config, small_data / "small", RunFolder(runs / config.folder_name))
        console = RunConsole(Voice(Messages("en")), request.config)
        try:
            assert run_session(request, console).exit_code == 0
        finally:
            console.close()
        return request.folder

    session(tmp_path / "begun", 4)
    digests = set()
    for number, harm in enumerate(SIDE_HARMS):
        runs = tmp_path / str(number)
        shutil.copytree(tmp_path / "begun", runs)
        logs = [*runs.glob("*/train.log"), *runs.glob("*/tensorboard/*/events*")]
        assert len(logs) == 3  # of the results, too
        for log in logs:
            harm(log)
        latest = find_checkpoint(session(runs, 8).path, "latest", pytest.fail)
        digests.add(load_checkpoint(latest).digest())
    assert len(digests) == 1
    record_property("damages to files, survived", 2 * (len(SIDE_HARMS) - 1))
