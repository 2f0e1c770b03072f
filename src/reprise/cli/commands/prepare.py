"""`reprise prepare`: a dataset folder of a source."""

from pathlib import Path

import click

from reprise.cli.options import common_options, data_option, source_options
from reprise.config.schema import check_value
from reprise.data import PROTOCOLS
from reprise.text.messages import Messages, choose_language


@click.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--name", required=True, help="Name of the dataset folder.")
@click.option(
    "--protocol",
    default=PROTOCOLS[0],
    show_default=True,
    help=f"Who is trained on and what is to be found: {' | '.join(PROTOCOLS)}.",
)
@click.option(
    "--k-core",
    "core",
    type=int,
    metavar="K",
    help="Keep the users and items that have K interactions with each other each. "
    "[default: ComiRec's filter, one pass at 5]",
)
@click.option(
    "--cut",
    metavar="VALID,TEST",
    help="Of time-split: when validation and test begin: times as the source's, dates, or shares "
    "of the interactions. [default: 0.8,0.9]",
)
@source_options
@data_option
@common_options
def prepare(
    source: Path,
    name: str,
    protocol: str,
    core: int | None,
    cut: str | None,
    data_dir: Path,
    lang: str | None,
    **asked: str | None,
) -> None:
    """Turn SOURCE into a dataset folder.

    \b
    SOURCE is a file or a folder in one of these formats, recognised by its names:
    comirec    <x>_train.txt, <x>_valid.txt, <x>_test.txt, and <x>_item_cate.txt,
               <x>_item_map.txt where present: split already, taken as it is
    recbole    <x>.inter, and <x>.item where present
    movielens  ratings.dat and movies.dat, or ratings.csv and movies.csv
    taobao     UserBehavior.csv
    sequences  a line a user, "user item item ...", oldest first; or a line a pair
    table      CSV, TSV, Parquet or JSON lines (Amazon's reviews, and meta_<x>
               where present), one file or a folder of parts; columns by their
               usual names, or as named, in a text without a header by their
               place: --user-col 1
    Texts may be packed (.gz, .zst).

    All but ComiRec's are filtered as ComiRec does: items with 5 interactions or more, then users
    with 5 of these or more.

    By the protocol comirec, users are split 8:1:1 (a ComiRec folder is split already), and the
    last fifth of an unseen user's items is to be found. By leave-one-out, as in SASRec, everyone
    is trained on; his last item is the test, the one before it the validation. By time-split,
    everyone's items before a time are trained on, and all that those users meet from it on, who
    are known by then, is to be found: first until a second time, for validation, then after it.
    """  # noqa: D301 - click's sign for lines that stay as they are
    from reprise.cli.show.terminal import shown_stages
    from reprise.data.dataset import open_dataset
    from reprise.data.prepare import prepare as make
    from reprise.data.readers.recognise import asked_of
    from reprise.data.statistics import totals

    check_value("dataset", name)
    messages = Messages(choose_language(lang))
    times = None if cut is None else cut.split(",")
    with shown_stages(messages) as tell:
        wanted = asked_of(**asked)
        dataset = open_dataset(make(source, name, data_dir, protocol, core, wanted, times, tell))
    users, interactions = totals(dataset)
    click.echo(
        messages.text(
            "prepared",
            name=name,
            users=users,
            items=dataset.num_items,
            interactions=interactions,
            folder=dataset.folder,
        )
    )
