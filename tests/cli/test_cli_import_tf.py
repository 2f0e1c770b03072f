"""`reprise import-tf` as a process, and both command lines continuing the imported run."""

import shlex
from pathlib import Path

import pytest

from helpers.builders_tf import UPDATES, train_tf1
from helpers.commands import comirec, inspect_json, reprise

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

RUN = "demo_ComiRec-SA_b128_lr0.001_d8_len20_test85"


@pytest.mark.long
def test_import_tf_is_continued_by_either_command(demo_data: Path, tmp_path: Path) -> None:
    train_tf1("ComiRec-SA", tmp_path / "best_model", items=3000, length=20)
    where = ["--data-dir", demo_data, "--runs-dir", tmp_path / "runs"]
    flags = ["--dataset", "demo", "--name", "test85", "--steps", 10, "--test-iter", 5, *where]
    command = ["import-tf", tmp_path / "best_model", "--model", "ComiRec-SA", *flags]
    done = reprise(*command, "--best-metric", 0.000031, own_process=True)
    assert (done.returncode, done.stderr) == (0, "")
    run = tmp_path / "runs" / RUN
    facts = inspect_json(run)
    assert facts["best"] == {"metric": 0.000031, "step": UPDATES, "branch": 0}
    assert "  position    position_embedding [1, 20, 8]: value, m, v\n" in done.stdout

    again = reprise(*command)
    assert again.returncode == 2
    assert f"{run} already has checkpoints" in again.stderr

    told = done.stdout.splitlines()[-1].split()
    assert told[:3] == ["reprise", "resume", "test85"]
    went_on = reprise(*shlex.split(done.stdout.splitlines()[-1])[1:])
    assert went_on.returncode == 0, went_on.stderr
    assert f"Resumed at step {UPDATES} (branch 0)" in went_on.stdout
    assert inspect_json(run)["step"] == 10


def test_import_tf_run_resumes_with_comirecs_original_output(
    demo_data: Path, tmp_path: Path
) -> None:
    train_tf1("ComiRec-SA", tmp_path / "best_model", items=3000, length=20)
    where = ["--data-dir", demo_data, "--runs-dir", tmp_path / "runs"]
    flags = ["--dataset", "demo", "--name", "test85", "--test-iter", 5, *where]
    done = reprise(
        "import-tf",
        tmp_path / "best_model" / "model.ckpt",
        "--model",
        "ComiRec-SA",
        *flags,
        "--lang",
        "zh",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(
        "模型 ComiRec-SA：按指定；与 checkpoint 的变量相符。\n学习率 0.001："
    )
    sizes = ["--embedding_dim", 8, "--hidden_size", 8, "--num_interest", 2, "--max_iter", 0.005]
    went_on = comirec(*flags, *sizes, "--model_type", "ComiRec-SA", "--lang", "zh", cwd=tmp_path)
    assert went_on.returncode == 0, went_on.stderr
    best = inspect_json(tmp_path / "runs" / RUN)["best"]
    lines = went_on.stdout.splitlines()
    stored = tmp_path / "runs" / RUN / "checkpoints" / f"ckpt-{UPDATES}"
    assert lines[0] == f"✅ 发现已有 checkpoint，自动恢复: {stored}"
    assert lines[1] == "   将从上次训练继续..."
    assert lines[2].startswith("   恢复的最优 recall: 0.")
    assert lines[3] == "开始训练"
    assert best is not None


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["nowhere"], 6, "No TensorFlow checkpoint at nowhere"),
        (["."], 6, "No TensorFlow checkpoint at ."),
        ([".", "--map", "rows"], 2, "map = 'rows' is invalid: expected PARAM=VARIABLE"),
        ([".", "--step", 0], 2, "step = 0 is invalid"),
        ([".", "--best-metric", 7], 2, "--best-metric = 7.0 is invalid"),
        ([".", "--maxlen", 0], 2, "maxlen = 0 is invalid"),
        ([".", "--model", "comirecdr"], 2, "Did you mean 'ComiRec-DR'?"),
    ],
)
def test_import_tf_refuses_mistakes_in_one_line(
    small_data: Path, tmp_path: Path, arguments: list[object], code: int, said: str
) -> None:
    options = ["--dataset", "small", "--name", "t", "--data-dir", small_data]
    done = reprise("import-tf", *arguments, *options, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
