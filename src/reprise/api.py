"""The Python API: prepare, train, load and evaluate; the command line uses it, too.

import reprise
data = reprise.prepare("clicks.parquet", name="clicks")
run = reprise.train(data, model="ComiRec-DR", name="first", steps=2000)
model = reprise.load(run)
model.user_vectors([["sku-1", "sku-9"]])
"""

import signal
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from reprise.arguments import check_types, of_python
from reprise.config.effect import say_without_effect
from reprise.config.load import field_of, in_todays_names, read_preset, read_toml
from reprise.config.schema import check_value
from reprise.data import PROTOCOLS
from reprise.data.dataset import Dataset
from reprise.data.dataset import open_dataset as open_folder
from reprise.data.prepare import locate
from reprise.data.prepare import prepare as prepare_folder
from reprise.data.readers.given import Given, Source
from reprise.errors import RepriseError, UsageError
from reprise.runtime.setup import setup
from reprise.text.messages import Messages, Phrase, choose_language
from reprise.views import Baselines, Group, Run

if TYPE_CHECKING:
    import polars as pl

    from reprise.config.schema import TrainConfig
    from reprise.runs.naming import Named
    from reprise.runs.results import Split
    from reprise.runs.session import Outcome, Request
    from reprise.runs.stored import Locate
    from reprise.serving.recommender import Recommender
    from reprise.show.run import RunConsole, Voice

Which = Literal["best", "latest"]
# The argument that a frame was expected for, by the name of its file, and what it takes.
_NO_FRAME = {"frame": ("source", "good_source"), "lists": ("lists", "good_lists")}
_OF_FRAMES = {"no_column": "frame_no_column", "column_missing": "frame_column_missing"}


@of_python
def prepare(
    source: Any,
    name: str,
    *,
    data_dir: str | Path = "data",
    protocol: str = PROTOCOLS[0],
    k_core: int | None = None,
    cut: Sequence[str | float] | None = None,
    format: str | None = None,  # noqa: A002 - as the flag is called
    behaviours: Sequence[str] | None = None,
    overwrite: bool = False,
    max_memory: str | int | None = None,
    query: str | None = None,
    item_features: str | Sequence[str] | None = None,
    items: str | Path | None = None,
    cold_items: float | None = None,
    aside: bool = True,
    **told: Any,
) -> Dataset:
    """Prepare interactions as the data set `name`, and open it.

    Args:
        source: A file or folder in a format that `reprise prepare` knows, a pattern of names, a
            list of these, which are read together, or a frame of polars, pandas or pyarrow with a
            row an interaction.
        data_dir: Folder of the data sets.
        protocol, k_core, cut, format, behaviours, overwrite: As the flags of `reprise prepare`.
        max_memory: Bytes of memory that may be used ("8GB"), with the rows on disk. None: all is
            done in memory.
        query: What a database file, SQLite or DuckDB, gives the rows of, in SQL; its path is the
            source.
        item_features: Names of the items' features, or "all"; items: the table that has them.
        cold_items: Share of the items that is held out of training.
        aside: Whether what the filter leaves out is kept aside.
        told: What else the flags tell of a source: user_col, item_col, time_col, category_col,
            title_col, event_col, events, target_events, rating_col, min_rating, separator, quote,
            encoding, null_values, drop_invalid and ties.

    Raises:
        DataError: The source cannot be used; the message states what is wrong, and where.
        UsageError: A value is invalid, or a column does not exist.
    """
    from reprise.data.build import More
    from reprise.data.readers.features import features_asked
    from reprise.data.readers.recognise import asked_of

    check_value("dataset", name)
    check_types(asked_of, told)
    asked = asked_of(format_name=format, **told)._replace(
        behaviours=None if behaviours is None else tuple(behaviours)
    )
    more = More(features_asked(item_features, items), cold_items, aside)
    with _as_source(source) as read:
        folder = prepare_folder(
            read,
            name,
            Path(data_dir),
            protocol,
            k_core,
            asked,
            None if cut is None else [str(time) for time in cut],
            overwrite=overwrite,
            max_memory=max_memory,
            query=query,
            more=more,
        )
    return open_folder(folder)


@of_python
def open_dataset(name: str | Path, data_dir: str | Path = "data") -> Dataset:
    """Open a prepared data set by its name under `data_dir` or by its folder's path."""
    return _dataset(name, data_dir)


@overload
def train(
    data: Dataset | str,
    *,
    name: str,
    seeds: None = None,
    new: bool = False,
    final_fit: Run | str | Path | None = None,
    preset: str | None = None,
    config: str | Path | None = None,
    runs_dir: str | Path = "runs",
    data_dir: str | Path | None = None,
    resume_from: Which = "latest",
    devices: int = 1,
    track: str | Sequence[str] = (),
    progress: bool = False,
    lang: str | None = None,
    **settings: Any,
) -> Run: ...


@overload
def train(
    data: Dataset | str,
    *,
    name: str,
    seeds: Iterable[int],
    preset: str | None = None,
    config: str | Path | None = None,
    runs_dir: str | Path = "runs",
    data_dir: str | Path | None = None,
    resume_from: Which = "latest",
    devices: int = 1,
    track: str | Sequence[str] = (),
    progress: bool = False,
    lang: str | None = None,
    **settings: Any,
) -> Group: ...


@of_python
def train(
    data: Dataset | str,
    *,
    name: str,
    seeds: Iterable[int] | None = None,
    new: bool = False,
    final_fit: Run | str | Path | None = None,
    preset: str | None = None,
    config: str | Path | None = None,
    runs_dir: str | Path = "runs",
    data_dir: str | Path | None = None,
    resume_from: Which = "latest",
    devices: int = 1,
    track: str | Sequence[str] = (),
    progress: bool = False,
    lang: str | None = None,
    **settings: Any,
) -> Run | Group:
    """Train a model, or continue its run where it stopped: the same call does both.

    A run is identified by its name and data set. Settings that are not given are taken from the
    stored run; different settings are refused, except steps and patience.

    Args:
        data: A data set, or its name under `data_dir`.
        name: The experiment's name.
        seeds: A run for each of these, named NAME-s19 and so on; a Group is returned.
        new: Make a new run, with the next free name ("first-2") if a run has that name.
        final_fit: Train on all users, valid and test too, with the settings of this run and as many
            steps as its best model took; nothing is evaluated.
        preset: A set of settings that work well together: "modern", or "fast".
        config: A TOML file of settings, or the name of a shipped one; it overrides the preset.
        runs_dir: Folder of the runs.
        data_dir: Folder of the data sets. None: the folder that the run stored, or else "data".
        resume_from: The checkpoint that an existing run resumes from.
        devices: Number of devices of this machine that train together. On CPUs, they are made
            before JAX starts.
        track: Trackers besides TensorBoard: "mlflow", "wandb".
        progress: Whether to print the output of `reprise train`; otherwise warnings only.
        lang: Language of the output.
        settings: Any setting of a run by its name or its flag's (steps=2000); they override the
            file's and the preset's.

    Raises:
        KeyboardInterrupt: Ctrl-C stopped the training; all is saved, and the same call resumes it.
        ConfigMismatchError: The run has different settings or data.
        RepriseError: Any other error of the command line, with the same message.
    """
    from reprise.show.run import RunConsole, Voice
    from reprise.tracking import require

    trackers = tuple(_several(track) or ())
    require(trackers)
    own = {"dataset": data.name if isinstance(data, Dataset) else data, "name": name}
    given = _settings(preset, config, settings) | own
    named = _named(given, Path(runs_dir), seeds, new, final_fit)
    of_preset = read_preset(preset) if preset else {}
    asked = {key: value for key, value in given.items() if key not in of_preset}
    say_without_effect(asked, named[0].config, _warn)
    requests = [_request(one, data, data_dir, resume_from, devices) for one in named]
    voice = partial(Voice, Messages(choose_language(lang), keywords=True), silent=not progress)
    console = partial(RunConsole, trackers=trackers, preset=preset, live=progress)
    _run(requests, voice, console, of_group=seeds is not None, taken=named[0].taken)
    trained = [Run(one.folder.path, one.data_folder.parent) for one in requests]
    return trained[0] if seeds is None else Group(name, tuple(trained))


@of_python
def load(
    run: Run | str | Path,
    which: Which = "best",
    *,
    runs_dir: str | Path = "runs",
    data_dir: str | Path | None = None,
) -> "Recommender":
    """Load a run's model, given a Run, the path of a run or a checkpoint, or a run's name.

    The data set is not needed, except for runs of older versions, which do not store their item
    ids: it is then looked up in `data_dir`.
    """
    from reprise.runs.stored import load as load_stored
    from reprise.serving.recommender import Recommender

    setup()
    path, locate = _place(run, Path(runs_dir), data_dir)
    return Recommender(load_stored(path, which, _warn, locate))


@of_python
def evaluate(
    run: Run | Group | str | Path,
    split: Literal["valid", "test"] = "test",
    *,
    which: Which = "best",
    cutoffs: int | Sequence[int] | None = None,
    metrics: str | Sequence[str] | None = None,
    filter_seen: bool = False,
    diversity: float | Iterable[float] | None = None,
    request_time: str | None = None,
    on: Dataset | str | None = None,
    runs_dir: str | Path = "runs",
    data_dir: str | Path | None = None,
) -> dict[str, Any]:
    """Evaluate a run's stored model on the full catalogue, and return the content of
    `reprise evaluate --json`: metrics by key ("recall@50"), confidence intervals, and metrics by
    groups of users and items.

    Args:
        run: A Run, the path of a run or a checkpoint, or a run's name. Of a Group or its name, the
            result is {"name", "metrics", "runs"}: mean and deviation of each metric, and what each
            run gives by itself.
        split: The users to evaluate.
        which: The run's best or latest model.
        cutoffs: The cutoffs of the metrics; None: 20, 50 and the run's own.
        metrics: The metrics to return, such as ("recall", "ndcg"); None: all.
        filter_seen: Whether to exclude items that the user has interacted with.
        diversity: Lambda of lists diversified by category; None: lists by score. Of several, the
            result is {"curve": [...]} with what a single one gives for each, ascending.
        request_time: When users ask, of a model that depends on it: "first-held-out" or "last".
            None: as in the run's evaluations.
        on: Another data set that shares raw item ids, or its name.
        runs_dir: Folder of the runs.
        data_dir: Folder of the data sets.
    """
    from reprise.runs.evaluated import group_facts
    from reprise.runs.evaluation import cutoffs_asked, lambdas_asked, metrics_asked, only

    shown, asked = metrics_asked(_several(metrics)), cutoffs_asked(_several(cutoffs))
    several = isinstance(diversity, Iterable)
    coefs: Sequence[float | None] = (None,)
    if diversity is not None:
        given = diversity if isinstance(diversity, Iterable) else (diversity,)
        coefs = lambdas_asked(given, "diversity")
    setup()
    group, runs = _runs_of(run, Path(runs_dir), data_dir)
    if group is not None and several:
        raise UsageError("group_one_lambda", name=group, names=", ".join(runs))
    ask = partial(_evaluated, split, which, coefs, filter_seen, asked, request_time, on, data_dir)
    found = {
        name: [only(facts, shown) for facts in ask(path, locate)]
        for name, (path, locate) in runs.items()
    }
    if group is not None:
        return group_facts(group, {name: points[0] for name, points in found.items()})
    (points,) = found.values()
    return {"curve": points} if several else points[0]


@of_python
def evaluate_lists(
    lists: Any,
    data: Dataset | str,
    split: Literal["valid", "test"] = "test",
    *,
    cutoffs: int | Sequence[int] | None = None,
    metrics: str | Sequence[str] | None = None,
    data_dir: str | Path = "data",
) -> dict[str, Any]:
    """Evaluate another system's lists on the same users and by the same metrics as `evaluate`.

    Args:
        lists: A Parquet, CSV or JSON lines file, or a polars, pandas or pyarrow frame, with one
            row per item (user, item, and rank or score) or per user (user and items, best first).
        data: The data set of the users, or its name under `data_dir`.
        split: The users to evaluate; users without a list count as 0.
        cutoffs: The cutoffs of the metrics; None: 20 and 50.
        metrics: The metrics to return; None: all.
        data_dir: Folder of the data sets.
    """
    from reprise.runs.evaluation import (
        cutoffs_asked,
        evaluation_facts,
        metrics_asked,
        only,
        warn_of_whole_lists,
    )
    from reprise.runs.given import measure_lists

    shown, asked = metrics_asked(_several(metrics)), cutoffs_asked(_several(cutoffs))
    dataset = data if isinstance(data, Dataset) else _dataset(data, data_dir)
    with _as_file(lists, "lists") as path:
        measured = measure_lists(path, dataset, split, _warn, asked)
    warn_of_whole_lists(measured, _warn)
    return only(evaluation_facts(measured, split, None), shown)


@of_python
def baselines(
    data: Dataset | str,
    split: Literal["valid", "test"] = "test",
    *,
    cutoffs: int | Sequence[int] | None = None,
    only: str | Sequence[str] | None = None,
    runs_dir: str | Path = "runs",
    data_dir: str | Path = "data",
) -> Baselines:
    """Measure what counting reaches on a data set, as `reprise baselines` does: nothing is trained
    by gradient, settings are chosen by recall@50 on the valid users, seen items are left out.

    Args:
        data: The data set, or its name under `data_dir`.
        split: The users to evaluate.
        cutoffs: The cutoffs of the metrics; None: 20 and 50.
        only: The baselines to measure, such as ("popular", "rules"); None: all, of those for
            cold items the ones that can be.
        runs_dir: Folder of the runs: the results are stored there, and the runs that were evaluated
            without seen items stand beside them.
        data_dir: Folder of the data sets.
    """
    from reprise.config.schema import SETTINGS, cutoffs_of
    from reprise.runs.baselines import NAMES, measure_baselines
    from reprise.runs.baselines_kept import keep
    from reprise.runs.beside import runs_beside
    from reprise.runs.evaluation import cutoffs_asked
    from reprise.runs.manage.survey import folders

    asked = cutoffs_asked(_several(cutoffs)) or cutoffs_of(SETTINGS["top_n"].default)
    names = None if only is None else tuple(_several(only))
    dataset = data if isinstance(data, Dataset) else open_dataset(data, data_dir)
    facts = measure_baselines(dataset, split, asked, names, _warn)
    keep(Path(runs_dir), facts, NAMES)
    return Baselines(facts | {"runs": runs_beside(folders(Path(runs_dir)), facts)})


def run_request(request: "Request", console: "RunConsole", command: str | None) -> int:
    """Run a request to its end, show the result, and return the exit code. `command` resumes the
    run from a shell; None if it was not started from a shell.
    """
    outcome = _seen_through(request, console, command)
    if outcome.leads:
        console.ended(outcome, command)
    return outcome.exit_code


def run_group(
    requests: Sequence["Request"],
    voice: "Callable[[], Voice]",
    console: "Callable[[Voice, TrainConfig], RunConsole]",
    command: str | None,
) -> int:
    """Run requests to their ends, one after the other, show the mean and deviation of their
    results, and return the exit code: that of the run that was stopped.

    Args:
        requests: The runs.
        voice: Makes what prints the lines of a run and writes its log.
        console: Makes what shows a run.
        command: Resumes all of them from a shell; None as for `run_request`.
    """
    from reprise.runs.manage.groups import statistics
    from reprise.show.run import statistics_line

    reached: dict[Split, list[dict[str, float]]] = {}
    for place, request in enumerate(requests, start=1):
        of_run = console(voice(), request.config)
        of_run.say("group_run", name=request.config.name, place=place, count=len(requests))
        outcome = _seen_through(request, of_run, command)
        # What one run has reached needs no command to train it longer.
        of_run.ended(outcome, command if outcome.exit_code else None)
        if outcome.exit_code:
            return outcome.exit_code
        for split, metrics in (outcome.results or {}).items():
            reached.setdefault(split, []).append(metrics)
    at_end = voice()
    at_end.say("group_reached", count=len(requests))
    for split, found in reached.items():
        at_end.line(f"{split}  {statistics_line(statistics(found))}")
    return 0


def _run(
    requests: Sequence["Request"],
    voice: Callable[..., "Voice"],
    console: Callable[..., "RunConsole"],
    of_group: bool,
    taken: str | None,
) -> None:
    """Train one run, or the runs of a group, and raise what ends them early; taken: the name that
    was asked for, if a new run got another one.
    """
    first = voice()
    if taken is not None:
        first.say("named_anew", taken=taken, name=requests[0].config.name)
    if not setup():
        first.say("jax_has_started")
    if of_group:
        _raise(run_group(requests, voice, console, command=None))
    else:
        _raise(run_request(requests[0], console(first, requests[0].config), command=None))


def _seen_through(request: "Request", console: "RunConsole", command: str | None) -> "Outcome":
    from reprise.runs.session import run_session

    try:
        return run_session(request, console, own_process=command is not None)
    finally:
        console.close()


def _request(
    named: "Named",
    data: Dataset | str,
    data_dir: str | Path | None,
    resume_from: Which,
    devices: int,
) -> "Request":
    from reprise.runs.session import Request
    from reprise.runs.where import folder_for

    folder = data.folder if isinstance(data, Dataset) else folder_for(named, _folder(data_dir))
    own = (named.config, folder, named.folder, resume_from)
    return Request(*own, fit_of=named.fit_of, devices=devices)


@contextmanager
def _as_source(source: Any) -> Iterator[Source]:
    """Yield what is to be prepared: paths as they are, a frame as a file that is called so."""
    paths = source if isinstance(source, list | tuple) else [source]
    if paths and all(isinstance(path, str | Path) for path in paths):
        yield source
    else:
        with _as_file(source, "frame") as table:
            yield Given((table,), table.parent, "frame")


@contextmanager
def _as_file(source: Any, name: str) -> Iterator[Path]:
    """Yield the path of a source; a frame is written to a temporary file."""
    if isinstance(source, str | Path):
        yield Path(source)
        return
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / f"{name}.parquet"
        _as_polars(source, name).write_parquet(table)
        try:
            yield table
        except RepriseError as error:
            raise _of_frame(error, table) from error


def _of_frame(error: RepriseError, table: Path) -> RepriseError:
    """Return an error about the file of a frame as one about the frame."""
    frame = Phrase("the_frame")
    values = {
        name: frame if value in (table, str(table)) else value
        for name, value in error.values.items()
    }
    return type(error)(_OF_FRAMES.get(error.key, error.key), **values)


def _as_polars(frame: Any, name: str) -> "pl.DataFrame":
    """Convert a polars, pandas or pyarrow frame to polars."""
    import polars as pl

    try:
        if frame is None or isinstance(frame, list | tuple):
            raise TypeError
        return frame if isinstance(frame, pl.DataFrame) else pl.DataFrame(frame)
    except ImportError:  # for pandas' strings if pyarrow is not installed
        return pl.DataFrame({str(name): _values(column) for name, column in frame.items()})
    except TypeError as error:
        option, expected = _NO_FRAME[name]
        kind = type(frame).__name__
        raise UsageError(
            "bad_value", option=option, value=kind, expected=Phrase(expected)
        ) from error


def _dataset(name: str | Path, data_dir: str | Path) -> Dataset:
    path = Path(name)
    here = (path / "meta.json").is_file()
    return open_folder(path if here else locate(Path(data_dir), path.name))


def _several(value: Any) -> Any:
    """Return a value that was given without a list, such as cutoffs=20, as the only one of one."""
    return (value,) if isinstance(value, str | Integral) else value


def _values(column: Any) -> Any:
    """Return the values of a pandas column, None for missing ones."""
    values = column.to_numpy()
    if values.dtype.kind != "O":
        return values
    return [None if gone else value for value, gone in zip(values, column.isna(), strict=True)]


def _settings(
    preset: str | None, config: str | Path | None, settings: dict[str, Any]
) -> dict[str, Any]:
    """Merge the values of a preset, a file and a call, in increasing order of precedence."""
    from_file = {} if config is None else read_toml(Path(config), _warn)
    named = preset or from_file.pop("preset", None)
    from_file.pop("preset", None)
    given = in_todays_names({field_of(key): value for key, value in settings.items()}, _warn)
    return {**(read_preset(named) if named else {}), **from_file, **given}


def _place(
    run: Run | str | Path, runs_dir: Path, data_dir: str | Path | None
) -> tuple[Path, "Locate"]:
    """Return the path of a run, and what finds its data set."""
    from reprise.runs.manage.survey import path_of
    from reprise.runs.where import locator

    if isinstance(run, Run):
        return run.path, locator(run.path, _folder(data_dir) or run.data_dir)
    if not str(run):  # as a path it would be the current folder
        raise UsageError("bad_value", option="run", value=run, expected=Phrase("good_path"))
    path = path_of(Path(run), runs_dir)
    return path, locator(path, _folder(data_dir))


def _runs_of(
    run: Run | Group | str | Path, runs_dir: Path, data_dir: str | Path | None
) -> "tuple[str | None, dict[str, tuple[Path, Locate]]]":
    """Return the path of each run to evaluate, and what finds its data set, by the run's name; and
    the name of their group, None of a single run or checkpoint.
    """
    from reprise.runs.folder import RunFolder
    from reprise.runs.manage.groups import paths_of
    from reprise.runs.manage.survey import short_name

    group: str | None = None
    several: Sequence[Run | Path] = ()
    if isinstance(run, Run):
        several = (run,)
    elif isinstance(run, Group):
        group, several = run.name, run.runs
    else:
        group, several = paths_of(Path(run), runs_dir)
    places = [_place(one, runs_dir, data_dir) for one in several]
    return group, {short_name(RunFolder(place[0])): place for place in places}


def _evaluated(
    split: "Split",
    which: Which,
    coefs: Sequence[float | None],
    filter_seen: bool,
    cutoffs: tuple[int, ...] | None,
    request_time: str | None,
    on: Dataset | str | None,
    data_dir: str | Path | None,
    path: Path,
    locate: "Locate",
) -> list[dict[str, Any]]:
    """Evaluate a run's stored model by each lambda."""
    from reprise.runs.evaluated import evaluate_stored
    from reprise.runs.evaluation import asked_at
    from reprise.runs.stored import load as load_stored

    stored = asked_at(load_stored(path, which, _warn, locate), request_time)
    if isinstance(on, str):
        on = _dataset(on, data_dir or stored.dataset.folder.parent)
    return evaluate_stored(stored, split, coefs, filter_seen, cutoffs, _warn, on)


def _named(
    given: dict[str, Any],
    runs_dir: Path,
    seeds: Iterable[int] | None,
    new: bool,
    final_fit: Run | str | Path | None,
) -> "list[Named]":
    """Return the runs that a call of `train` is of."""
    from reprise.runs.folder import RunFolder
    from reprise.runs.manage.groups import for_seeds, seeds_of
    from reprise.runs.naming import for_final_fit, for_training

    if seeds is not None:
        of_one_run = {"--new": new, "--final-fit": final_fit is not None}
        return for_seeds(given, seeds_of(seeds), runs_dir, of_one_run)
    if final_fit is None:
        return [for_training(given, runs_dir, new)]
    source = RunFolder(_place(final_fit, runs_dir, None)[0])
    return [for_final_fit(source, given, runs_dir, new)]


def _raise(code: int) -> None:
    """Raise what a stop with this exit code is for a program; nothing at 0."""
    if code == 128 + signal.SIGINT:
        raise KeyboardInterrupt
    if code:
        raise SystemExit(code)


def _folder(given: str | Path | None) -> Path | None:
    return None if given is None else Path(given)


def _warn(key: str, **values: object) -> None:
    import warnings

    text = Messages(choose_language(), keywords=True).text(key, **values)
    warnings.warn(text, stacklevel=3)
