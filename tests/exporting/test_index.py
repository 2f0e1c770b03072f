"""An index of the items: its lists are those of exact search, under all that is added and allowed;
measured, the same each time, and opened for its own checkpoint only.
"""

import json
from dataclasses import replace
from pathlib import Path

import faiss
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from helpers.checkpoints import no_warning
from helpers.effort import examples, some_at_length
from reprise.errors import CheckpointError, ConfigMismatchError, DataError, UsageError
from reprise.retrieval.search import Chunk, search
from reprise.retrieval.terms import EVERYTHING, Added, Allowed, Terms
from reprise.runs.folder import RunFolder
from reprise.runs.stored import StoredModel, load
from reprise.serving import index
from reprise.serving.export import Extras, write
from reprise.serving.lists import Query, answer, model_of
from reprise.text.messages import Say, unsaid

FLAT, HNSW = index.Kind("flat"), index.Kind("hnsw")


@pytest.fixture(scope="module")
def plain(undisturbed: RunFolder, small_data: Path) -> StoredModel:
    return load(undisturbed.path, "best", no_warning, lambda name: small_data / name)


def terms_of(rng: np.random.Generator, users: int, items: int) -> Terms:
    """Return values added to a few items of each user, and a mask of a few or many for some."""
    distinct = np.unique(rng.integers(0, items * users, 3 * users))
    item, user = np.divmod(distinct, users)
    values = rng.choice(np.array([-np.inf, -2, 0, 2], np.float32), len(item))
    masks = rng.random((3, items)) < np.array([[0.05], [0.5], [0.95]])
    return Terms(Added(user, item + 1, values), Allowed(masks, rng.integers(EVERYTHING, 3, users)))


@given(
    seed=st.integers(0, 2**32 - 1),
    users=st.integers(1, 40),
    top_n=st.sampled_from([1, 10, 50]),
    by_interest=st.booleans(),
)
@examples(25)
def test_index_that_is_flat_lists_what_exact_search_lists(
    seed: int, users: int, top_n: int, by_interest: bool
) -> None:
    rng = np.random.default_rng(seed)
    items = rng.integers(-4, 5, (300, 6)).astype(np.float32)  # exact sums, many ties
    interests = rng.integers(-4, 5, (users, 3, 6)).astype(np.float32)
    interests[rng.random((users, 3)) < 0.1] = np.nan  # switched off
    terms = terms_of(rng, users, 300)
    # Ties at the end of faiss's own list are broken by other rules than ours: no ties there.
    interests[interests[:, :, 0] == 0, 0] = 1
    items[:, 0] += np.arange(300, dtype=np.float32) / 2048
    chunk = [Chunk(interests, top_n, terms, by_interest)]
    built = index.build(items, FLAT)
    (expected,), (found,) = search(chunk, items), search(chunk, items, built.best)
    for one, other in zip(found, expected, strict=True):
        assert_array_equal(one, other)


def test_index_answers_do_not_depend_on_other_queries() -> None:
    rng = np.random.default_rng(0)
    items = rng.normal(size=(3000, 16)).astype(np.float32)
    interests = rng.normal(size=(70, 4, 16)).astype(np.float32)
    terms = terms_of(rng, 70, 3000)
    built = index.build(items, HNSW)
    ids, scores = built.best(interests, terms, 20)
    for row in (0, 15, 16, 69):
        alone = built.best(interests[row : row + 1], terms.of(row, row + 1), 20)
        assert_array_equal(alone[0][0], ids[row])
        assert_array_equal(alone[1][0], scores[row])


def test_index_of_few_allowed_items_gives_them_all(plain: StoredModel) -> None:
    model = model_of(plain)
    model = replace(model, best=index.build(model.items, HNSW).best)
    recommender_filter = Query(np.array([3, 4], np.int32)).filter
    few = replace(recommender_filter, allow=frozenset({2, 7, 30}))
    (found,) = answer(model, [Query(np.array([3, 4], np.int32), n=10, filter=few)])
    assert sorted(found.ids.tolist()) == [2, 7, 30]


@pytest.mark.parametrize("kind", [FLAT, HNSW])
def test_index_is_the_same_each_time_with_its_measures(
    kind: index.Kind, plain: StoredModel, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        write(plain, None, tmp_path / name, Extras(index=kind))
    first, second = ((tmp_path / name / index.FILE).read_bytes() for name in ("one", "two"))
    assert first == second
    manifest = json.loads((tmp_path / "one" / "manifest.json").read_text())
    about = manifest["index"]
    assert about["kind"] == kind.name
    assert about.get("ef_search") == (64 if kind.name == "hnsw" else None)
    measured = about["measured"]
    assert (measured["queries"], measured["users"], measured["n"]) == ("test", 20, 40)
    assert measured["recall"] == 1
    assert measured["users_per_second"] > 0
    assert measured["exact_users_per_second"] > 0
    ids = json.loads((tmp_path / "one" / index.IDS_FILE).read_text())
    assert ids == [f"i{n}" for n in range(1, 41)]


def test_index_is_measured_on_random_histories_without_the_data(
    plain: StoredModel, tmp_path: Path
) -> None:
    made = write(replace(plain, locate=None), None, tmp_path / "export", Extras(index=FLAT))
    assert made.index is not None
    assert made.index["measured"]["queries"] == "random"
    assert made.index["measured"]["users"] == 800  # of 1,000, those that are not empty


def test_index_searches_wider_until_recall_is_good(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    items = rng.normal(size=(3000, 32)).astype(np.float32)
    interests = rng.normal(size=(100, 2, 32)).astype(np.float32)
    monkeypatch.setattr(index, "EF_SEARCH", (1, 2, 1000))
    recalls = []
    for asked in (1, None):
        kind = replace(HNSW, m=4, ef_construction=20, ef_search=asked)
        built = index.build(items, kind)
        recalls.append(index.measure(built, kind, interests, 10, "random").recall)
        assert built.ef_search == (asked or 1000)
    assert recalls[0] < 0.9
    assert recalls[1] >= index.GOOD_RECALL


@pytest.mark.parametrize("positive", some_at_length([True, False], [True]))
def test_index_is_linked_by_what_finds_more(positive: bool) -> None:
    """Of positive interests, as behind a ReLU, a graph by products finds 0.87."""
    rng = np.random.default_rng(0)
    items = rng.normal(size=(5000, 32)).astype(np.float32)
    items *= np.exp(rng.normal(0, 0.25 if positive else 0.6, (5000, 1))).astype(np.float32)
    interests = rng.normal(size=(100, 2, 32)).astype(np.float32)
    if positive:
        items -= 0.5
        interests = np.maximum(0, interests + 1)
    found = {
        links: index.measure(index.build(items, kind), kind, interests, 20, "random").recall
        for links in index.LINKS
        for kind in [replace(HNSW, ef_search=128, links=links)]
    }
    _, kind, measured = index.choose(items, replace(HNSW, ef_search=128), interests, 20, "random")
    assert kind.links == ("direction" if positive else "product")
    assert measured.recall == found[kind.links] == max(found.values())


def test_index_tries_links_on_a_part_of_many_items(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    items = rng.normal(size=(3000, 16)).astype(np.float32)
    interests = rng.normal(size=(50, 2, 16)).astype(np.float32)
    monkeypatch.setattr(index, "_TRIED_ITEMS", 1000)
    monkeypatch.setattr(index, "_PART", 1400)
    monkeypatch.setattr(index, "_SAID_EVERY", 0)
    sizes, said = [], []
    build = index.build

    def counted(some: np.ndarray, kind: index.Kind, say: Say = unsaid) -> index.ItemIndex:
        sizes.append(len(some))
        return build(some, kind, say)

    monkeypatch.setattr(index, "build", counted)
    say = lambda key, **values: said.append((key, values.get("done"), values["items"]))  # noqa: E731
    built, kind, measured = index.choose(items, HNSW, interests, 10, "random", say)
    assert sizes == [1000, 1000, 3000]
    so_far = [("index_built_so_far", done, 3000) for done in (1400, 2800)]
    assert said == [("index_building", None, 3000), *so_far]
    assert built.index.ntotal == 3000
    again = build(items, kind)
    assert index.measure(again, kind, interests, 10, "random").recall == measured.recall


def test_index_holds_the_vectors_themselves() -> None:
    items = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    items[7] = 0
    built = index.build(items, HNSW)
    assert_array_equal(built.index.reconstruct_n(0, 50), items)


def test_open_index_gives_the_index_of_its_checkpoint(plain: StoredModel, tmp_path: Path) -> None:
    write(plain, None, tmp_path / "export", Extras(index=HNSW))
    opened = index.open_index(tmp_path / "export", plain)
    model = model_of(plain)
    queries = [Query(np.array([n], np.int32), n=10) for n in range(1, 41)]
    expected = answer(model, queries)
    found = answer(replace(model, best=opened.best), queries)
    for one, other in zip(found, expected, strict=True):
        assert_array_equal(one.ids, other.ids)
        # Candidates are scored one by one, the catalogue by products, which may round otherwise.
        assert_allclose(one.scores, other.scores, rtol=1e-6)
    assert opened.ef_search == 64


def test_open_index_refuses_what_is_not_its_own(plain: StoredModel, tmp_path: Path) -> None:
    folder = tmp_path / "export"
    with pytest.raises(UsageError) as caught:
        index.open_index(folder, plain)
    assert caught.value.key == "index_missing"
    write(plain, None, folder, Extras())
    with pytest.raises(UsageError):
        index.open_index(folder, plain)

    write(plain, None, tmp_path / "other", Extras(index=FLAT))
    manifest = json.loads((tmp_path / "other" / "manifest.json").read_text())
    (tmp_path / "other" / "manifest.json").write_text(
        json.dumps(manifest | {"checkpoint_digest": "0" * 64})
    )
    with pytest.raises(ConfigMismatchError) as other:
        index.open_index(tmp_path / "other", plain)
    assert other.value.key == "index_of_other"


@pytest.mark.parametrize("name", [index.FILE, index.IDS_FILE, index.MANIFEST])
def test_open_index_refuses_damage(name: str, plain: StoredModel, tmp_path: Path) -> None:
    write(plain, None, tmp_path / "export", Extras(index=FLAT))
    path = tmp_path / "export" / name
    content = path.read_bytes()
    for damaged in (content[:-2], b"x" + content[1:], None):
        path.unlink(missing_ok=True)
        if damaged is not None:
            path.write_bytes(damaged)
        elif name == index.MANIFEST:
            break  # a folder without an index
        with pytest.raises(DataError) as caught:
            index.open_index(tmp_path / "export", plain)
        assert caught.value.key == "index_damaged"
        assert name in str(caught.value)


def test_index_of_vectors_that_are_not_finite_is_refused(
    plain: StoredModel, tmp_path: Path
) -> None:
    rows = plain.retriever.rows.at[5, 0].set(np.nan)
    broken = replace(plain, retriever=replace(plain.retriever, rows=rows))
    with pytest.raises(CheckpointError) as caught:
        write(broken, None, tmp_path / "export", Extras(index=HNSW))
    assert caught.value.key == "export_not_finite"
    assert not list(tmp_path.iterdir())


def test_index_names_the_extra_that_is_missing(
    plain: StoredModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "faiss", None)
    with pytest.raises(UsageError, match=r"pip install 'reprise-rec\[export\]'"):
        write(plain, None, tmp_path / "export", Extras(index=FLAT))
    assert not list(tmp_path.iterdir())


def test_index_file_is_one_that_faiss_reads(plain: StoredModel, tmp_path: Path) -> None:
    write(plain, None, tmp_path / "export", Extras(index=HNSW))
    read = faiss.read_index(str(tmp_path / "export" / index.FILE))
    assert (read.ntotal, read.d) == (40, 8)
    assert read.metric_type == faiss.METRIC_INNER_PRODUCT
