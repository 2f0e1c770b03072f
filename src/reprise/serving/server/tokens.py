"""Tokens that clients show as `Authorization: Bearer TOKEN`, and who may ask without one."""

import hashlib
import hmac
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import ip_address
from pathlib import Path

from reprise.data.files import require_file
from reprise.errors import DataError, UsageError

_SHORTEST = 16  # characters; shorter ones can be guessed


def read_tokens(path: Path) -> tuple[str, ...]:
    """Return the tokens of a file, one a line; two at a time let clients change from one to the
    next. Lines that are empty or begin with # are no tokens.
    """
    require_file(path)
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except UnicodeDecodeError as error:
        raise DataError("serve_token_bad", path=path, shortest=_SHORTEST) from error
    tokens = tuple(line for line in lines if line and not line.startswith("#"))
    if not tokens or any(len(token) < _SHORTEST or not token.isascii() for token in tokens):
        raise DataError("serve_token_bad", path=path, shortest=_SHORTEST)
    return tokens


def holds_token(header: bytes | None, tokens: Sequence[str]) -> bool:
    """Return whether an Authorization header shows one of the tokens. It takes the same time
    whatever the header is: digests of one length are compared, all of them, in constant time.
    """
    scheme, _, shown = (header or b"").partition(b" ")
    digest = hashlib.sha256(shown.strip()).digest()
    same = [hmac.compare_digest(digest, hashlib.sha256(t.encode()).digest()) for t in tokens]
    return any(same) and scheme.lower() == b"bearer"


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches an address."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


@lru_cache(maxsize=16)  # every request has one, mostly the same
def is_loopback_host(header: bytes | None) -> bool:
    """Return whether a Host header names this machine: a page of another site that has its own name
    resolve to it (DNS rebinding) does not.
    """
    host = (header or b"").decode("latin-1")
    name = host if host.endswith("]") else host.rpartition(":")[0] or host
    return is_loopback(name)


def require_protection(host: str, tokens: Sequence[str], no_token: bool) -> None:
    """Raise UsageError for an address that others reach where neither a token protects it nor
    `no_token` says that none is to.
    """
    if tokens and no_token:
        raise UsageError("only_one", options="--token-file, --no-token")
    if not (is_loopback(host) or tokens or no_token):
        raise UsageError("serve_unprotected", host=host)
