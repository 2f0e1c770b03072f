"""Public data sets: download addresses, terms, and how to prepare them."""

from dataclasses import dataclass

UNPACKED = "unpacked"  # what an archive holds, below the set's folder


@dataclass(frozen=True)
class RemoteFile:
    """A file of a data set. checksum: the publisher's, "md5:..."; None if there is none (that of
    the first download is recorded). url: None if it must be downloaded by hand.
    """

    name: str
    url: str | None
    checksum: str | None = None


@dataclass(frozen=True)
class KnownSet:
    """A public data set. page: the publisher's page with the terms; licence: key of the message
    that summarises them; source: the path to prepare, relative to the set's folder; options: those
    of `reprise prepare`.
    """

    name: str
    page: str
    licence: str
    files: tuple[RemoteFile, ...]
    source: str = ""
    options: str = ""


_GROUPLENS = "https://files.grouplens.org/datasets/movielens"
_SNAP = "https://snap.stanford.edu/data/amazon/productGraph/categoryFiles"


def _movielens(size: str, md5: str, source: str, options: str = "") -> KnownSet:
    archive = RemoteFile(f"ml-{size}.zip", f"{_GROUPLENS}/ml-{size}.zip", f"md5:{md5}")
    page = f"https://grouplens.org/datasets/movielens/{size}/"
    inside = f"{UNPACKED}/{source}"
    return KnownSet(f"ml-{size}", page, "licence_movielens", (archive,), inside, options)


def _amazon(name: str, category: str) -> KnownSet:
    reviews, items = f"reviews_{category}_5.json.gz", f"meta_{category}.json.gz"
    both = tuple(RemoteFile(file, f"{_SNAP}/{file}") for file in (reviews, items))
    page = "https://jmcauley.ucsd.edu/data/amazon/"
    return KnownSet(name, page, "licence_amazon", both)


KNOWN = {
    known.name: known
    for known in (
        _movielens(
            "100k",
            "0e33842e24a9c977be4e0107933c0723",
            "ml-100k/u.data",
            "--format table --user-col 1 --item-col 2 --time-col 4",
        ),
        _movielens("1m", "c4d9eecfca2ab87c1945afe126590906", "ml-1m"),
        _movielens("10m", "ce571fd55effeba0271552578f2648bd", "ml-10M100K"),
        _movielens("20m", "cd245b17a1ae2cc31bb14903e1204af3", "ml-20m"),
        _movielens("25m", "6b51fb2759a8657d3bfcbfc42b592ada", "ml-25m"),
        _amazon("amazon-books", "Books"),
        _amazon("amazon-beauty", "Beauty"),
        _amazon("amazon-electronics", "Electronics"),
        KnownSet(
            "taobao",
            "https://tianchi.aliyun.com/dataset/649",
            "licence_taobao",
            (RemoteFile("UserBehavior.csv.zip", None),),
            f"{UNPACKED}/UserBehavior.csv",
        ),
    )
}
