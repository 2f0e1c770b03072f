"""The ONNX user tower: every model's interests, in files of either form; nothing if they differ."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from helpers.builders_stored import KINDS, stored_like
from helpers.checkpoints import no_warning
from helpers.effort import some_at_length
from helpers.pages import readme_code
from reprise.errors import CheckpointError, UsageError
from reprise.runs.folder import RunFolder
from reprise.runs.stored import StoredModel, load
from reprise.serving import tower
from reprise.serving.export import Extras, write
from reprise.serving.index import Kind
from reprise.serving.recommender import Recommender

N, HISTORIES = 10, 1250  # a fifth of them is empty
WITH_TOWER = Extras(tower_tolerance=tower.TOLERANCE)


@pytest.fixture(scope="module")
def plain(undisturbed: RunFolder, small_data: Path) -> StoredModel:
    return load(undisturbed.path, "best", no_warning, lambda name: small_data / name)


@pytest.mark.parametrize("kind", some_at_length(KINDS, ["ComiRec-SA", "MostPop", "MIND, modern"]))
def test_tower_of_every_model_with_an_index_lists_what_the_model_recommends(
    kind: str, plain: StoredModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The interests are JAX's, and the lists that README.md's lines make of them, with the index,
    are the model's, but for neighbours whose scores differ by less than is allowed. On some CPUs,
    routing makes more of a difference in rounding.
    """
    stored = stored_like(plain, **KINDS[kind])
    allowed = 1e-4 if kind == "MIND, modern" else tower.TOLERANCE
    made = write(stored, None, tmp_path / "export", Extras(allowed, Kind("flat")))
    assert made.tower is not None
    assert made.tower["check"]["largest_difference"] <= allowed
    length, interests = stored.config.maxlen, stored.config.num_interest
    assert made.tower["inputs"] == {
        "history": {"type": "int32", "shape": ["batch", length]},
        "lengths": {"type": "int32", "shape": ["batch"]},
        **({"times": {"type": "int32", "shape": ["batch", length + 1]}} if kind == "times" else {}),
    }
    shape = ["batch", interests, stored.config.embedding_dim]
    assert made.tower["outputs"]["interests"]["shape"] == shape

    history, lengths = tower.random_histories(stored.num_items, length, HISTORIES, seed=1)
    session = onnxruntime.InferenceSession(tmp_path / "export" / tower.FILE)
    times = tower.random_times(lengths, length, seed=2) if kind == "times" else None
    fed = {"history": history, "lengths": lengths} | ({} if times is None else {"times": times})
    (found,) = session.run(None, fed)
    expected = stored.retriever.interests(history, lengths, times)
    assert_allclose(found[lengths > 0], expected[lengths > 0], rtol=0, atol=allowed)
    assert not found[lengths == 0].any()

    numbers = [row[:size].tolist() for row, size in zip(history, lengths, strict=True) if size]
    raw = [[f"i{number}" for number in one] for one in numbers]
    served = readme_code(tmp_path / "export", monkeypatch)["recommend"]
    when = [[7e5 * place**3 for place in range(len(one))] for one in raw]
    asked = {} if times is None else {"times": when, "request_time": 1.7e9}
    frame = Recommender(stored).recommend(raw, N, **asked)  # type: ignore[arg-type]
    of_model = frame.group_by("history", maintain_order=True).agg("item_id", "score")
    exchanged = 0
    columns = of_model["item_id"], of_model["score"]
    for own, at, ids, scores in zip(raw, when, *columns, strict=True):
        more = () if times is None else (at, 1.7e9)
        lists = served(own, N, *more), ids.to_list(), scores.to_list()
        exchanged += neighbours_exchanged(*lists, allowed)
    assert exchanged <= len(raw) * N // 100
    largest = made.tower["check"]["largest_difference"]
    print(f"{kind}: {largest:.1e}; {exchanged} of {len(raw) * N} places hold a neighbour")


def neighbours_exchanged(
    found: list[str], expected: list[str], scores: list[float], allowed: float
) -> int:
    """Return at how many places two lists differ; they may where scores are less than `allowed`
    apart, those of places behind the end being unknown.
    """
    place = {item: at for at, item in enumerate(expected)}
    assert len(found) == len(expected)
    for at, item in enumerate(found):
        if item != expected[at]:
            assert abs(scores[place.get(item, -1)] - scores[at]) < allowed
    return sum(one != other for one, other in zip(found, expected, strict=True))


def test_tower_with_a_large_table_reads_it_from_a_file_beside_it(
    plain: StoredModel, tmp_path: Path
) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    stored = stored_like(plain, model="ComiRec-SA")
    assert tower.write(stored, tmp_path / "one", largest_table=10_000)["external_data"] is None
    about = tower.write(stored, tmp_path / "two", largest_table=1000)
    assert about["external_data"] == tower.TABLE_FILE
    table = np.fromfile(tmp_path / "two" / tower.TABLE_FILE, "<f4")
    assert_array_equal(table.reshape(41, 8), np.asarray(stored.retriever.rows))
    history, lengths = tower.random_histories(40, stored.config.maxlen, 30)
    fed = {"history": history, "lengths": lengths}
    found = [
        tower.session_of(tmp_path / name / tower.FILE).run(None, fed) for name in ("one", "two")
    ]
    assert_array_equal(found[0], found[1])


def test_tower_is_in_the_manifest_with_its_check(plain: StoredModel, tmp_path: Path) -> None:
    made = write(plain, None, tmp_path / "export", WITH_TOWER)
    manifest = json.loads((tmp_path / "export" / "manifest.json").read_text())
    assert manifest["onnx"] == made.tower
    assert tower.FILE in manifest["files"]
    assert manifest["onnx"]["check"]["histories"] == 1024
    assert manifest["onnx"]["check"]["tolerance"] == tower.TOLERANCE
    assert manifest["index"] is None


def test_tower_that_differs_is_not_exported(
    plain: StoredModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_in = tower._put_in

    def and_damage(model: Any, table: Any, *others: Any) -> None:
        put_in(model, table + np.float32(1e-3), *others)

    monkeypatch.setattr(tower, "_put_in", and_damage)
    with pytest.raises(CheckpointError) as caught:
        write(plain, None, tmp_path / "export", WITH_TOWER)
    assert caught.value.key == "onnx_differs"
    assert not list(tmp_path.iterdir())
    write(plain, None, tmp_path / "export", Extras(tower_tolerance=0.1))


def test_tower_of_a_network_that_no_converter_knows_is_refused(
    plain: StoredModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: Any) -> Any:
        raise NotImplementedError("no such thing")

    monkeypatch.setattr(tower, "interests_of_vectors", unknown)
    with pytest.raises(CheckpointError, match="NotImplementedError: no such thing") as caught:
        write(plain, None, tmp_path / "export", WITH_TOWER)
    assert caught.value.key == "onnx_not_converted"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("missing", ["jax2onnx", "onnxruntime"])
def test_tower_names_the_extra_that_is_missing(
    missing: str, plain: StoredModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, missing, None)
    with pytest.raises(UsageError, match=r"pip install 'reprise-rec\[export\]'") as caught:
        write(plain, None, tmp_path / "export", WITH_TOWER)
    assert caught.value.key == "extra_missing"
    assert not list(tmp_path.iterdir())


def test_random_histories_are_of_every_kind() -> None:
    history, lengths = tower.random_histories(40, 6, 500)
    assert_array_equal((history > 0).sum(axis=1), lengths)
    assert set(lengths.tolist()) == set(range(7))
    assert (np.diff(history > 0, axis=1).sum(axis=1) <= 1).all()  # padding is behind
    assert history.max() == 40
    few = [len(set(row[:size].tolist())) for row, size in zip(history, lengths, strict=True)]
    assert any(size > distinct for size, distinct in zip(lengths, few, strict=True))
