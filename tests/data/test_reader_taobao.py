"""Taobao's behaviours."""

from pathlib import Path

import pytest

from helpers.sources import check, random_events
from reprise.data.prepare import read_source
from reprise.data.readers.recognise import asked_of, recognise
from reprise.errors import UsageError


def test_taobao_reads_views_or_the_requested_behaviours(tmp_path: Path) -> None:
    events = random_events(6)
    kinds = ["pv", "buy", "pv", "cart"]
    rows = [
        f"{user},{item},{len(item) + 40},{kinds[n % 4]},{int(time)}"
        for n, (user, item, time) in enumerate(events)
    ]
    path = tmp_path / "UserBehavior.csv"
    path.write_text("\n".join(rows))
    assert recognise(path) == recognise(tmp_path) == "taobao"
    check(read_source(path), events[::2])
    draft = read_source(tmp_path, asked=asked_of(behaviours="pv,buy,cart"))
    check(draft, events)
    assert set(draft.item_category[1:].tolist()) <= {42, 43}  # numbers stay what they are
    with pytest.raises(UsageError, match=r"--behaviours fav: no row .* has: pv, buy, cart\."):
        read_source(path, asked=asked_of(behaviours="pv,fav"))
