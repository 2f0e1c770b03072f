"""`reprise export` as a process: files, output and refusals."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from helpers.commands import check_refusal, reprise
from reprise.cli.main import cli
from reprise.errors import UsageError
from reprise.runs.folder import RunFolder


def test_export_writes_and_prints_what_it_wrote(
    undisturbed: RunFolder, small_data: Path, tmp_path: Path
) -> None:
    arguments = ("export", undisturbed.path, tmp_path / "export", "--data-dir", small_data)
    done = reprise(*arguments, "--which", "latest", "--split", "all", "--lang", "zh")
    assert done.returncode == 0, done.stderr
    assert "（第 20 步）" in done.stdout
    assert "40 个物品，每个 8 维" in done.stdout
    assert json.loads((tmp_path / "export" / "manifest.json").read_text())["step"] == 20
    # Users are named alike in each split of this set: each name counts once.
    assert "用户: 60 个，每个 2 个向量" in done.stdout
    check_refusal(reprise(*arguments, "--lang", "en"), 2, "already exists", str(tmp_path))


def test_export_writes_tower_and_index_and_prints_what_was_measured(
    undisturbed: RunFolder, small_data: Path, tmp_path: Path
) -> None:
    arguments = ("export", undisturbed.path, tmp_path / "export", "--data-dir", small_data)
    options = ("--onnx", "--index", "faiss:hnsw", "--hnsw-m", "8", "--hnsw-ef-search", "50")
    done = reprise(*arguments, *options, "--lang", "en")
    assert done.returncode == 0, done.stderr
    assert "User tower: interests.onnx; at most " in done.stdout
    assert "Index: hnsw; recall 1.0000 of the exact top 40 (20 test users)" in done.stdout
    manifest = json.loads((tmp_path / "export" / "manifest.json").read_text())
    about = manifest["index"]
    assert (about["m"], about["ef_construction"], about["ef_search"]) == (8, 200, 50)
    assert set(manifest["files"]) >= {"interests.onnx", "items.faiss", "item_ids.json", "README.md"}


@pytest.mark.parametrize(
    ("options", "key"),
    [
        (["--split", "test", "--histories", "h.npy"], "only_one"),
        (["--as-evaluated"], "evaluated_of_what"),
        (["--as-evaluated", "--split", "train"], "evaluated_of_what"),
        (["--onnx-tolerance", "1e-3"], "option_needs"),
        (["--hnsw-m", "8"], "option_needs"),
        (["--index", "faiss", "--hnsw-ef-search", "8"], "option_needs"),
    ],
)
def test_export_refuses_contradictory_options(options: list[str], key: str) -> None:
    done = CliRunner().invoke(cli, ["export", "run", "folder", *options])
    assert isinstance(done.exception, UsageError)
    assert done.exception.key == key
