"""ComiRec's command line: the flags, prompt and messages its users know, on Reprise's engine.

python src/train.py --dataset book --model_type ComiRec-DR --learning_rate 0.007 --max_iter 20
"""

import shlex
import sys
from pathlib import Path
from typing import Any

import click
import numpy as np

from reprise.cli import run_guarded
from reprise.commands.train import resume_command, run_training
from reprise.config import OPTIMIZERS, SELECTIONS, TrainConfig, make_config
from reprise.errors import UsageError
from reprise.messages import Messages, choose_language
from reprise.models import REGISTRY
from reprise.options import common_options, steps_of
from reprise.runs.signals import end_at_once_on_interrupt

# The original's settings: batch size, history length, steps between evaluations.
BOOK = (128, 20, 1000)
SETTINGS = {"taobao": (256, 50, 500)}
# What -p test and -p output must not say otherwise than the stored model.
MODEL_FLAGS = ("model", "maxlen", "embedding_dim", "hidden_size", "num_interest")


@click.command(
    context_settings={
        "help_option_names": ["-h", "--help"],
        "token_normalize_func": lambda token: token.replace("-", "_"),
    }
)
@click.option(
    "-p", "task", type=click.Choice(["train", "test", "output"]), default="train", show_default=True
)
@click.option(
    "--dataset",
    default="book",
    show_default=True,
    help="book | taobao | any dataset under --data_dir",
)
@click.option("--random_seed", type=int, default=19, show_default=True)
@click.option("--embedding_dim", type=int, default=64, show_default=True)
@click.option("--hidden_size", type=int, default=64, show_default=True)
@click.option("--num_interest", type=int, default=4, show_default=True)
@click.option("--model_type", default="none", help=" | ".join(REGISTRY))
@click.option("--learning_rate", type=float, default=0.001, show_default=True)
@click.option("--optimizer", default=OPTIMIZERS[0], show_default=True, help=" | ".join(OPTIMIZERS))
@click.option("--selection", default=SELECTIONS[0], show_default=True, help=" | ".join(SELECTIONS))
@click.option("--max_iter", type=float, default=1000, show_default=True, help="(k)")
@click.option("--patience", type=int, default=50, show_default=True)
@click.option("--coef", type=float, help="Category control in -p test: lambda.")
@click.option("--topN", "top_n", type=int, default=50, show_default=True)
@click.option("--name", help="Experiment name; asked for where it is not given.")
@click.option("--test_iter", type=int, help="Steps between evaluations.")
@click.option(
    "--resume_from", type=click.Choice(["best", "latest"]), default="best", show_default=True
)
@click.option("--best_metric", type=float, help="Best recall of an old checkpoint.")
@click.option("--runs_dir", type=click.Path(path_type=Path), default="runs", show_default=True)
@click.option("--data_dir", type=click.Path(path_type=Path), default="data", show_default=True)
@common_options
def main(task: str, lang: str | None, name: str | None, **options: Any) -> None:
    """Train, test or output a model, as ComiRec's src/train.py."""
    end_at_once_on_interrupt()  # until the training takes signals over
    messages = Messages(choose_language(lang))
    asked = name is None
    if name is None:
        name = ask_name(messages)
    config = make_config(config_values(name, options))
    if task == "train":
        program = shlex.join(["python", sys.argv[0]])
        arguments = [*sys.argv[1:], *(["--name", name] if asked else [])]
        command = resume_command(program, arguments) + " --resume_from latest"
        sys.exit(start_training(config, options, messages, command))
    measure_or_output(task, config, options, messages)


def ask_name(messages: Messages) -> str:
    """Ask for the experiment's name on standard input, which may be a pipe."""
    print(messages.text("prompt_name"), end="", flush=True)
    name = sys.stdin.readline().strip()
    if not sys.stdin.isatty():
        print(flush=True)
    if not name:
        raise UsageError("no_name")
    return name


def config_values(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """Return the configuration that the original's flags mean."""
    batch_size, maxlen, test_iter = SETTINGS.get(options["dataset"], BOOK)
    return {
        "dataset": options["dataset"],
        "name": name,
        "model": options["model_type"],
        "batch_size": batch_size,
        "maxlen": maxlen,
        "embedding_dim": options["embedding_dim"],
        "hidden_size": options["hidden_size"],
        "num_interest": options["num_interest"],
        "learning_rate": options["learning_rate"],
        "optimizer": options["optimizer"],
        "selection": options["selection"],
        "seed": options["random_seed"],
        "test_iter": test_iter if options["test_iter"] is None else options["test_iter"],
        "top_n": options["top_n"],
        "max_steps": steps_of(options["max_iter"]),
        "patience": options["patience"],
    }


def start_training(
    config: TrainConfig, options: dict[str, Any], messages: Messages, command: str
) -> int:
    """Train or take up a run, and return the exit code."""
    from reprise.console import ComiRecConsole, Voice
    from reprise.data.prepare import locate
    from reprise.runs.session import Request

    request = Request(
        config=config,
        data_folder=locate(options["data_dir"], config.dataset),
        runs_folder=options["runs_dir"],
        resume_from=options["resume_from"],
        best_metric=options["best_metric"],
    )
    return run_training(request, ComiRecConsole(Voice(messages), config), command)


def measure_or_output(
    task: str, config: TrainConfig, options: dict[str, Any], messages: Messages
) -> None:
    """Print the best model's test metrics, or write its item embeddings as the original does."""
    from reprise.console import Voice, comirec_results
    from reprise.data.prepare import locate
    from reprise.runs import run
    from reprise.runs.session import evaluate_run, item_embeddings

    folder = run.RunFolder(options["runs_dir"] / config.run_name)
    warn = Voice(messages, to_stderr=True).say
    checkpoint = run.find_checkpoint(folder.path, "best", warn)
    run.refuse_difference(
        folder,
        {key: checkpoint.identity[key] for key in MODEL_FLAGS},
        {key: getattr(config, key) for key in MODEL_FLAGS},
    )
    if task == "test":
        measured = evaluate_run(
            checkpoint.path,
            lambda name: locate(options["data_dir"], name),
            "test",
            "best",
            warn,
            top_n=config.top_n,
            coef=options["coef"],
        )
        print(comirec_results("test", measured.evaluation.metrics, config.top_n))
        return
    target = Path("output") / f"{config.run_name}_emb.npy"
    target.parent.mkdir(exist_ok=True)
    np.save(target, item_embeddings(checkpoint))
    print(target)


if __name__ == "__main__":
    run_guarded(main)
