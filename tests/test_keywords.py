"""Messages that name keywords and calls of the Python API instead of flags and commands."""

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

import reprise
from reprise.config.schema import SETTINGS
from reprise.data.readers.columns import Columns
from reprise.data.readers.recognise import asked_of
from reprise.errors import DataError, RepriseError, UsageError
from reprise.text.keywords import as_keywords, keywords_of
from reprise.text.messages import Messages, catalogue

UNTYPED: Any = reprise  # as programs that no type checker has seen call it
CALLS = (reprise.prepare, reprise.train, reprise.load, reprise.evaluate, reprise.evaluate_lists)
# In messages of commands that have no call, and of ComiRec's command line.
OF_COMMANDS = {
    *("accept_licence", "as_evaluated", "best_metric", "coef", "dry_run", "histories", "history"),
    *("hnsw_ef_construction", "hnsw_ef_search", "hnsw_m", "host", "index", "json", "map"),
    *("max_histories", "no_evaluation", "no_token", "onnx", "onnx_tolerance", "output", "port"),
    *("queue", "search", "step", "sweeps_dir", "times", "token_file", "user", "watch", "yes"),
    *("constants", "coordinator", "interconnect"),
}


def keywords() -> set[str]:
    """Return the keywords of the API's functions, and of the settings by any name."""
    named = {name for call in (*CALLS, asked_of) for name in inspect.signature(call).parameters}
    flags = {flag[2:].replace("-", "_") for one in SETTINGS.values() for flag in one.flags}
    return {*named, *SETTINGS, *flags, *(f"{what}_col" for what in Columns._fields)}


@pytest.mark.parametrize("language", ["en", "zh"])
def test_as_keywords_writes_keywords_that_exist(language: Any) -> None:
    known = keywords() | OF_COMMANDS
    for key, sentence in catalogue(language)["messages"].items():
        given = re.findall(r"(?<![\w-])--([a-z][a-z0-9-]*)(?![\w-])", sentence)
        shown = as_keywords(sentence)
        for flag in given:
            if f"--{flag}" not in shown:  # else it is part of a command, in backticks
                name = "diversity" if flag == "lambda" else flag.replace("-", "_")
                assert name in known, f"{key}: {name}"
                assert re.search(rf"\b{name}\b", shown), f"{key}: {shown}"
        bare = re.sub(r"`[^`]*`", "", shown)
        assert not re.search(r"(?<![\w-])--[a-z]+\b(?!_)", bare), f"{key}: {shown}"


@pytest.mark.parametrize(
    ("sentence", "shown"),
    [
        ("Give a smaller --k-core.", "Give a smaller k_core."),
        ("Choose one: --time-col NAME.", "Choose one: time_col=NAME."),
        ("--drop-invalid leaves them out.", "drop_invalid=True leaves them out."),
        ("no --cut without --protocol time-split", 'no cut without protocol="time-split"'),
        ("add --protocol last --k-core 1", "add protocol last k_core=1"),
        ("use --quote none --k-core 1.", 'use quote="none", k_core=1.'),
        ("Name it: --{what}-col NAME", "Name it: {what}_col=NAME"),
        ("add --data-dir {found}", "add data_dir={found!q}"),
        ("With: reprise prepare SOURCE --name NAME", "With: reprise.prepare(SOURCE, name=NAME)"),
        ("or `reprise train --new`.", "or `reprise.train(new=True)`."),
        ("See `reprise prepare --help`.", "See `reprise prepare --help`."),
        ("`reprise runs show --json` shows it", "`reprise runs show --json` shows it"),
        ("--change-learning-rate", "`reprise resume NAME --change-learning-rate X`"),
        ("(--max_iter of the original)", "(--max_iter of the original)"),
        ("two-part -- words", "two-part -- words"),
    ],
)
def test_as_keywords_leaves_no_flag_of_a_call(sentence: str, shown: str) -> None:
    assert as_keywords(sentence) == shown


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ("--seeds, --new", "seeds, new"),
        ("--user-col 'the customer' --item-col sku", 'user_col="the customer", item_col="sku"'),
        ("min-rating", "min_rating"),
        ("CSV, TSV", "CSV, TSV"),
        ("--sampler full", 'sampler="full"'),
    ],
)
def test_keywords_of_names_what_code_calls_flags(options: str, shown: str) -> None:
    assert keywords_of(options) == shown


def test_messages_in_keywords_quote_values_as_python_does() -> None:
    values = {"dataset": "a b", "data_dir": Path('my "data"')}
    said = Messages("en", keywords=True).text("dataset_not_found", **values)
    assert said.endswith('reprise.prepare(SOURCE, name="a b", data_dir="my \\"data\\"")')
    assert (
        Messages("en")
        .text("dataset_not_found", **values)
        .endswith('reprise prepare SOURCE --name a b --data-dir my "data"')
    )


def refused(call: Any) -> RepriseError:
    with pytest.raises(RepriseError) as caught:
        call()
    return caught.value


def test_errors_name_keywords_from_python_only(small_data: Path, tmp_path: Path) -> None:
    error = refused(lambda: reprise.open_dataset("nowhere", tmp_path))
    assert isinstance(error, DataError)
    assert str(error).endswith(f'reprise.prepare(SOURCE, name="nowhere", data_dir="{tmp_path}")')
    # What the command line shows of the same error.
    shown = Messages("en").text(error.key, **error.values)
    assert shown.endswith(f"reprise prepare SOURCE --name nowhere --data-dir {tmp_path}")
    error = refused(lambda: reprise.train("small", name="x", data_dir=small_data, steps="many"))
    assert str(error).startswith("steps = 'many' is invalid")


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: UNTYPED.load(5), "run = 5 is invalid: expected Run | str | Path."),
        (lambda: UNTYPED.load(None), "run = None is invalid: expected Run | str | Path."),
        (lambda: UNTYPED.load("t", runs_dir=5), "runs_dir = 5 is invalid: expected str | Path."),
        (lambda: UNTYPED.open_dataset(5), "name = 5 is invalid: expected str | Path."),
        (lambda: UNTYPED.train(5, name="x"), "data = 5 is invalid: expected Dataset | str."),
        (lambda: UNTYPED.train("d", name=5), "name = 5 is invalid: expected str."),
        (lambda: UNTYPED.train("d", name="x", new="no"), "new = 'no' is invalid: expected bool."),
        (lambda: UNTYPED.train("d", name="x", seeds=5), "seeds = 5 is invalid: expected Iterable"),
        (lambda: UNTYPED.evaluate(5), "run = 5 is invalid: expected Run | Group | str | Path."),
        (lambda: UNTYPED.evaluate("t", cutoffs="5"), "cutoffs = '5' is invalid: expected int | S"),
        (lambda: UNTYPED.evaluate("t", cutoffs=[5, 5.5]), "cutoffs = 5.5 is invalid: expected in"),
        (lambda: UNTYPED.evaluate("t", diversity=[0.1, "x"]), "diversity = 'x' is invalid"),
        (lambda: UNTYPED.evaluate("t", metrics=[["recall"]]), "metrics = 'list' is invalid"),
        (lambda: UNTYPED.evaluate("t", filter_seen="no"), "filter_seen = 'no' is invalid"),
        (lambda: UNTYPED.evaluate("t", on=5), "on = 5 is invalid: expected Dataset | str | None."),
        (lambda: UNTYPED.evaluate_lists(5, "d"), "Dataset 'd' not found"),
        (lambda: UNTYPED.evaluate_lists("f.csv", 5), "data = 5 is invalid"),
        (lambda: UNTYPED.prepare(None, "x"), "source = 'NoneType' is invalid: expected a path, a"),
        (lambda: UNTYPED.prepare([], "x"), "source = 'list' is invalid: expected a path, a list"),
        (lambda: UNTYPED.prepare("f", "x", k_core=2.5), "k_core = 2.5 is invalid: expected int |"),
        (lambda: UNTYPED.prepare("f", "x", separator=5), "separator = 5 is invalid: expected str"),
        (lambda: UNTYPED.prepare("f", "x", user_col=5), "user_col = 5 is invalid: expected str |"),
        (lambda: UNTYPED.prepare("f", "x", overwrite="no"), "overwrite = 'no' is invalid"),
    ],
)
def test_errors_name_arguments_of_a_wrong_type(
    call: Any, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    error = refused(call)
    assert str(error).startswith(said)
    assert not list(tmp_path.iterdir())
    assert isinstance(error, UsageError) or said.startswith("Dataset")
