"""Finding a TensorFlow checkpoint, and naming what is none; TensorFlow is not needed."""

import zipfile
from pathlib import Path

import pytest

from reprise.errors import CheckpointError, RepriseError, UsageError
from reprise.importers.tensorflow.locating import find_prefix

V1_END = bytes.fromhex("57fb808b247547db")  # LevelDB's tables end so


def refused(path: Path, key: str) -> RepriseError:
    with pytest.raises(RepriseError) as refusal:
        find_prefix(path)
    assert refusal.value.key == key, str(refusal.value)
    return refusal.value


def test_find_prefix_by_folder_prefix_or_file(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.index").touch()
    (tmp_path / "b.data-00000-of-00001").touch()
    with pytest.raises(UsageError):
        find_prefix(tmp_path)
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "/moved/since/b"\n')
    for name in ("", "b", "b.index", "b.data-00000-of-00001", "checkpoint"):
        assert find_prefix(tmp_path / name) == tmp_path / "b"
    with pytest.raises(CheckpointError) as refusal:
        find_prefix(tmp_path / "nothing")
    assert str(refusal.value).endswith(f"Give one of those in {tmp_path}: a, b")


def test_find_prefix_refuses_a_latest_that_is_gone(tmp_path: Path) -> None:
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "ckpt-12"\n')
    assert f"{tmp_path} holds none" in str(refused(tmp_path, "tf_latest_gone"))
    for name in ("ckpt-10", "ckpt-11"):
        (tmp_path / f"{name}.index").touch()
        values = refused(tmp_path, "tf_latest_gone").values
        assert values["latest"] == "ckpt-12"
    assert str(values["there"]) == f"Give one of those in {tmp_path}: ckpt-10, ckpt-11"


def test_find_prefix_follows_a_record_into_another_folder(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "ckpt-3.index").touch()
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "sub/ckpt-3"\n')
    assert find_prefix(tmp_path) == tmp_path / "sub" / "ckpt-3"


def test_find_prefix_names_the_v1_format(tmp_path: Path) -> None:
    (tmp_path / "model.ckpt").write_bytes(bytes(40) + V1_END)
    (tmp_path / "model.ckpt.meta").touch()
    for name in ("", "model.ckpt", "model.ckpt.meta"):
        refused(tmp_path / name, "tf_old_format")
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "model.ckpt"\n')
    refused(tmp_path, "tf_old_format")


def test_find_prefix_names_files_of_keras(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "model.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    (tmp_path / "model.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(10))
    for name in ("model.keras", "model.h5", ""):
        refused(tmp_path / name, "tf_keras_file")


@pytest.mark.parametrize("name", ["saved_model.pb", "saved_model.pbtxt"])
def test_find_prefix_names_a_saved_model(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    (tmp_path / "variables").mkdir()
    (tmp_path / "variables" / "variables.index").touch()
    refused(tmp_path, "tf_saved_model")
    weights = tmp_path / "variables" / "variables"
    assert find_prefix(weights) == weights


def test_find_prefix_of_other_files_says_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    for name, there in (
        ("", f"{tmp_path} holds none."),
        ("notes.txt", f"{tmp_path} holds none."),
        ("nowhere/ckpt-1", f"There is no folder {tmp_path / 'nowhere'}."),
    ):
        assert str(refused(tmp_path / name, "tf_missing_checkpoint")).endswith(there)


def test_find_prefix_says_nothing_of_what_is_around_a_device() -> None:
    refused(Path("/dev/null"), "not_a_file")
