"""The quality benchmark runs the ordinary commands, and trains nothing twice."""

import json
from pathlib import Path

import pytest

from helpers.commands import ROOT, reprise
from quality import Planned, Workshop

CONFIG = """
dataset = "small"
model = "ComiRec-SA"
batch_size = 16
maxlen = 6
embedding_dim = 8
hidden_size = 8
num_interest = 2
negatives = 16
steps = 15
test_iter = 5
"""


@pytest.mark.long
def test_benchmark_trains_each_run_once_and_measures_as_the_commands_do(
    small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    workshop = Workshop(tmp_path / "quality")
    workshop.folder.mkdir()
    workshop.data.symlink_to(small_data)
    config = tmp_path / "small" / "ComiRec-SA.toml"
    config.parent.mkdir()
    config.write_text(CONFIG)
    planned = Planned(config, seed=20, options={"top-n": "50", "steps": "10"})
    result = workshop.run(planned)

    assert (result.dataset, result.model, result.seed) == ("small", "ComiRec-SA", 20)
    assert (result.variant, result.steps) == ("steps=10 top-n=50", 10)
    (folder,) = workshop.runs.iterdir()
    assert folder.name.endswith("_seed20_steps-10_top-n-50")
    shown = reprise("evaluate", folder, "--data-dir", small_data, "--json").stdout
    measured = json.loads(shown)
    assert result.best_step == measured["step"]
    assert result.test == {name: value for name, value in measured.items() if "@" in name}
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert result.valid["recall@50"] == max(line["valid_recall@50"] for line in lines)

    assert workshop.run(planned) == result
    (log,) = (workshop.folder / "logs").iterdir()
    assert "Already finished at step 10 of 10" in log.read_text()


def test_benchmark_names_a_failed_command_with_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    workshop = Workshop(tmp_path)
    planned = Planned(tmp_path / "none" / "DNN.toml", seed=19, options={})
    with pytest.raises(RuntimeError, match=r"reprise train.* ended with 2: .*none_DNN_seed19\.log"):
        workshop.run(planned)
    workshop.close()
    with pytest.raises(RuntimeError, match="stopped"):
        workshop.run(planned)
