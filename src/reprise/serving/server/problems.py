"""Turn what the framework finds wrong with a request into a sentence of the catalogue."""

from collections.abc import Mapping, Sequence
from typing import Any

from reprise.serving.server.errors import RefusedError
from reprise.text.messages import Phrase
from reprise.text.suggest import suggest

# What a field should be, by its name; of an entry of a list, by "name[]".
_EXPECTED = {
    "": "serve_good_object",
    "histories": "serve_good_histories",
    "histories[]": "serve_good_history",
    "histories[][]": "serve_good_id",
    "times": "serve_good_times",
    "times[]": "serve_good_times",
    "times[][]": "serve_good_time",
    "request_time": "serve_good_time",
    "n": "serve_good_n",
    "diversity": "serve_good_number",
    "exclude": "serve_good_ids",
    "exclude[]": "serve_good_id",
    "allow": "serve_good_ids",
    "allow[]": "serve_good_id",
    "categories": "serve_good_names",
    "categories[]": "serve_good_name",
    "filter_seen": "serve_good_bool",
    "weights": "serve_good_weights",
    "weights[]": "serve_good_number",
    "explain": "serve_good_bool",
    "query": "serve_good_query",
}
_TOO_LONG = {"histories": "serve_too_many_histories", "histories[]": "serve_history_too_long"}
_TOO_LONG |= {"times": "serve_too_many_histories", "times[]": "serve_history_too_long"}


def of_request(errors: Sequence[Mapping[str, Any]], limits: Mapping[str, Any]) -> RefusedError:
    """Return the refusal of a request, given the framework's findings, of which the first counts.

    Args:
        errors: `RequestValidationError.errors()`.
        limits: Values that the sentences may name: max_n, interests, and so on.
    """
    found = errors[0]
    place = [part for part in found["loc"] if part not in ("body", "query", "path")]
    # pydantic names the branch of a union at its end; entries of lists are numbers.
    names = [part for part in place if isinstance(part, int) or part in _EXPECTED]
    where = _spelled(names)
    kind = "".join("[]" if isinstance(part, int) else part for part in names)
    if found["type"] == "json_invalid":
        return RefusedError(
            400, "serve_bad_json", reason=found["ctx"]["error"], place=found["loc"][-1]
        )
    if found["type"] == "missing":
        return RefusedError(
            422, "serve_field_missing", where=_spelled(place) or Phrase("serve_body")
        )
    if found["type"] == "extra_forbidden":
        name = str(place[-1])
        known = [name for name in _EXPECTED if name and not name.endswith("]")]
        return RefusedError(422, "serve_field_unknown", where=name, suggestion=suggest(known, name))
    if found["type"] == "too_long" and kind in _TOO_LONG:
        most, length = found["ctx"]["max_length"], found["ctx"]["actual_length"]
        return RefusedError(422, _TOO_LONG[kind], where=where, most=most, length=length)
    expected = Phrase(_EXPECTED.get(kind, "serve_good_value"), **limits)
    return RefusedError(
        422, "serve_field_bad", where=where or Phrase("serve_body"), expected=expected
    )


def _spelled(place: Sequence[Any]) -> str:
    """Return a place as a client spells it: histories[0][3]."""
    return "".join(f"[{part}]" if isinstance(part, int) else str(part) for part in place)
