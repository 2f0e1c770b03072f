"""The folder items/ of a dataset: rank, counts, cold items, and features.

rank.npy           int32 [V+1]: 1 is the most popular item; padding has 0
counts.npy         int64 [V+1]: training interactions
cold.npy           bool [V+1]: items held out of training; where there are any
features.json      a list: name, kind, column, file, known, coverage, and by kind size, mean, std
features/          <place in the list>.<array>.npy, and <place>.vocabulary.parquet: code and value

meta.json's "digests" have the SHA-256 of each: a file is checked against it when it is first used.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from reprise.data.features import Bags, Codes, Feature, Numbers, Vectors
from reprise.data.npy import open_array, save_array
from reprise.errors import ContentError

if TYPE_CHECKING:
    import polars as pl

_ARRAYS: Mapping[str, Mapping[str, DTypeLike]] = {
    "codes": {"codes": np.int32},
    "bags": {"offsets": np.int64, "codes": np.int32},
    "numbers": {"values": np.float32, "known": np.bool_},
    "vectors": {"values": np.float32},
}
_FACTS = {"codes": ("size",), "bags": ("size",), "numbers": ("mean", "std"), "vectors": ()}


@dataclass(frozen=True)
class Described:
    """A feature, the column and the file that it was read from, and what its codes stand for:
    vocabulary [size] of text, null for the first, which stands for no value; None of numbers.
    """

    feature: Feature
    column: str
    file: str
    vocabulary: "pl.Series | None" = None


def write(
    folder: Path,
    counts: NDArray[np.int64],
    cold: NDArray[np.bool_] | None,
    features: Sequence[Described],
) -> dict[str, Any]:
    """Write items/ of a fresh dataset into `folder`, and return its digests. counts [V+1]."""
    folder.mkdir()
    rank = np.arange(len(counts), dtype=np.int32)  # as a fresh dataset is numbered
    arrays: dict[str, NDArray[Any]] = {"rank": rank, "counts": counts}
    if cold is not None:
        arrays["cold"] = cold
    for name, array in arrays.items():
        save_array(folder / f"{name}.npy", array)
    digests: dict[str, Any] = {name: digest_of(array) for name, array in arrays.items()}
    if features:
        (folder / "features").mkdir()
        told = [_write_feature(folder / "features", *one, counts) for one in enumerate(features)]
        text = json.dumps(told, indent=2, ensure_ascii=False) + "\n"
        (folder / "features.json").write_text(text, encoding="utf-8")
        digests["features"] = {own.feature.name: own.feature.digest for own in features}
    return digests


def _write_feature(
    folder: Path, place: int, described: Described, counts: NDArray[np.int64]
) -> dict[str, Any]:
    feature = described.feature
    for name in _ARRAYS[feature.kind]:
        save_array(folder / f"{place}.{name}.npy", getattr(feature, name))
    if described.vocabulary is not None:
        values = described.vocabulary.alias("value").to_frame()
        values.with_row_index("code").write_parquet(folder / f"{place}.vocabulary.parquet")
    known = feature.known[1:]
    told = {"name": feature.name, "kind": feature.kind}
    told |= {"column": described.column, "file": described.file}
    told |= {fact: getattr(feature, fact) for fact in _FACTS[feature.kind]}
    if isinstance(feature, Vectors):
        told["length"] = feature.values.shape[1]
    coverage = {
        "items": float(known.mean()),
        "interactions": float(counts[1:][known].sum() / max(counts.sum(), 1)),
    }
    return told | {"known": int(known.sum()), "coverage": coverage}


def told_of(folder: Path) -> list[dict[str, Any]]:
    """Return what features.json of items/ tells of each feature; nothing where there is none."""
    path = folder / "features.json"
    if not path.is_file():
        return []
    try:
        told: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
        for one in told:
            one["name"], [one[fact] for fact in _FACTS[one["kind"]]]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ContentError("file_reason", name=path.name, reason=error) from error
    return told


class Features(Mapping[str, Feature]):
    """The features of items/, each read and checked when it is first asked for; ContentError, or
    OSError, where that fails. num_items: V; digests: by name.
    """

    def __init__(self, folder: Path, num_items: int, digests: Mapping[str, str]) -> None:
        self._folder, self._num_items, self._digests = folder, num_items, digests
        self._read: dict[str, Feature] = {}
        self.told = {one["name"]: one for one in told_of(folder)} if digests else {}
        if self.told.keys() != digests.keys():
            raise ContentError("damage_digest_meta", name="features.json")
        self._places = {name: place for place, name in enumerate(self.told)}

    def __getitem__(self, name: str) -> Feature:
        if name not in self._read:
            self._read[name] = self._opened(name)
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.told)

    def __len__(self) -> int:
        return len(self.told)

    def vocabulary(self, name: str) -> "pl.Series | None":
        """Return what a feature's codes stand for, [size]; None of numbers and vectors."""
        import polars as pl

        path = self._folder / "features" / f"{self._places[name]}.vocabulary.parquet"
        if self.told[name]["kind"] not in ("codes", "bags"):
            return None
        try:
            values = pl.read_parquet(path, glob=False).sort("code")["value"]
        except pl.exceptions.PolarsError as error:
            reason = str(error).partition("\n")[0]
            raise ContentError("file_reason", name=path.name, reason=reason) from error
        if len(values) != self.told[name]["size"]:
            raise ContentError("damage_data_counts", name=path.name)
        return values

    def _opened(self, name: str) -> Feature:
        told = self.told[name]
        kind = told["kind"]
        arrays = [
            checked(self._folder / "features" / f"{self._places[name]}.{array}.npy", dtype)
            for array, dtype in _ARRAYS[kind].items()
        ]
        facts = [told[fact] for fact in _FACTS[kind]]
        kinds = {"codes": Codes, "bags": Bags, "numbers": Numbers, "vectors": Vectors}
        feature: Feature = kinds[kind](name, *arrays, *facts)
        rows = len(arrays[0]) - (kind == "bags")
        if rows != self._num_items + 1 or feature.digest != self._digests[name]:
            raise ContentError("damage_digest_meta", name=f"features/{name}")
        return feature


def checked(path: Path, dtype: DTypeLike, digest: str | None = None) -> NDArray[Any]:
    """Return an array that has this type, and this digest (None: any); ContentError if not."""
    array = open_array(path)
    if array.dtype != dtype:
        facts = {"dtype": np.dtype(dtype), "dimensions": array.ndim}
        raise ContentError("damage_data_array", name=path.name, **facts)
    if digest is not None and digest_of(array) != digest:
        raise ContentError("damage_digest_meta", name=path.name)
    return array


def digest_of(*arrays: NDArray[Any]) -> str:
    """Return the SHA-256 of the bytes of arrays, one after another."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
