"""Train the shipped configurations and hold them against the original: python benchmarks/quality.py

Every config of the data sets found under --source is trained by `reprise train` for each seed,
and its best model measured by `reprise evaluate`. Runs, data and logs are kept under --folder: the
same command goes on where it was stopped, and trains no finished run again. --set changes options
of `reprise train` for all runs; such a variant has runs of its own, named after it:

    python benchmarks/quality.py --models ComiRec-DR --set optimizer=lazy-adam --json lazy.json

Results are read back by --from, without training: to print tables of several variants, as
Markdown for docs/quality.md and benchmarks/studies, and to write what is expected into the
headers of the configurations:

    python benchmarks/quality.py --from faithful.json lazy.json --markdown
    python benchmarks/quality.py --from faithful.json --write-headers

--study takes the preset modern apart: each of its parts left out or changed, as study.toml says,
against the preset by validation recall@50.

--source holds data in ComiRec's format, as <set>/comirec, <set> or <set>_data.
"""

import argparse
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from common import machine, make_parser, print_facts, print_table, write_json
from quality_study import STUDIED, VARIANTS, study_rows
from quality_table import (
    ROOT,
    SELECTED,
    Result,
    markdown,
    promise,
    row,
    summarise,
    write_headers,
)
from reprise.config.load import PRESETS, SHIPPED, field_of
from reprise.config.schema import SETTINGS
from reprise.data.prepare import prepare
from reprise.models.registry import REGISTRY

REPRISE = (sys.executable, "-m", "reprise")
SEEDS = (19, 20, 21)


@dataclass(frozen=True)
class Planned:
    """A run to be seen through."""

    config: Path
    seed: int
    options: Mapping[str, str]

    @property
    def dataset(self) -> str:
        """The data set's name."""
        return self.config.parent.name

    @property
    def model(self) -> str:
        """The model's name."""
        return self.config.stem

    @property
    def is_preset(self) -> bool:
        """Whether the config is of a preset, which names its model itself."""
        return self.model not in REGISTRY

    @property
    def variant(self) -> str:
        """The options that differ from the config's."""
        return " ".join(f"{key}={value}" for key, value in sorted(self.options.items()))

    @property
    def name(self) -> str:
        """The run's own name, the same whenever the same is planned."""
        changed = (f"_{key}-{value}" for key, value in sorted(self.options.items()))
        return f"{self.model}_seed{self.seed}{''.join(changed)}"


@dataclass
class Workshop:
    """The folder of all runs, and the processes at work in it."""

    folder: Path
    _running: set["subprocess.Popen[bytes]"] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _closed: bool = False

    @property
    def data(self) -> Path:
        """The prepared data sets."""
        return self.folder / "data"

    @property
    def runs(self) -> Path:
        """The runs' folders."""
        return self.folder / "runs"

    def run(self, planned: Planned) -> Result:
        """Train what is not trained yet, and measure it; RuntimeError where a command failed."""
        self._call(
            planned,
            *("train", "--config", planned.config, "--name", planned.name, "--lang", "en"),
            *("--seed", planned.seed, "--runs-dir", self.runs, "--data-dir", self.data),
            *(word for key, value in planned.options.items() for word in _words(key, value)),
        )
        folder = self.runs / f"{planned.dataset}_{planned.name}"
        shown = self._call(planned, "inspect", folder, "--which", "latest", "--json")
        latest = json.loads(shown)
        shown = self._call(planned, "evaluate", folder, "--json", "--data-dir", self.data)
        measured = json.loads(shown)
        best = _best_line(folder, measured["step"])
        result = Result(
            dataset=planned.dataset,
            model=planned.model,
            variant=planned.variant,
            seed=planned.seed,
            valid={name[6:]: best[name] for name in best if name.startswith("valid_")},
            test={name: measured[name] for name in measured if "@" in name},
            best_step=measured["step"],
            steps=latest["step"],
            seconds=round(latest["seconds"], 1),
        )
        print(
            f"{planned.dataset} {planned.model} {planned.name}: test {SELECTED}"
            f" {result.test[SELECTED]:.4f}, best at {result.best_step} of {result.steps} steps",
            file=sys.stderr,
            flush=True,
        )
        return result

    def close(self) -> None:
        """Have what is at work save and end; start nothing more."""
        with self._lock:
            self._closed = True
            for process in self._running:
                process.send_signal(signal.SIGTERM)

    def _call(self, planned: Planned, *arguments: object) -> bytes:
        """Run `reprise ARGUMENTS` and return what it printed; what it says goes into a log."""
        log = self.folder / "logs" / f"{planned.dataset}_{planned.name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as errors:
            with self._lock:
                if self._closed:
                    raise RuntimeError("stopped")
                process = subprocess.Popen(
                    [*REPRISE, *map(str, arguments)],
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    start_new_session=True,  # a Ctrl-C reaches it once, from `close`
                )
                self._running.add(process)
            output, _ = process.communicate()
            if arguments[0] == "train":
                errors.write(output)
        with self._lock:
            self._running.discard(process)
        if process.returncode:
            raise RuntimeError(f"`reprise {arguments[0]}` ended with {process.returncode}: {log}")
        return output


def main() -> None:
    options = _options()
    facts: dict[str, str | int | float] = machine()
    if options.read:
        stored = [json.loads(path.read_text(encoding="utf-8")) for path in options.read]
        results = [Result(**run) for content in stored for run in content["runs"]]
    else:
        print_facts(facts)
        try:
            results = _train(options)
        except KeyboardInterrupt:
            print("Stopped; the same command goes on.", file=sys.stderr)
            sys.exit(130)
        except RuntimeError as error:
            sys.exit(str(error))
        runs = [asdict(result) for result in results]
        write_json(options.json, {**facts, "runs": runs}, [row(one) for one in summarise(results)])
    summaries = summarise(results)
    rows = study_rows(summaries) if options.study else [row(one) for one in summaries]
    if options.markdown:
        print(markdown(rows))
    else:
        print_table(rows)
        if not options.study:
            print(promise(summaries))
    if options.write_headers:
        for path in write_headers(SHIPPED, summaries):
            print(f"written: {path.relative_to(ROOT)}")


def _options() -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument("--source", type=Path, help="Folder of the data sets.")
    parser.add_argument("--folder", type=Path, default=Path("quality"), help="Where runs are kept.")
    parser.add_argument("--datasets", nargs="+", help="All that --source holds otherwise.")
    known = [*REGISTRY, *PRESETS]
    parser.add_argument("--models", nargs="+", choices=known, default=list(REGISTRY))
    parser.add_argument("--study", action="store_true", help="Take the preset modern apart.")
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="For all runs.")
    parser.add_argument("--jobs", type=int, default=2, help="Runs at a time.")
    parser.add_argument("--from", nargs="+", type=Path, dest="read", metavar="JSON")
    parser.add_argument("--markdown", action="store_true", help="Print the table as Markdown.")
    parser.add_argument("--write-headers", action="store_true", help="Write what is expected.")
    options = parser.parse_args()
    if not options.read and options.source is None:
        parser.error("--source (or --from) is needed")
    if not all("=" in text for text in options.set):
        parser.error("--set takes KEY=VALUE")
    return options


def _train(options: argparse.Namespace) -> list[Result]:
    """Prepare the data, see all runs through, and return their results in the order planned."""
    workshop = Workshop(options.folder)
    datasets = options.datasets or [
        folder.name for folder in sorted(SHIPPED.iterdir()) if _find(options.source, folder.name)
    ]
    changed = dict(_option(text) for text in options.set)
    models = [STUDIED] if options.study else options.models
    variants = [changed | dict(variant) for variant in VARIANTS] if options.study else [changed]
    planned = [
        Planned(SHIPPED / dataset / f"{model}.toml", seed, variant)
        for variant in variants
        for dataset in datasets
        for model in models
        for seed in options.seeds
        if (SHIPPED / dataset / f"{model}.toml").is_file()
    ]
    if not planned:
        sys.exit(f"{options.source} holds no data set with a shipped configuration of these models")
    for dataset in datasets:
        if not (workshop.data / dataset / "meta.json").is_file():
            source = _find(options.source, dataset)
            if source is None:
                sys.exit(f"{options.source} holds no data set {dataset}")
            prepare(source, dataset, workshop.data)
    with _stopping(workshop), ThreadPoolExecutor(options.jobs) as pool:
        try:
            return list(pool.map(workshop.run, planned))
        except BaseException:
            workshop.close()
            pool.shutdown(cancel_futures=True)
            raise


def _find(source: Path, dataset: str) -> Path | None:
    """Return the folder of a data set in ComiRec's format; None where there is none."""
    for folder in (source / dataset / "comirec", source / dataset, source / f"{dataset}_data"):
        if (folder / f"{dataset}_train.txt").is_file():
            return folder
    return None


def _option(text: str) -> tuple[str, str]:
    key, _, value = text.partition("=")
    return key.replace("_", "-"), value


def _best_line(folder: Path, step: int) -> dict[str, Any]:
    """Return the record of the best evaluation, which must be that of the model stored, `step`."""
    text = (folder / "metrics.jsonl").read_text(encoding="utf-8")
    lines: list[dict[str, Any]] = [json.loads(line) for line in text.splitlines()]
    best = lines[-1]["best_step"] if lines else None
    if best != step:
        raise RuntimeError(f"{folder}: best at {best} by its record, {step} stored")
    return next(line for line in lines if line["step"] == best)


@contextmanager
def _stopping(workshop: Workshop) -> Iterator[None]:
    """Let SIGTERM end the benchmark as Ctrl-C does."""

    def stop(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _words(key: str, value: str) -> list[str]:
    """Return the words that give an option: a setting's, or another's of `reprise train`."""
    setting = SETTINGS.get(field_of(key))
    return [f"--{key}", value] if setting is None else setting.words(value)


if __name__ == "__main__":
    main()
