"""Measure what a step of the preset modern takes with other settings, against the preset's own:
python benchmarks/variants.py DATASET VARIANT ...

DATASET is a prepared folder, a VARIANT is settings as `quality.py --set` takes them, in one word:
"ensemble=1 embedding-dim=64 hidden-size=64". All take turns, a step each; a row is the median over
rounds, and of the ratios to the preset's step of the same round.
"""

import json
from pathlib import Path
from statistics import median
from typing import Any

from common import Stepper, machine, make_parser, print_facts, print_table, write_json
from reprise.config.load import make_config, read_preset
from reprise.data.dataset import Dataset, open_dataset
from reprise.runtime.memory import keep_freed_memory
from reprise.training.batches import Batch
from reprise.training.setup import fresh_state, make_task


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("variants", nargs="*")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    dataset = open_dataset(options.dataset)
    made = {name: _subject(dataset, name) for name in ("", *options.variants)}
    keep_freed_memory()
    times: dict[str, list[float]] = {name: [] for name in made}
    for round_number in range(-2, options.rounds):  # two to compile, and to warm up
        for name, (stepper, batches) in made.items():
            took = stepper.ms_a_step([batches[round_number % len(batches)]])
            if round_number >= 0:
                times[name].append(took)
    rows: list[dict[str, str | int | float]] = [
        {
            "variant": name or "the preset",
            "step ms": median(own),
            "of the preset's": median(a / b for a, b in zip(own, times[""], strict=True)),
        }
        for name, own in times.items()
    ]
    facts = machine()
    print_facts(facts)
    print()
    print_table(rows)
    write_json(options.json, facts, rows)


def _subject(dataset: Dataset, variant: str) -> tuple[Stepper, list[Batch]]:
    words = (word.split("=", 1) for word in variant.split())
    changed = {name.replace("-", "_"): _value(text) for name, text in words}
    values = {**read_preset("modern"), **changed, "dataset": dataset.name, "name": "variant"}
    task = make_task(make_config(values), dataset)
    batches = [task.sampler.batch(0, step) for step in range(1, 9)]
    return Stepper(task.step, fresh_state(task).arrays), batches


def _value(text: str) -> Any:
    """Return the number that a text is, or the text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


if __name__ == "__main__":
    main()
