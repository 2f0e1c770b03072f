"""The README.md of an exported folder: the rule of scoring, and the lines of Python that serve it.

A test runs these lines as they are printed.
"""

from collections.abc import Iterator
from typing import Any

from reprise.text.messages import Messages, Phrase


def written(manifest: dict[str, Any], messages: Messages) -> str:
    """Return the page for a folder with this manifest."""
    paragraphs = [
        ("readme_title", {key: manifest[key] for key in ("run", "model", "step")}),
        ("readme_content", {"version": manifest["reprise"], "items": manifest["items"]}),
        ("readme_scoring", {}),
        _about_worth(manifest["repeat_worth"]),
        ("readme_ties", {}),
        *_about_memory(manifest.get("memory")),
        ("readme_serving", {}),
        *_about_interests(manifest),
        *_about_index(manifest["index"]),
        ("readme_code", {"code": "\n".join(code(manifest))}),
    ]
    return "\n\n".join(messages.text(key, **values) for key, values in paragraphs) + "\n"


def code(manifest: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of Python, for the ONNX model and the index where the folder has them."""
    tower, index = manifest["onnx"], manifest["index"]
    yield from ("import json", "from pathlib import Path", "")
    yield from ["import faiss"] * bool(index)
    yield "import numpy as np"
    yield from ["import onnxruntime"] * bool(tower)
    yield from ("", 'manifest = json.loads(Path("manifest.json").read_text("utf-8"))')
    yield 'raw_ids = json.loads(Path("item_ids.json").read_text("utf-8"))'
    yield "numbers = {raw_id: number for number, raw_id in enumerate(raw_ids, 1)}"
    yield 'items = np.load("items.npy")'
    if tower:
        yield f'tower = onnxruntime.InferenceSession("{tower["file"]}")'
    if index:
        yield f'index = faiss.read_index("{index["file"]}")'
    remembers = "memory" in manifest
    yield from _EDGES if remembers else ()
    yield from ("", "")
    timed = bool(tower) and "times" in tower["inputs"]
    more = ", times, request_time" if timed else ""
    yield f"def recommend(history, n{more if tower else ', interests'}):"
    yield "    known = [numbers[raw_id] for raw_id in history if raw_id in numbers]"
    if tower:
        yield '    last = np.array([known[-manifest["history_length"] :]], np.int32)'
        yield '    padding = manifest["history_length"] - last.size'
        yield '    fed = {"history": np.pad(last, ((0, 0), (0, padding)))}'
        yield '    fed["lengths"] = np.array([last.size], np.int32)'
        yield from _TIMES if timed else ()
        yield "    interests = tower.run(None, fed)[0][0]"
    yield "    seen = np.unique(np.array(known, np.int64))"
    yield from _MEMORY if remembers else ()
    if index:
        yield "    asked = min(n + len(seen), len(raw_ids))"
        yield "    found = np.union1d(index.search(interests, asked)[1] + 1, seen)"
        yield "    found = found[found > 0]"
        yield from ["    found = np.union1d(found, np.flatnonzero(bonus))"] * remembers
    else:
        yield "    found = np.arange(1, len(items))"
    yield "    scores = (items[found] @ interests.T).max(axis=1)"
    yield '    scores[np.isin(found, seen)] += np.float32(manifest["repeat_worth"])'
    yield from ["    scores += bonus[found]"] * remembers
    yield '    return [raw_ids[i - 1] for i in found[np.argsort(-scores, kind="stable")[:n]]]'


# Seconds since 1970 become seconds since a Monday, as `data.moments` has them.
_TIMES = (
    "    pairs = zip(history, times, strict=True)",
    "    own = [time for raw_id, time in pairs if raw_id in numbers]",
    '    own = np.int64([*own[-manifest["history_length"] :], *[request_time] * (padding + 1)])',
    "    monday = (own.min() - 345600) // 604800 * 604800 + 345600",
    '    fed["times"] = np.minimum(own - monday, 2**31 - 1).astype(np.int32)[None]',
)


# What a memory adds, see `memory.Memory`.
_EDGES = (
    'memory = manifest["memory"]',
    'parts = (np.load(f"memory_{part}.npy") for part in ("offsets", "to", "value"))',
    "offsets, to, value = parts",
)
_MEMORY = (
    '    recent = known[-memory["most"] :]',
    '    bucket = np.searchsorted(memory["ages"], np.arange(len(recent))[::-1], "right") - 1',
    '    factors = np.float32(memory["factors"])[bucket]',
    "    led = np.zeros(len(items), np.float32)",
    "    for item, factor in zip(recent, factors, strict=True):",
    "        own = slice(*offsets[item - 1 : item + 1])",
    "        led[to[own]] += factor * value[own] / factors.sum()",
    '    bonus = memory["weight"] * np.log1p(memory["bend"] * led) / np.log1p(memory["bend"])',
    "    bonus[seen] = 0",
)


def _about_memory(memory: dict[str, Any] | None) -> Iterator[tuple[str, dict[str, Any]]]:
    if memory is not None:
        yield "readme_memory", {"weight": memory["weight"], "most": memory["most"]}


def _about_worth(worth: float) -> tuple[str, dict[str, Any]]:
    return ("readme_worth", {"worth": worth}) if worth else ("readme_worth_none", {})


def _about_interests(manifest: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the paragraphs on where a user's interests come from."""
    if tower := manifest["onnx"]:
        check = tower["check"]
        values = {"length": manifest["history_length"], "histories": check["histories"]}
        yield "readme_onnx", {**values, "difference": f"{check['largest_difference']:.1e}"}
        if "times" in tower["inputs"]:
            yield "readme_onnx_times", {"length": manifest["history_length"]}
        if tower["external_data"]:
            yield "readme_onnx_beside", {"file": tower["external_data"]}
    elif manifest["users"] is not None:
        yield "readme_users", {}
    else:
        yield "readme_load", {"run": manifest["run"]}


def _about_index(index: dict[str, Any] | None) -> Iterator[tuple[str, dict[str, Any]]]:
    if index is not None:
        measured = index["measured"]
        queries = {"test": "queries_test", "random": "queries_random"}[measured["queries"]]
        values = {name: measured[name] for name in ("recall", "n", "users")}
        yield "readme_index", {"kind": index["kind"], **values, "queries": Phrase(queries)}
