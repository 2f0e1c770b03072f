"""The step benchmark: its counts against sums by hand, and its input to other programs."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import peers
import preset_step
import step
from common import synthetic_split
from reprise.config.load import make_config, read_preset
from reprise.models.registry import ModelShape
from reprise.training.batches import make_sampler
from reprise.training.targets import TargetRule

SHAPE = ModelShape(history_length=3, embedding_dim=2, hidden_size=2, num_interest=2)
SCORES = 3 * 2 * 5 * 7 * 2  # batch 5, 7 negatives, d 2
READOUT = {1: 2 * 5 * 2, 2: 2 * 5 * 2 * 2}


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("ComiRec-DR", READOUT[2] + 3 * 240 + 6 * 120),
        ("ComiRec-SA", READOUT[2] + 3 * (480 + 480 + 120)),
        ("MIND", READOUT[2] + 3 * 120 + 6 * 120 + 3 * 80),
        ("DNN", READOUT[1] + 3 * 40 + 2 * 60),
        ("GRU4REC", READOUT[1] + 3 * 2 * 5 * 3 * 4 * 6),
    ],
)
def test_benchmark_counts_the_products_of_a_step(model: str, expected: int) -> None:
    assert step.flops(model, SHAPE, batch=5, negatives=7) == SCORES + expected


def test_benchmark_has_peers_for_every_model_and_a_script_for_every_peer() -> None:
    assert set(step.PEERS) == set(step.MODELS)
    for spec in {spec for specs in step.PEERS.values() for spec in specs}:
        assert spec.environment in peers.REQUIREMENTS
        assert (peers.HERE / f"peer_{spec.environment}.py").is_file()


def test_benchmark_peers_get_ids_of_the_catalogue(tmp_path: Path) -> None:
    split = synthetic_split(50, 40, seed=3)
    sampler = make_sampler(split, 50, batch_size=8, history_length=6, num_negatives=9, seed=4)
    batches = [sampler.batch(0, number) for number in (1, 2)]
    path = tmp_path / "batches.npz"
    peers.write_batches(path, batches)
    sequences = [split.items[a:b].tolist() for a, b in pairwise(split.offsets)]
    with np.load(path) as data:
        for number in range(2):
            for place in range(8):
                length = int(data["lengths"][number, place])
                row = data["history"][number, place].tolist()
                assert row[length:] == [0] * (6 - length)
                wanted = [*row[:length], int(data["target"][number, place])]
                assert any(
                    wanted == sequence[at : at + length + 1]
                    for sequence in sequences
                    for at in range(len(sequence))
                )
            negatives = data["negatives"][number]
            assert len(negatives) == 9
            assert len(set(negatives.tolist())) == 9
            assert negatives.min() >= 1
            assert negatives.max() <= 50


def test_preset_benchmark_counts_the_products_of_items_not_of_padding() -> None:
    values = read_preset("modern") | {"dataset": "d", "name": "n", "embedding_dim": 8}
    config = make_config({**values, "hidden_size": 8, "num_interest": 2, "encoder_layers": 3})
    split, rule = synthetic_split(50, 40, seed=3), TargetRule(1, 2)
    drawn = make_sampler(split, 50, 5, 9, num_negatives=7, seed=4, rule=rule).batch(0, 1)
    assert preset_step.loss_flops(config, drawn) == 2 * 5 * 2 * 7 * 8 * (2 + 1 + 1)
    longest = [int(own.max()) for own in drawn.prefixes]
    layer = sum(6 * n * 2 * 8 * 4 + 2 * n * n * 8 for n in longest)
    reads = 2 * 2 * 8 * (sum(longest) + int(drawn.prefixes.sum()))
    pointwise = 2 * 2 * (5 * 2 * 2) * 8 * 4
    assert preset_step.network_flops(config, drawn) == 3 * (3 * layer + reads + pointwise)
