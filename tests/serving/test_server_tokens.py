"""Tokens, and hosts that only this machine reaches."""

from pathlib import Path

import pytest

from reprise.errors import DataError, UsageError
from reprise.serving.server.tokens import (
    holds_token,
    is_loopback,
    is_loopback_host,
    read_tokens,
    require_protection,
)

TOKEN, OTHER = "a" * 20, "b" * 30


def test_read_tokens_reads_one_a_line(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text(f"# of the shop\n{TOKEN}\n\n  {OTHER}  \n")
    assert read_tokens(file) == (TOKEN, OTHER)


@pytest.mark.parametrize("content", [b"", b"# none\n", b"short\n", "é".encode() * 20, b"\xff" * 20])
def test_read_tokens_refuses_weak_ones(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "tokens").write_bytes(content)
    with pytest.raises(DataError, match="no valid tokens"):
        read_tokens(tmp_path / "tokens")
    with pytest.raises(DataError, match="No such file"):
        read_tokens(tmp_path / "missing")


@pytest.mark.parametrize(
    ("header", "holds"),
    [
        (f"Bearer {TOKEN}", True),
        (f"bearer {OTHER}", True),
        (f"Bearer  {TOKEN} ", True),
        (f"Bearer {TOKEN}x", False),
        (f"Bearer {TOKEN[:-1]}", False),
        (f"Basic {TOKEN}", False),
        (TOKEN, False),
        ("Bearer ", False),
        ("", False),
        (None, False),
    ],
)
def test_holds_token(header: str | None, holds: bool) -> None:
    assert holds_token(None if header is None else header.encode(), (TOKEN, OTHER)) == holds


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.0.7", False),
        ("example.org", False),
        ("localhost.example.org", False),
        ("", False),
    ],
)
def test_is_loopback(host: str, local: bool) -> None:
    assert is_loopback(host) == local
    bracketed = f"[{host}]" if ":" in host else host
    assert is_loopback_host(bracketed.encode()) == local
    assert is_loopback_host(f"{bracketed}:8000".encode()) == local


def test_require_protection_asks_for_a_token_or_the_word_that_none_is_needed() -> None:
    require_protection("127.0.0.1", (), no_token=False)
    require_protection("0.0.0.0", (TOKEN,), no_token=False)
    require_protection("0.0.0.0", (), no_token=True)
    with pytest.raises(UsageError, match="--token-file"):
        require_protection("0.0.0.0", (), no_token=False)
    with pytest.raises(UsageError, match="only one"):
        require_protection("127.0.0.1", (TOKEN,), no_token=True)
