"""Numbers as people write them."""

import pytest

from reprise.errors import UsageError
from reprise.planning.numbers import rate_of, seconds_of, size_of, whole_of


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1", 1),
        ("1e9", 10**9),
        ("2.5e3", 2500),
        ("40M", 40_000_000),
        ("1.5 k", 1500),
        ("2B", 2 * 10**9),
        ("1,000,000", 10**6),
        ("123_456", 123_456),
    ],
)
def test_whole_of_reads_what_people_write(text: str, number: int) -> None:
    assert whole_of("items", text, 2 * 10**9) == number


@pytest.mark.parametrize(
    "text",
    ["", "0", "-1", "1.5", "1e", "e9", "1e-3", "1e99", "40m", "1,00", "x", "nan", "inf", "٣"],
)
def test_whole_of_refuses_what_is_no_count(text: str) -> None:
    with pytest.raises(UsageError, match="items = "):
        whole_of("items", text, 2 * 10**9)


def test_sizes_rates_and_times_are_read_by_their_units() -> None:
    assert size_of("max-memory", "64GB") == 64 * 10**9
    assert rate_of("interconnect", "25GB/s") == 25e9
    assert rate_of("interconnect", "200Gbit") == 25e9
    assert seconds_of("latency", "20us") == pytest.approx(20e-6)
    assert seconds_of("latency", "0.5 ms") == pytest.approx(5e-4)
    assert seconds_of("latency", "0s") == 0
    for read, bad in (
        (size_of, "0GB"),
        (size_of, "many"),
        (rate_of, "25"),
        (rate_of, "0Gbit"),
        (rate_of, "25Gb"),  # bits or bytes?
        (seconds_of, "3"),
        (seconds_of, "2s"),
    ):
        with pytest.raises(UsageError):
            read("option", bad)
