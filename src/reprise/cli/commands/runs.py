"""`reprise runs`: list, show, compare, prune, delete, rename, export and import runs."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from reprise.cli.help import Group as CommandGroup
from reprise.cli.options import PATH, agreed, common_options, data_option, print_json, runs_option
from reprise.text.messages import Messages, Say, choose_language

if TYPE_CHECKING:
    from reprise.runs.folder import RunFolder
    from reprise.runs.manage.groups import Group
    from reprise.runs.manage.prune import Removal
    from reprise.runs.manage.survey import Survey

Command = TypeVar("Command", bound=Callable[..., Any])


def listing_options(command: Command) -> Command:
    """Add the options of all `reprise runs` commands."""
    as_json = click.option("--json", "as_json", is_flag=True)
    return runs_option(as_json(common_options(command)))


@click.group(cls=CommandGroup, invoke_without_command=True)
@listing_options
@click.pass_context
def runs(context: click.Context, runs_dir: Path, as_json: bool, lang: str | None) -> None:
    """List the runs: step, best metric, state, age and size."""
    if context.invoked_subcommand is not None:
        # `reprise runs --runs-dir D show A` is the same as `reprise runs show A --runs-dir D`.
        given = {
            name: value
            for name, value in context.params.items()
            if context.get_parameter_source(name) is not ParameterSource.DEFAULT
        }
        context.default_map = {context.invoked_subcommand: given}
        return
    _list(runs_dir, as_json, lang)


@runs.command("list")
@listing_options
def list_runs(runs_dir: Path, as_json: bool, lang: str | None) -> None:
    """List the runs; the same as `reprise runs`."""
    _list(runs_dir, as_json, lang)


def _list(runs_dir: Path, as_json: bool, lang: str | None) -> None:
    from reprise.runs.manage import survey

    messages = Messages(choose_language(lang))
    folders = survey.folders(runs_dir, _warner(messages))
    surveys = [survey.survey(folder) for folder in folders]
    found = [survey.summary(one) for one in surveys]
    found.sort(key=lambda run: str(run["updated"]), reverse=True)
    if as_json:
        print_json(found)
        return
    from reprise.show.runs import Page, show_runs

    page = Page(messages)
    if found:
        show_runs(found, page)
        for dataset, warnings in _apart(surveys).items():
            page.line(page.text("runs_apart", dataset=dataset))
            for warning in warnings:
                page.line(page.text(warning))
    else:
        page.line(page.text("no_runs", folder=runs_dir))


def _apart(surveys: "list[Survey]") -> dict[str, list[str]]:
    """Return by data set's name the warnings about its runs with a best, as far as there are."""
    from reprise.runs.manage.apart import apart

    rated: dict[str, list[Any]] = {}
    for one in surveys:
        if one.best_known is not None:
            rated.setdefault(str(one.config.get("dataset")), []).append(one.identity)
    warnings = {dataset: apart(identities) for dataset, identities in sorted(rated.items())}
    return {dataset: found for dataset, found in warnings.items() if found}


@runs.command()
@click.argument("name")
@listing_options
def show(name: str, runs_dir: Path, as_json: bool, lang: str | None) -> None:
    """Show the run NAME: configuration, checkpoints, history, evaluations."""
    from reprise.runs.folder import read_record
    from reprise.runs.manage import survey

    messages, folder = Messages(choose_language(lang)), survey.find(runs_dir, name)
    read_record(folder, _warner(messages))
    language = "en" if as_json else messages.language
    facts = survey.details(survey.survey(folder, thorough=True), language)
    if as_json:
        print_json(facts)
        return
    from reprise.show.runs import Page, show_run

    show_run(facts, Page(messages))


@runs.command()
@click.argument("names", metavar="NAME...", nargs=-1)
@click.option("--metric")
@click.option("--paired", is_flag=True)
@click.option("--split", type=click.Choice(["valid", "test"]))
@click.option("--markdown", "form", flag_value="markdown")
@click.option("--latex", "form", flag_value="latex")
@click.option("--csv", "form", flag_value="csv")
@data_option
@listing_options
def compare(
    names: tuple[str, ...],
    metric: str | None,
    paired: bool,
    split: str | None,
    form: Any,
    data_dir: Path | None,
    runs_dir: Path,
    as_json: bool,
    lang: str | None,
) -> None:
    """Compare runs: differences of their configurations, and their metrics by step."""
    from reprise.errors import UsageError
    from reprise.runs.manage import survey
    from reprise.runs.manage.compare import compare
    from reprise.runs.manage.groups import find_group, of_comparison

    groups = [find_group(runs_dir, name) for name in names]
    folders = [folder for group in groups for folder in group.folders]
    of_results = not paired and (split is not None or form is not None)
    # What each was measured to be is worth a table where there is one; the rest needs two.
    if len(groups if paired else folders) < (1 if of_results else 2):
        raise UsageError("compare_two")
    if paired and form is not None:
        raise UsageError("only_one", options=f"--paired, --{form}")
    if of_results:
        _show_table(groups, split or "test", form, as_json, Messages(choose_language(lang)))
        return
    facts = compare([survey.survey(folder) for folder in folders], metric)
    if len(folders) > len(groups):
        facts["groups"] = of_comparison(groups, facts["metrics"])
    if paired:
        facts["paired"] = _paired(groups, split or "test", data_dir, lang)
    facts["baselines"] = _baselines(groups, split or "test")
    if as_json:
        print_json(facts)
        return
    from reprise.show.baselines import show_beside
    from reprise.show.runs import Page, show_comparison

    messages = Messages(choose_language(lang))
    page = Page(messages)
    show_comparison(facts, page)
    show_beside(facts["baselines"], page, messages)


def _baselines(groups: "list[Group]", split: Any) -> list[dict[str, Any]]:
    """Return the stored baselines of the runs' data, with the runs beside them."""
    from reprise.runs.beside import stored_beside

    return stored_beside([folder for group in groups for folder in group.folders], split)


def _paired(
    groups: "list[Group]", split: Any, data_dir: Path | None, lang: str | None
) -> dict[str, Any]:
    from reprise.runs.paired import compare_paired
    from reprise.runs.where import locator

    warn = _warner(Messages(choose_language(lang)))
    return compare_paired(groups, split, lambda run: locator(run.path, data_dir), warn)


def _show_table(
    groups: "list[Group]", split: str, form: Any, as_json: bool, messages: Messages
) -> None:
    """Print the runs' metrics on a split, as stored in results.json."""
    from reprise.runs.manage.table import labels, table
    from reprise.show.baselines import show_beside
    from reprise.show.runs import Page
    from reprise.show.tables import as_text, show_table

    facts, warn = table(groups, split), _warner(messages)
    facts["baselines"] = _baselines(groups, split)
    for name, run in zip(labels(facts["runs"]), facts["runs"], strict=True):
        if run["checkpoint"] is None:
            warn("not_measured", name=name, split=split)
    if as_json:
        print_json(facts)
    elif form is not None:
        for warning in facts["warnings"]:
            warn(warning)
        click.echo(as_text(facts, form, messages), nl=False)
    else:
        page = Page(messages)
        show_table(facts, page, messages)
        show_beside(facts["baselines"], page, messages)


@runs.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--yes", is_flag=True)
@click.option("--dry-run", is_flag=True)
@click.option("--quarantine", is_flag=True)
@listing_options
def prune(
    names: tuple[str, ...],
    yes: bool,
    dry_run: bool,
    quarantine: bool,
    runs_dir: Path,
    as_json: bool,
    lang: str | None,
) -> None:
    """Delete files that the runs NAME (or all runs) do not need."""
    from reprise.errors import UsageError
    from reprise.runs.manage.prune import carry_out, plan, plan_beside
    from reprise.show.runs import Page

    if as_json and not (yes or dry_run):
        raise UsageError("json_decides")
    page = Page(Messages(choose_language(lang)))
    folders, busy = _to_prune(names, runs_dir)
    found = [plan(folder, quarantine) for folder in folders]
    removals = [removal for removal in found if removal.paths]
    if not names and (beside := plan_beside(runs_dir)).paths:
        removals.append(beside)
    if as_json:
        facts = [_removal_facts(removal) for removal in removals]
        freed = 0 if dry_run else sum(map(carry_out, removals))
        print_json({"removals": facts, "running": [str(run.path) for run in busy], "freed": freed})
        return
    for folder in busy:
        page.line(page.text("prune_running", name=folder.path.name, pid=_writer(folder)))
    for removal in removals:
        _tell(removal, page.text)
    if not removals:
        page.line(page.text("prune_nothing"))
    elif not dry_run:
        size = _size(sum(removal.size for removal in removals))
        if yes or agreed(page.text("prune_ask", size=size), "prune_unasked"):
            freed = sum(map(carry_out, removals))
            page.line(page.text("prune_done", size=_size(freed)))
        else:
            page.line(page.text("prune_kept"))


@runs.command()
@click.argument("name")
@click.option("--yes", is_flag=True)
@listing_options
def delete(name: str, yes: bool, runs_dir: Path, as_json: bool, lang: str | None) -> None:
    """Delete the run NAME with all its files."""
    from reprise.errors import RunInUseError, UsageError
    from reprise.runs.lock import writer_of
    from reprise.runs.manage import remove, survey
    from reprise.show.runs import Page

    if as_json and not yes:
        raise UsageError("deletion_unasked")
    folder, page = survey.find(runs_dir, name), Page(Messages(choose_language(lang)))
    if (pid := writer_of(folder.path)) is not None:
        raise RunInUseError("run_in_use", path=folder.path, pid=pid)
    found = survey.survey(folder)
    about = {"path": folder.path, "step": found.progress.step, "size": _size(found.size)}
    if yes or agreed(page.text("delete_ask", **about), "deletion_unasked"):
        remove.delete(folder)
        if as_json:
            print_json({"deleted": str(folder.path), "freed": found.size})
        else:
            page.line(page.text("deleted", path=folder.path))
    else:
        page.line(page.text("prune_kept"))


@runs.command()
@click.argument("old")
@click.argument("new")
@listing_options
def rename(old: str, new: str, runs_dir: Path, as_json: bool, lang: str | None) -> None:
    """Rename the run OLD and its folder to NEW."""
    from reprise.runs.manage import remove, survey
    from reprise.show.runs import Page

    folder = remove.rename(survey.find(runs_dir, old), new)
    if as_json:
        print_json(survey.summary(survey.survey(folder)))
        return
    messages = Messages(choose_language(lang))
    Page(messages).line(messages.text("renamed", old=old, new=new, path=folder.path))


@runs.command()
@click.argument("name")
@click.argument("file", type=PATH)
@listing_options
def export(name: str, file: Path, runs_dir: Path, as_json: bool, lang: str | None) -> None:
    """Pack the run NAME into FILE, with the SHA-256 of each file in it."""
    from reprise.runs.manage import archive, survey
    from reprise.show.runs import Page

    messages = Messages(choose_language(lang))
    facts = archive.export(survey.find(runs_dir, name), file, _warner(messages))
    if as_json:
        print_json(facts)
        return
    shown = facts | {
        "size": _size(facts["bytes"]),
        "checkpoints": ", ".join(facts["checkpoints"]),
    }
    Page(messages).line(messages.text("exported", **shown))


@runs.command("import")
@click.argument("file", type=PATH)
@listing_options
def import_run(file: Path, runs_dir: Path, as_json: bool, lang: str | None) -> None:
    """Unpack a run that `reprise runs export` packed into FILE."""
    from reprise.runs.manage import archive, survey
    from reprise.show.runs import Page

    folder = archive.import_(file, runs_dir)
    if as_json:
        print_json(survey.summary(survey.survey(folder)))
        return
    messages = Messages(choose_language(lang))
    Page(messages).line(messages.text("imported", file=file, path=folder.path))


def _warner(messages: Messages) -> Say:
    """Return a function that prints warnings to stderr, since programs may read stdout."""
    return lambda key, **values: click.echo(messages.text(key, **values), err=True)


def _to_prune(
    names: tuple[str, ...], runs_dir: Path
) -> tuple[list["RunFolder"], list["RunFolder"]]:
    """Return the runs to prune, and those skipped because they are running.

    Raise RunInUseError if a run that is given by name is running.
    """
    from reprise.errors import RunInUseError
    from reprise.runs.lock import writer_of
    from reprise.runs.manage import survey

    if not names:
        found = survey.folders(runs_dir)
        busy = [folder for folder in found if writer_of(folder.path) is not None]
        return [folder for folder in found if folder not in busy], busy
    chosen = list(dict.fromkeys(survey.find(runs_dir, name) for name in names))
    for folder in chosen:
        if (pid := writer_of(folder.path)) is not None:
            raise RunInUseError("run_in_use", path=folder.path, pid=pid)
    return chosen, []


def _tell(removal: "Removal", text: Callable[..., str]) -> None:
    from reprise.runs.manage.prune import size_of

    size = _size(removal.size)
    if removal.folder is None:
        click.echo(text("prune_beside", size=size))
    else:
        click.echo(text("prune_run", name=removal.folder.path.name, size=size))
    for path in removal.checkpoints:
        click.echo(text("prune_checkpoint", path=path.name, size=_size(size_of(path))))
    for path in removal.leftovers:
        click.echo(text("prune_leftover", path=path.name, size=_size(size_of(path))))
    for path in removal.quarantine:
        click.echo(text("prune_quarantine", path=path, size=_size(size_of(path))))


def _removal_facts(removal: "Removal") -> dict[str, Any]:
    from reprise.runs.manage.prune import size_of

    kinds = {
        "checkpoint": removal.checkpoints,
        "leftover": removal.leftovers,
        "quarantine": removal.quarantine,
    }
    return {
        "run": removal.folder and str(removal.folder.path),
        "remove": [
            {"path": str(path), "kind": kind, "size": size_of(path)}
            for kind, paths in kinds.items()
            for path in paths
        ],
        "size": removal.size,
    }


def _size(size: int) -> str:
    from rich.filesize import decimal

    return decimal(size)


def _writer(folder: "RunFolder") -> str:
    from reprise.runs.lock import writer_of

    return writer_of(folder.path) or "?"
