"""The `reprise` command: parsing and printing only. JAX loads when a command needs it."""

import json
import shlex
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from reprise import __version__
from reprise.commands.get import get
from reprise.commands.prepare import prepare
from reprise.config import make_config
from reprise.errors import RepriseError, UsageError, WriteError
from reprise.messages import Messages, choose_language
from reprise.options import common_options, run_options, run_values
from reprise.overview import data
from reprise.runs.signals import end_at_once_on_interrupt

if TYPE_CHECKING:
    from reprise.console import RunConsole
    from reprise.runs.session import Request

EXIT_CODES = """\b
Exit codes: 0 done; 2 wrong usage; 3 unusable data; 4 the run folder holds another
configuration; 5 the run is in use; 6 no usable checkpoint; 7 the disk refused a write;
8 out of memory; 130 stopped by Ctrl-C; 143 stopped by SIGTERM."""
OUT_OF_MEMORY = 8


def run_guarded(command: click.Command) -> NoReturn:
    """Run a click command; a user's mistake ends in one clear line and its exit code."""
    messages = Messages(choose_language(_asked_language(sys.argv[1:])))
    try:
        sys.exit(command.main(standalone_mode=False))
    except click.Abort:
        sys.exit(128 + signal.SIGINT)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "RESOURCE_EXHAUSTED" not in str(error):
            raise
        line = messages.text("out_of_memory", reason=str(error).partition("\n")[0])
        click.echo(f"Error: {line}", err=True)
        sys.exit(OUT_OF_MEMORY)
    except RepriseError as error:
        click.echo(f"Error: {messages.text(error.key, **error.values)}", err=True)
        sys.exit(error.exit_code)
    except OSError as error:
        line = messages.text(
            "os_refused", path=error.filename or "?", reason=error.strerror or error
        )
        click.echo(f"Error: {line}", err=True)
        sys.exit(WriteError.exit_code)


@click.group(
    epilog=EXIT_CODES,
    # ComiRec spells its flags with underscores: both spellings are understood.
    context_settings={
        "help_option_names": ["-h", "--help"],
        "token_normalize_func": lambda token: token.replace("_", "-"),
    },
)
@click.version_option(__version__, prog_name="reprise")
def cli() -> None:
    """Train multi-interest recommenders that stop at any instant and resume exactly."""


data.add_command(get)
cli.add_command(data)
cli.add_command(prepare)


@cli.command()
@run_options
@click.option(
    "--resume-from",
    type=click.Choice(["latest", "best"]),
    default="latest",
    show_default=True,
    help="What an existing run goes on from.",
)
@click.option(
    "--best-metric", type=float, help="Best recall of an old checkpoint that does not know it."
)
@click.option(
    "--change-learning-rate",
    type=float,
    help="Go on with another learning rate; recorded in run.json.",
)
@common_options
def train(
    preset: str | None,
    config_file: Path | None,
    max_iter: float | None,
    max_steps: int | None,
    resume_from: Any,
    best_metric: float | None,
    change_learning_rate: float | None,
    runs_dir: Path,
    data_dir: Path,
    lang: str | None,
    **values: Any,
) -> None:
    """Train a model, or take up its run where it stands: the same command does both."""
    end_at_once_on_interrupt()  # until the training takes signals over
    config = make_config(run_values(preset, config_file, max_iter, max_steps, values))

    from reprise.console import RunConsole, Voice
    from reprise.data.prepare import locate
    from reprise.runs.session import Request

    voice = Voice(Messages(choose_language(lang)))
    request = Request(
        config=config,
        data_folder=locate(data_dir, config.dataset),
        runs_folder=runs_dir,
        resume_from=resume_from,
        best_metric=best_metric,
        new_learning_rate=change_learning_rate,
    )
    command = resume_command("reprise", sys.argv[1:])
    sys.exit(run_training(request, RunConsole(voice, config), command))


def run_training(request: "Request", console: "RunConsole", command: str) -> int:
    """See a run through, show its end, and return the exit code; `command` resumes the run."""
    from reprise.runs.session import run_session

    try:
        outcome = run_session(request, console)
    finally:
        console.close()
    if outcome.exit_code:
        console.say("interrupted", step=outcome.progress.step, command=command)
    elif outcome.results is not None:
        console.show_results(outcome.results)
    return outcome.exit_code


def resume_command(program: str, arguments: list[str]) -> str:
    """Return the command line that goes on from the latest state: `arguments` without what they
    say of resuming.
    """
    kept: list[str] = []
    skipped = False
    for argument in arguments:
        flag = argument.split("=")[0].replace("_", "-")
        if flag != "--resume-from" and not skipped:
            kept.append(argument)
        skipped = flag == "--resume-from" and "=" not in argument
    return f"{program} {shlex.join(kept)}"


@cli.command("import-tf")
@click.argument("source", metavar="PATH", type=click.Path(path_type=Path))
@run_options
@click.option("--step", type=int, help="Updates made, where the checkpoint does not tell.")
@click.option("--best-metric", type=float, help="Best recall, where the checkpoint has none.")
@click.option(
    "--map",
    "mapped",
    multiple=True,
    metavar="PARAM=VARIABLE",
    help="Which variable a parameter is (rows: the item table); may be repeated.",
)
@common_options
def import_tf(
    source: Path,
    preset: str | None,
    config_file: Path | None,
    max_iter: float | None,
    max_steps: int | None,
    step: int | None,
    best_metric: float | None,
    mapped: tuple[str, ...],
    runs_dir: Path,
    data_dir: Path,
    lang: str | None,
    **values: Any,
) -> None:
    """Make a run of a TensorFlow checkpoint, for `reprise train` to go on from.

    PATH is a checkpoint's prefix (.../ckpt-11, .../model.ckpt) or its folder, which then gives its
    latest. Sizes (--maxlen, --embedding-dim, --hidden-size, --num-interest) come from the
    checkpoint.
    """
    end_at_once_on_interrupt()
    given = run_values(preset, config_file, max_iter, max_steps, values)
    # The sizes are the checkpoint's to tell; all else is wrong already where it is wrong.
    config = make_config(given)

    from reprise.console import Voice, show_import
    from reprise.data.prepare import locate
    from reprise.runs.tf_import import ImportRequest, import_checkpoint

    voice = Voice(Messages(choose_language(lang)))
    request = ImportRequest(
        source=source,
        values=given,
        data_folder=locate(data_dir, config.dataset),
        runs_folder=runs_dir,
        mapped=dict(parse_mapping(text) for text in mapped),
        step=step,
        best_metric=best_metric,
    )
    imported = import_checkpoint(request, voice.say)
    folders = [("--runs-dir", runs_dir, "runs"), ("--data-dir", data_dir, "data")]
    moved = [
        word for flag, path, usual in folders if path != Path(usual) for word in (flag, str(path))
    ]
    show_import(voice, source, imported, moved)


def parse_mapping(text: str) -> tuple[str, str]:
    """Return (parameter, variable) of PARAM=VARIABLE."""
    parameter, equals, variable = text.partition("=")
    if not (parameter and equals and variable):
        raise UsageError("bad_value", option="map", value=text, expected="PARAM=VARIABLE")
    return parameter, variable


@cli.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--split", type=click.Choice(["valid", "test"]), default="test", show_default=True)
@click.option("--which", type=click.Choice(["best", "latest"]), default="best", show_default=True)
@click.option("--top-n", "--topN", "top_n", type=int, help="One more cutoff beside 20 and 50.")
@click.option(
    "--lambda",
    "coef",
    type=float,
    help="Choose the lists by category: weight of a repeated one, "
    "beside scores that are cosines (-1 to 1) where the run has a temperature.",
)
@click.option(
    "--filter-seen", is_flag=True, help="Leave out what a user has interacted with already."
)
@click.option("--data-dir", type=click.Path(path_type=Path), default="data", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@common_options
def evaluate(
    run: Path,
    split: Any,
    which: Any,
    top_n: int | None,
    coef: float | None,
    filter_seen: bool,
    data_dir: Path,
    as_json: bool,
    lang: str | None,
) -> None:
    """Measure a run's stored model on the whole catalogue."""
    end_at_once_on_interrupt()
    from reprise.console import Voice
    from reprise.data.prepare import locate
    from reprise.report import evaluation_facts, show_evaluation
    from reprise.runs.session import evaluate_run

    messages = Messages(choose_language(lang))
    measured = evaluate_run(
        run,
        lambda name: locate(data_dir, name),
        split,
        which,
        Voice(messages, to_stderr=True).say,
        top_n,
        coef,
        filter_seen,
    )
    facts = evaluation_facts(measured, split, coef, filter_seen)
    if as_json:
        click.echo(json.dumps(facts, indent=2))
    else:
        show_evaluation(facts, messages)


@cli.command()
@click.argument("path", metavar="RUN_OR_CHECKPOINT", type=click.Path(path_type=Path))
@click.option(
    "--which",
    type=click.Choice(["best", "latest"]),
    default="latest",
    show_default=True,
    help="Which checkpoint of a run.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@common_options
def inspect(path: Path, which: Any, as_json: bool, lang: str | None) -> None:
    """Show what a checkpoint holds, and whether it is whole."""
    end_at_once_on_interrupt()
    from reprise.console import Voice
    from reprise.runs.inspection import describe, report_lines

    messages = Messages(choose_language(lang))
    facts = describe(path, which, Voice(messages, to_stderr=True).say)
    click.echo(json.dumps(facts, indent=2) if as_json else "\n".join(report_lines(facts)))


@cli.command()
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default="demo",
    show_default=True,
    help="Where the demonstration keeps its data and runs.",
)
@common_options
def demo(folder: Path, lang: str | None) -> None:
    """Train on generated data, kill the training half-way, resume it, and compare."""
    from reprise.demo import run_demo

    sys.exit(run_demo(folder, lang))


def _asked_language(arguments: list[str]) -> str | None:
    for this, following in zip(arguments, [*arguments[1:], ""], strict=True):
        if this == "--lang":
            return following
        if this.startswith("--lang="):
            return this.removeprefix("--lang=")
    return None


def main() -> NoReturn:
    """Entry point of the `reprise` command."""
    run_guarded(cli)
