"""`python src/train.py`: the original's flags, prompt and output."""

import re
from pathlib import Path

import numpy as np
import pytest

from helpers.checkpoints import no_warning
from helpers.commands import comirec, reprise
from reprise.cli.commands import comirec as comirec_line
from reprise.config.load import make_config
from reprise.data.dataset import open_dataset
from reprise.runs import results
from reprise.runs.folder import find_checkpoint

FLAGS: list[object] = ["--dataset", "toy", "--model_type", "ComiRec-DR", "--learning_rate", 0.007]
QUICK: list[object] = ["--test_iter", 10, "--embedding_dim", 8, "--hidden_size", 8]
RUN = "runs/toy_ComiRec-DR_b128_lr0.007_d8_len20_test85"


@pytest.fixture
def workspace(tmp_path: Path, demo_data: Path) -> Path:
    """A folder as the original's users have it: data/toy_data/toy_train.txt and so on."""
    source = tmp_path / "data" / "toy_data"
    source.mkdir(parents=True)
    demo = open_dataset(demo_data / "demo")
    user = 0
    for split, sequences in demo.splits.items():
        lines = []
        for start, end in zip(sequences.offsets, sequences.offsets[1:], strict=False):
            lines += [f"{user},{item},{n}" for n, item in enumerate(sequences.items[start:end])]
            user += 1
        (source / f"toy_{split}.txt").write_text("\n".join(lines) + "\n")
    categories = [f"{item},{category}" for item, category in enumerate(demo.item_category)]
    (source / "toy_item_cate.txt").write_text("\n".join(categories[1:]) + "\n")
    return tmp_path


def test_comirec_trains_resumes_and_rewinds_with_its_original_output(workspace: Path) -> None:
    first = comirec(
        *FLAGS, *QUICK, "--max_iter", 0.02, cwd=workspace, typed="test85\n", LC_ALL="zh_CN.UTF-8"
    )
    assert first.returncode == 0, first.stderr
    lines = first.stdout.splitlines()
    assert lines[0] == "请输入实验名称: "
    assert lines[1] == "开始训练"
    assert lines[2] == RUN.removeprefix("runs/")
    assert re.fullmatch(
        r"iter: 10, train loss: \d\.\d{4}, valid recall: 0\.\d{6}, "
        r"valid ndcg: 0\.\d{6}, valid hitrate: 0\.\d{6}",
        lines[3],
    )
    assert re.fullmatch(r"用时: \d+\.\d{4} 分钟", lines[4])
    assert re.fullmatch(r"   💾 保存新的最优模型，recall: 0\.\d{6}", lines[5])
    best = max(re.findall(r"保存新的最优模型，recall: (0\.\d{6})", first.stdout))
    assert lines[-2].startswith("valid recall: ")
    assert lines[-1].startswith("test recall: ")

    again = comirec(
        *FLAGS, *QUICK, "--max_iter", 0.05, "--lang", "zh", cwd=workspace, typed="test85\n"
    )
    assert again.returncode == 0, again.stderr
    assert again.stdout.splitlines()[1:5] == [
        f"✅ 发现已有 checkpoint，自动恢复: {RUN}/checkpoints/ckpt-20",
        "   将从上次训练继续...",
        f"   恢复的最优 recall: {best}",
        "开始训练",
    ]
    assert re.findall(r"^iter: (\d+)", again.stdout, re.MULTILINE) == ["30", "40", "50"]


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [("book", (128, 20, 1000)), ("taobao", (256, 50, 500)), ("ml-1m", (128, 20, 1000))],
)
def test_comirec_defaults_for_book_and_taobao_are_the_originals(
    dataset: str, expected: tuple[int, int, int]
) -> None:
    options = {option.name: option.default for option in comirec_line.comirec.params}
    options |= {"dataset": dataset, "test_iter": None, "model": "ComiRec-DR"}
    config = make_config(comirec_line.config_values("test85", options))
    assert (config.batch_size, config.maxlen, config.test_iter) == expected
    assert config.max_steps == 1_000_000


def test_comirec_prints_english_and_takes_the_name_by_flag(workspace: Path) -> None:
    for budget in (0.01, 0.02):
        done = comirec(*FLAGS, *QUICK, "--max_iter", budget, "--name", "test85", cwd=workspace)
        assert done.returncode == 0, done.stderr
        assert "Please input" not in done.stdout
    assert done.stdout.startswith(
        f"✅ Found a checkpoint, resuming: {RUN}/checkpoints/ckpt-10\n"
        "   Continuing the last training...\n"
        "   Restored best recall: 0."
    )


def test_comirec_subcommand_is_the_same_command_line(workspace: Path) -> None:
    """So it is there where the package is installed without `src/train.py`."""
    line = [*FLAGS, *QUICK, "--max_iter", 0.01]
    beside = reprise("comirec", *line, "--name", "beside", cwd=workspace)
    alone = comirec(*line, "--name", "alone", cwd=workspace)
    assert beside.returncode == 0, beside.stderr
    assert without_times(beside.stdout) == without_times(alone.stdout).replace("alone", "beside")


def test_comirec_subcommand_asks_for_the_name_and_prints_itself(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = reprise("comirec", *FLAGS, cwd=workspace, REPRISE_LANG="zh")
    assert asked.returncode == 2
    assert asked.stdout == "请输入实验名称: \n"

    commands: list[str] = []

    def start(config: object, options: object, messages: object, command: str) -> int:
        commands.append(command)
        return 0

    monkeypatch.setattr(comirec_line, "start_training", start)
    reprise("comirec", *FLAGS, "--name", "n", "--resume-from", "best", cwd=workspace)
    given = " ".join(map(str, FLAGS))
    assert commands == [f"reprise comirec {given} --name n --resume_from latest"]


def without_times(printed: str) -> str:
    return re.sub(r"time interval: \S+", "", printed)


def test_comirec_test_and_output_equal_the_original_and_store_results(workspace: Path) -> None:
    trained = comirec(*FLAGS, *QUICK, "--max_iter", 0.01, "--name", "test85", cwd=workspace)
    plain = comirec("-p", "test", *FLAGS, *QUICK, cwd=workspace, typed="test85\n")
    assert plain.returncode == 0, plain.stderr
    assert plain.stdout.splitlines()[-1] == trained.stdout.splitlines()[-1]

    folder = workspace / RUN
    best = find_checkpoint(folder, "best", no_warning)
    before = results.read(folder).of(best, "test")
    assert before is not None
    (folder / results.FILE).unlink()
    assert comirec("-p", "test", *FLAGS, *QUICK, cwd=workspace, typed="test85\n").stdout
    kept = results.read(folder, pytest.fail).of(best, "test")
    assert kept is not None
    assert {**kept, "at": ""} == {**before, "at": ""}

    controlled = comirec(
        "-p", "test", "--coef", 0.5, *FLAGS, *QUICK, cwd=workspace, typed="test85\n"
    )
    diversity = [float(done.stdout.split("test diversity: ")[1]) for done in (plain, controlled)]
    assert diversity[1] > diversity[0]
    assert [entry["lambda"] for entry in results.read(folder).entries] == [None, 0.5]

    other = comirec(
        "-p", "test", "--num_interest", 8, *FLAGS, *QUICK, cwd=workspace, typed="test85\n"
    )
    assert other.returncode == 4
    assert "num_interest: 4 -> 8" in other.stderr

    written = comirec("-p", "output", *FLAGS, *QUICK, cwd=workspace, typed="test85\n")
    assert written.returncode == 0, written.stderr
    path = workspace / "output" / f"{RUN.removeprefix('runs/')}_emb.npy"
    assert np.load(path).shape == (3001, 8)


def test_comirec_refuses_a_missing_name_data_set_or_model(workspace: Path) -> None:
    cases: list[tuple[list[object], str, int, str]] = [
        (FLAGS, "", 2, "No experiment name: give --name NAME"),
        (["--dataset", "toy"], "", 2, "Missing: --model_type."),
        ([*FLAGS, "--dataset", "nowhere"], "x\n", 3, "Dataset 'nowhere' not found"),
        ([*FLAGS, "--model_typ", "x"], "x\n", 2, "No such option '--model_typ'"),
    ]
    for arguments, typed, code, line in cases:
        done = comirec(*arguments, cwd=workspace, typed=typed)
        assert done.returncode == code, done.stderr
        assert line in done.stderr
        assert "Traceback" not in done.stderr
