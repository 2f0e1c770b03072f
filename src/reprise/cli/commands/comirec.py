"""ComiRec's command line (flags, prompt and output) for Reprise's training.

reprise comirec --dataset book --model_type ComiRec-DR --learning_rate 0.007 --max_iter 20

`python src/train.py` in a clone is the same.
"""

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from reprise.cli.help import Command
from reprise.cli.options import PATH, common_options, say, setting_option, steps_of
from reprise.config.effect import say_without_effect
from reprise.config.load import make_config
from reprise.config.schema import SETTINGS, TrainConfig
from reprise.errors import UsageError
from reprise.runs.signals import end_at_once_on_interrupt
from reprise.runtime.streams import is_terminal
from reprise.text.messages import Messages, choose_language

# The original's settings: batch size, history length, steps between evaluations.
BOOK = (128, 20, 1000)
TAOBAO = (256, 50, 500)
# Flags that must agree with the stored model for -p test and -p output.
MODEL_FLAGS = ("model", "maxlen", "embedding_dim", "hidden_size", "num_interest")


Option = Callable[[Callable[..., Any]], Callable[..., Any]]


def own(name: str, flag: str | None = None) -> Option:
    """Return the option of a setting under ComiRec's flag, with the setting's default."""
    return setting_option(name, flag or f"--{name}", default=SETTINGS[name].default)


def folder(name: str) -> Option:
    """Return the option of a folder, --<name>_dir, whose default is <name>."""
    usual = name.removeprefix("--").removesuffix("_dir")
    return click.option(name, type=PATH, default=usual)


@click.command(
    "comirec",
    cls=Command,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "token_normalize_func": lambda token: token.replace("-", "_"),
        "show_default": True,
    },
)
@click.option("-p", "task", type=click.Choice(["train", "test", "output"]), default="train")
@setting_option("dataset", "--dataset", default="book")
@own("seed", "--random_seed")
@own("embedding_dim")
@own("hidden_size")
@own("num_interest")
@setting_option("model", "--model_type")
@own("learning_rate")
@own("optimizer")
@own("selection")
@click.option("--max_iter", type=float, default=1000.0)
@own("patience")
@click.option("--coef", type=float)
@own("top_n", "--topN")
@setting_option("name")
@setting_option("test_iter", "--test_iter")
@click.option("--resume_from", type=click.Choice(["best", "latest"]), default="best")
@click.option("--best_metric", type=float)
@folder("--runs_dir")
@folder("--data_dir")
@common_options
def comirec(task: str, lang: str | None, name: str | None, **options: Any) -> None:
    """Train, test or output a model like ComiRec's src/train.py."""
    end_at_once_on_interrupt()  # until training installs its own signal handlers
    messages = Messages(choose_language(lang))
    if options["model"] in (None, "none"):
        raise UsageError("missing_value", option="model_type")
    asked = name is None
    if name is None:
        name = ask_name(messages)
    given = config_values(name, options)
    config = make_config(given)
    say_without_effect(given, config, say)
    if task == "train":
        from reprise.show.commandline import resume_command

        below = click.get_current_context().parent is not None  # reprise comirec
        program = "reprise" if below else shlex.join(["python", sys.argv[0]])
        arguments = [*sys.argv[1:], *(["--name", name] if asked else [])]
        command = resume_command(program, arguments) + " --resume_from latest"
        sys.exit(start_training(config, options, messages, command))
    measure_or_output(task, config, options, messages)


def ask_name(messages: Messages) -> str:
    """Read the experiment's name from standard input, which may be a pipe."""
    print(messages.text("prompt_name"), end="", flush=True)
    name = sys.stdin.readline().strip()
    if not is_terminal(sys.stdin):
        print(flush=True)
    if not name:
        raise UsageError("no_name")
    return name


def config_values(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """Translate the original's flags to configuration values by field name."""
    batch_size, maxlen, test_iter = TAOBAO if options["dataset"] == "taobao" else BOOK
    usual = {"batch_size": batch_size, "maxlen": maxlen, "test_iter": test_iter}
    asked = {key: options[key] for key in SETTINGS.keys() & options.keys()}
    given = {key: value for key, value in asked.items() if value is not None}
    return usual | given | {"name": name, "max_steps": steps_of(options["max_iter"])}


def start_training(
    config: TrainConfig, options: dict[str, Any], messages: Messages, command: str
) -> int:
    """Start or resume a run, and return the exit code."""
    from reprise.api import run_request
    from reprise.data.prepare import locate
    from reprise.runs.folder import RunFolder
    from reprise.runs.session import Request
    from reprise.runs.where import data_of
    from reprise.show.run import ComiRecConsole, Voice

    folder, data_dir = RunFolder(options["runs_dir"] / config.run_name), options["data_dir"]
    request = Request(
        config=config,
        data_folder=data_of(folder, config.dataset, data_dir)
        if folder.record.is_file()
        else locate(data_dir, config.dataset),
        folder=folder,
        resume_from=options["resume_from"],
        best_metric=options["best_metric"],
    )
    return run_request(request, ComiRecConsole(Voice(messages), config), command)


def measure_or_output(
    task: str, config: TrainConfig, options: dict[str, Any], messages: Messages
) -> None:
    """Print the best model's test metrics, or write its item embeddings to output/ (.npy)."""
    import numpy as np

    from reprise.runs import results
    from reprise.runs.evaluation import evaluate_run, evaluation_facts
    from reprise.runs.folder import RunFolder, find_checkpoint, refuse_difference
    from reprise.runs.stored import from_checkpoint
    from reprise.runs.where import locator
    from reprise.show.run import Voice, comirec_results

    folder = RunFolder(options["runs_dir"] / config.run_name)
    warn = Voice(messages, to_stderr=True).say
    checkpoint = find_checkpoint(folder.path, "best", warn)
    refuse_difference(
        folder,
        {key: checkpoint.identity[key] for key in MODEL_FLAGS},
        {key: getattr(config, key) for key in MODEL_FLAGS},
    )
    if task == "test":
        measured = evaluate_run(
            checkpoint.path,
            locator(folder.path, options["data_dir"]),
            "test",
            "best",
            warn,
            top_n=config.top_n,
            coef=options["coef"],
        )
        results.keep(checkpoint, [evaluation_facts(measured, "test", options["coef"])], warn)
        print(comirec_results("test", measured.evaluation.metrics, config.top_n))
        return
    target = Path("output") / f"{config.run_name}_emb.npy"
    target.parent.mkdir(exist_ok=True)
    np.save(target, from_checkpoint(checkpoint).retriever.item_vectors())
    print(target)
