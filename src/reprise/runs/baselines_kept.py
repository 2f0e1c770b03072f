"""The stored results of baselines: RUNS_DIR/baselines/NAME.json, by split.

schema               1
dataset_fingerprint  of the data that they were measured on; of other data, nothing is kept
results              by split: what `measure_baselines` returned last of each baseline
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reprise import durable

SCHEMA = 1

Facts = dict[str, Any]


def keep(runs_dir: Path, facts: Facts, names: Sequence[str]) -> Path:
    """Store results, replacing those of the same baselines and split, and return the file; names:
    all baselines, in their order.
    """
    path = _path(runs_dir, facts["dataset"])
    known = read(runs_dir, facts["dataset"], facts["dataset_fingerprint"])
    before = known.get(facts["split"], {"baselines": {}})["baselines"]
    found = before | facts["baselines"]
    merged = {**facts, "baselines": {name: found[name] for name in names if name in found}}
    content = {
        "schema": SCHEMA,
        "dataset_fingerprint": facts["dataset_fingerprint"],
        "results": known | {facts["split"]: merged},
    }
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    durable.make_folder(path.parent)
    durable.replace_file(path, text.encode())
    return path


def read(runs_dir: Path, dataset: str, fingerprint: str) -> dict[str, Facts]:
    """Return the stored results of a data set, by split; none where there are none of this data or
    they cannot be read: they can be made again.
    """
    try:
        content = json.loads(_path(runs_dir, dataset).read_text(encoding="utf-8"))
        if (content["schema"], content["dataset_fingerprint"]) == (SCHEMA, fingerprint):
            return dict(content["results"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return {}


def _path(runs_dir: Path, dataset: str) -> Path:
    return runs_dir / "baselines" / f"{dataset}.json"
