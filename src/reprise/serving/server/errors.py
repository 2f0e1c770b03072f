"""Errors of requests: one JSON form for all of them.

{"error": {"code": "history_too_long", "message": "A sentence on what to change."}}
"""

import json
from collections.abc import Mapping
from typing import Any

from reprise.text.messages import Messages, Phrase

_PREFIX = "serve_"  # of the messages of requests, whose code is the rest of their key
JSON = "application/json"


class RefusedError(Phrase, Exception):
    """A request that is not answered: a message, an HTTP status and headers."""

    def __init__(
        self, status: int, key: str, headers: Mapping[str, str] | None = None, **values: Any
    ) -> None:
        super().__init__(key, **values)
        self.status = status
        self.headers = dict(headers or {})


def error_body(phrase: Phrase, messages: Messages) -> bytes:
    """Return the JSON of an error in the server's language."""
    about = {
        "code": phrase.key.removeprefix(_PREFIX),
        "message": messages.text(phrase.key, **phrase.values),
    }
    return json.dumps({"error": about}, ensure_ascii=False).encode("utf-8", "replace")
