"""Where a dataset is: prepared, or to be prepared on first use from ComiRec's files."""

from pathlib import Path

from reprise.errors import DataError, WriteError


def locate(data_dir: Path, name: str) -> Path:
    """Return the prepared folder of dataset `name`, preparing it on first use from a ComiRec
    folder `data_dir/<name>_data` (the original's place) or `data_dir/<name>`.
    """
    prepared = data_dir / name
    if (prepared / "meta.json").is_file():
        return prepared
    for source, target in (
        (data_dir / f"{name}_data", prepared),
        (prepared, data_dir / f"{name}_prepared"),
    ):
        if (source / f"{name}_train.txt").is_file():
            if not (target / "meta.json").is_file():
                from reprise.data.prepare import publish, read_comirec  # tables; training has none

                try:
                    publish(read_comirec(source), name, target)
                except (DataError, WriteError):
                    if not (target / "meta.json").is_file():  # no other run prepared it meanwhile
                        raise
            return target
    raise DataError("dataset_not_found", dataset=name, data_dir=data_dir)
