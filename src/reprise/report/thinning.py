"""Long curves by fewer points, which look the same: a report's size does not grow with its runs."""

from collections.abc import Collection, Sequence

MOST_POINTS = 2_000  # of a curve, and evaluations of a run in the page's facts


def places(columns: Sequence[Sequence[float | None]], always: Collection[int] = ()) -> list[int]:
    """Return the places to keep of columns of equal length, in order: all where there are at most
    MOST_POINTS, else of each of as many equal sections as fit the first and the last, and of each
    column the lowest, the highest and a gap (None).

    Args:
        columns: The values of each curve that shares the places.
        always: Places to keep in any case.
    """
    count = len(columns[0]) if columns else 0
    if count <= MOST_POINTS:
        return list(range(count))
    sections = max(1, (MOST_POINTS - len(always)) // (2 + 3 * len(columns)))
    kept = set(always)
    for section in range(sections):
        inside = range(section * count // sections, (section + 1) * count // sections)
        kept |= {inside[0], inside[-1]}
        for column in columns:
            known = [place for place in inside if column[place] is not None]
            kept |= {next((place for place in inside if column[place] is None), inside[0])}
            if known:
                value = column.__getitem__
                kept |= {min(known, key=value), max(known, key=value)}  # type: ignore[arg-type]
    return sorted(kept)
