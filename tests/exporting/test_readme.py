"""README.md of an exported folder: what it says of it, and that its lines give the model's lists
whatever the folder holds.
"""

from dataclasses import replace
from pathlib import Path

import faiss
import jax.numpy as jnp
import pytest

from helpers.builders_stored import KINDS, stored_like
from helpers.checkpoints import no_warning
from helpers.pages import fenced, readme_code
from reprise.models.scoring import REPEAT_BIAS
from reprise.runs.folder import RunFolder
from reprise.runs.stored import StoredModel, load
from reprise.serving import index
from reprise.serving.export import Extras, write
from reprise.serving.histories import users_of_split
from reprise.serving.recommender import Recommender
from reprise.text.messages import Messages

HISTORIES = [["i3", "i9", "i3"], ["i40"], [f"i{n}" for n in range(1, 30)], ["unknown", "i7"]]
N = 10


@pytest.fixture(scope="module")
def modern(undisturbed: RunFolder, small_data: Path) -> StoredModel:
    plain = load(undisturbed.path, "best", no_warning, lambda name: small_data / name)
    return stored_like(plain, **KINDS["modern"])


def repeating(stored: StoredModel, worth: float) -> StoredModel:
    params = {**stored.retriever.params, REPEAT_BIAS: jnp.float32(worth)}
    return replace(stored, retriever=replace(stored.retriever, params=params))


@pytest.mark.filterwarnings("ignore::reprise.serving.recommender.UnknownItemsWarning")
@pytest.mark.parametrize("worth", [0.4, -3.0])
@pytest.mark.parametrize("kind", [None, "flat", "hnsw"])
def test_readme_lines_give_the_lists_of_the_model(
    kind: str | None,
    worth: float,
    modern: StoredModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    faiss.omp_set_num_threads(1)  # its threads wait for each other, on cores that are in use
    stored = repeating(modern, worth)
    write(stored, None, tmp_path / "export", Extras(index=index.Kind(kind) if kind else None))
    model = Recommender(stored)
    served = readme_code(tmp_path / "export", monkeypatch)["recommend"]
    for history, interests in zip(HISTORIES, model.user_vectors(HISTORIES), strict=True):
        expected = model.recommend([history], N)["item_id"].to_list()
        assert served(history, N, interests) == expected


@pytest.mark.long
def test_readme_lines_are_few(modern: StoredModel, tmp_path: Path) -> None:
    extras = Extras(1e-5, index.Kind("flat"))
    write(modern, None, tmp_path / "export", extras)
    (block,) = fenced(tmp_path / "export" / "README.md", "python")
    inside = block.partition("def recommend")[2].splitlines()[1:]
    assert len([line for line in inside if line]) <= 14


@pytest.mark.parametrize("language", ["en", "zh"])
def test_readme_states_how_to_score_and_what_was_measured(
    language: str, modern: StoredModel, tmp_path: Path
) -> None:
    stored = repeating(modern, 0.4)
    users = users_of_split(stored.dataset, "test", 6, as_evaluated=False)
    extras = Extras(index=index.Kind("flat"))
    messages = Messages("zh" if language == "zh" else "en")
    write(stored, users, tmp_path / "export", extras, messages)
    page = (tmp_path / "export" / "README.md").read_text()
    for told in ("0.4", "1.0000", "`interests.npy`", "`item_ids.json`", "Queries"):
        assert told in page
    assert ("Merge rule" in page) == (language == "en")

    write(repeating(modern, 0.0), None, tmp_path / "plain")
    page = (tmp_path / "plain" / "README.md").read_text()
    assert "`repeat_worth` is 0" in page
    assert f'reprise.load("{stored.checkpoint.path.parents[1].name}")' in page
