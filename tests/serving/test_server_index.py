"""`serve --index`: the lists of a stored index, and what it refuses."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from helpers.commands import check_refusal, reprise
from helpers.servers import loader_of, service_of, serving
from reprise.runs.folder import RunFolder
from reprise.serving.server.model import Loader
from reprise.text.messages import unsaid

pytest.importorskip("faiss")


@pytest.fixture(scope="module")
def index(undisturbed: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "index"
    done = reprise("export", undisturbed.path, folder, "--index", "faiss:flat")
    assert done.returncode == 0, done.stderr
    return folder


def test_serve_with_an_index_lists_what_exact_search_does(
    undisturbed: RunFolder, index: Path
) -> None:
    bodies = [
        {"histories": [["i5", "i7"], ["i3"], []], "n": 9},
        {"histories": [["i5"]], "n": 3, "allow": ["i9", "i8", "i7", "i6"], "filter_seen": True},
    ]
    answers: list[Any] = []
    for loader in (
        loader_of(undisturbed.path),
        Loader(undisturbed.path, "best", unsaid, None, index),
    ):
        with serving(service_of(loader.load(loader.find()))) as client:
            answers.append([client.post("/v1/recommend", json=body).json() for body in bodies])
    scores = [
        [item.pop("score") for body in answer for one in body["lists"] for item in one["items"]]
        for answer in answers
    ]
    assert answers[0] == answers[1]
    known = [[score for score in one if score is not None] for one in scores]  # popular: none
    assert known[0] == pytest.approx(known[1], rel=1e-6)


def test_serve_refuses_an_index_that_does_not_fit(
    undisturbed: RunFolder, index: Path, tmp_path: Path
) -> None:
    run = undisturbed.path
    check_refusal(reprise("serve", run, "--port", 0, "--index", tmp_path), 2)
    check_refusal(reprise("serve", run, "--index", index, "--watch"), 2, "Leave one out")
    damaged = Path(shutil.copytree(index, tmp_path / "damaged"))
    (damaged / "items.faiss").write_bytes(b"no index")
    check_refusal(reprise("serve", run, "--port", 0, "--index", damaged), 3)
