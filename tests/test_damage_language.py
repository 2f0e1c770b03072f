"""Damage is reported in Chinese throughout, and to programs in English."""

import io
import json
import re
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from helpers.builders_data import small_draft
from helpers.checkpoints import IDENTITY, harm_file, no_warning, rated, rewrite_state, save_all
from helpers.commands import reprise
from reprise.checkpoints import store
from reprise.data.dataset import open_dataset
from reprise.data.prepare import publish
from reprise.errors import DataError, RepriseError
from reprise.runs.folder import RunFolder, read_record, resume
from reprise.runs.manage import archive
from reprise.runs.stored import StoredModel
from reprise.serving.histories import users_of_file
from reprise.text.messages import Messages

# Names of ours, and words that Chinese leaves as they are.
TERMS = {"checkpoint", "dtype", "fingerprint", "int", "known", "offsets", "SHA", "schema", "train"}
NAME = re.compile(r"'[^']*'|[\w-]*(?:[/.][\w-]+)+|\w+_\w+|\w+: .+ -> .+", re.ASCII)


def english_in(line: str) -> set[str]:
    """Return the English words of a line but for names and TERMS."""
    return set(re.findall(r"[A-Za-z]{2,}", NAME.sub("", line))) - TERMS


def change_json(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


# Checkpoints


def misname(path: Path) -> None:
    path.rename(path.with_name("ckpt-9"))


def lengthen_manifest(path: Path) -> None:
    with (path / "MANIFEST.json").open("a") as file:
        file.write(" ")


@pytest.mark.parametrize(
    ("damage", "english"),
    [
        (misname, "holds step 2"),
        (lengthen_manifest, "MANIFEST.json: does not match its own SHA-256"),
        (lambda path: harm_file(path / "state.json", "cut"), " bytes where the manifest has "),
        (lambda path: harm_file(path / "rows.npy", "flip"), "rows.npy: SHA-256 differs"),
        (lambda path: rewrite_state(path, lambda state: state | {"schema": 99}), "schema 99"),
        (
            lambda path: rewrite_state(
                path, lambda state: state | {"identity": IDENTITY | {"seed": 20}}
            ),
            "it belongs to another run, ",
        ),
    ],
)
def test_damaged_checkpoint_is_reported_in_chinese(
    folder: RunFolder, damage: Callable[[Path], None], english: str
) -> None:
    save_all(folder, rated({1: 0.1, 2: 0.2}))
    damage(folder.checkpoints / "ckpt-2")
    said: dict[str, list[str]] = {"en": [], "zh": []}

    def warn(key: str, **values: Any) -> None:
        said["en"].append(Messages("en").text(key, **values))
        said["zh"].append(Messages("zh").text(key, **values))

    resume(folder, IDENTITY, "latest", warn)
    assert english in said["en"][0]
    reason = said["zh"][0].partition("已损坏（")[2].rpartition("）；已移至")[0]
    assert reason
    assert not english_in(reason), reason


def test_runs_show_reports_damage_in_chinese_and_to_programs_in_english(
    twelve_steps: RunFolder,
) -> None:
    latest = twelve_steps.checkpoints / "ckpt-12"
    harm_file(latest / "rows.npy", "flip")
    asked = ("runs", "show", twelve_steps.path.name, "--runs-dir", twelve_steps.path.parent)
    shown = reprise(*asked, REPRISE_LANG="zh").stdout
    assert "已损坏: rows.npy: SHA-256 与清单不符" in shown
    facts = json.loads(reprise(*asked, "--json", REPRISE_LANG="zh").stdout)
    damaged = next(entry for entry in facts["checkpoints"] if entry["path"] == str(latest))
    assert damaged["damage"] == "rows.npy: SHA-256 differs from the manifest"
    refused = reprise("inspect", latest, REPRISE_LANG="zh")
    assert refused.returncode == 6
    assert "已损坏: rows.npy: SHA-256 与清单不符。" in refused.stderr
    assert not english_in(refused.stderr)


def test_damaged_record_is_reported_in_chinese(folder: RunFolder) -> None:
    folder.record.write_text('{"identity": 1}')
    said: list[str] = []
    chinese = Messages("zh")
    read_record(folder, lambda key, **values: said.append(chinese.text(key, **values)))
    assert said[0].startswith(f"⚠️ 无法读取 {folder.record}（内容不符合预期）")


# Datasets


def test_damaged_dataset_is_reported_in_chinese(tmp_path: Path) -> None:
    folder = publish(small_draft(), "small", tmp_path / "small")
    whole = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    def in_chinese(change: Callable[[], object]) -> str:
        change()
        with pytest.raises(DataError) as refused:
            open_dataset(folder)
        for path, content in whole.items():
            path.write_bytes(content)
        line = refused.value.said_in("zh")
        assert not english_in(line), line
        return line

    meta, items = folder / "meta.json", folder / "train" / "items.npy"
    offsets, category = folder / "train" / "offsets.npy", folder / "item_category.npy"
    of = np.load(offsets)
    assert "fingerprint 不符" in in_chinese(lambda: change_json(meta, fingerprint="0"))
    assert "数目必须为整数" in in_chinese(lambda: change_json(meta, num_items="3"))
    assert "item_category: 数目不符" in in_chinese(
        lambda: np.save(category, np.load(category)[:-1])
    )
    assert "train: 数目与 meta.json 不符" in in_chinese(lambda: np.save(offsets, of[:-1]))
    assert "offsets 不是从 0 递增" in in_chinese(lambda: np.save(offsets, of[::-1].copy()))
    assert "items.npy: 应为 1 维的 int32" in in_chinese(
        lambda: np.save(items, np.load(items).astype(np.int64))
    )
    assert "超出范围 1..3" in in_chinese(lambda: np.save(items, np.load(items) * 0 + 9))
    harm_file(folder / "meta.json", "flip")
    shown = reprise("data", "show", "small", "--data-dir", tmp_path, REPRISE_LANG="zh")
    assert shown.returncode == 3
    assert "已损坏（" in shown.stderr


def test_bad_histories_are_reported_in_chinese(tmp_path: Path) -> None:
    dataset = open_dataset(publish(small_draft(), "small", tmp_path / "small"))
    np.save(tmp_path / "h.npy", np.arange(3))
    with pytest.raises(DataError, match=r"an array of int64, \[3\]") as refused:
        users_of_file(tmp_path / "h.npy", cast(StoredModel, dataset), no_warning)
    assert "数组为 int64，[3]" in refused.value.said_in("zh")


# Archives


def test_damaged_archive_is_reported_in_chinese(at_step_12: RunFolder, tmp_path: Path) -> None:
    packed, name = tmp_path / "run.tar", at_step_12.path.name
    archive.export(at_step_12, packed, no_warning)
    with tarfile.open(packed) as source:
        whole = {m.name: source.extractfile(m).read() for m in source}  # type: ignore[union-attr]
    contents = json.loads(whole["REPRISE.json"])

    def in_chinese(*members: tuple[str, bytes]) -> str:
        with tarfile.open(packed, "w:") as target:
            for member, content in members:
                info = tarfile.TarInfo(member)
                info.size = len(content)
                target.addfile(info, io.BytesIO(content))
        with pytest.raises(DataError) as refused:
            archive.import_(packed, tmp_path / "runs")
        line = refused.value.said_in("zh")
        assert not english_in(line), line
        return line

    def with_contents(**changed: object) -> list[tuple[str, bytes]]:
        text = json.dumps(contents | changed).encode()
        return list((whole | {"REPRISE.json": text}).items())

    record = (f"{name}/run.json", b"{}")
    assert "其中没有实验" in in_chinese(("REPRISE.json", b"{}"))
    assert "不完整: 没有 REPRISE.json" in in_chinese(record)
    assert "出现两次" in in_chinese(record, record)
    assert "不是实验" in in_chinese(record, ("other/x", b""))
    assert "结尾之后还有" in in_chinese(*whole.items(), record)
    assert "REPRISE.json 的内容不符合预期" in in_chinese(*with_contents(files=1))
    assert "schema 为 9；本版本可读 1" in in_chinese(*with_contents(schema=9))
    assert "校验和属于 'x'，而不是" in in_chinese(*with_contents(run="x"))
    in_chinese(*(whole | {record[0]: record[1]}).items())
    refused = reprise("runs", "import", packed, "--runs-dir", tmp_path, REPRISE_LANG="zh")
    assert refused.returncode == 3
    assert "run.json: SHA-256 不符，或文件不存在" in refused.stderr
    assert not english_in(refused.stderr)


def test_error_is_a_phrase_and_english_as_a_string() -> None:
    damage = store.DamagedCheckpointError("damage_unlisted", name="rows.npy")
    assert str(damage) == "rows.npy: not listed in the manifest"
    refusal = RepriseError("checkpoint_damaged", path="c", reason=damage)
    assert str(refusal).startswith("Checkpoint c is damaged: rows.npy: not listed in the manifest.")
    assert refusal.said_in("zh").startswith("checkpoint c 已损坏: rows.npy: 不在清单中。")
