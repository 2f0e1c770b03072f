"""The variable names of ComiRec's original code.

Most parameters are matched by shape; these names decide between variables of the same shape.
"""

from collections.abc import Mapping

ROWS = "rows"  # the item table, beside the parameters
TABLE = "mid_embedding_var"
# Variables that the original stores but does not train: item biases, always zero.
UNTRAINED = frozenset({"bias_lookup_table"})
# By model and parameter. MIND's `routing` is missing: the original draws it at every step.
ORIGINAL: Mapping[str, Mapping[str, str]] = {
    "ComiRec-DR": {"bilinear": "bilinear/weights"},
    "ComiRec-SA": {
        "position": "position_embedding",
        "hidden": "self_atten/dense/kernel",
        "hidden_bias": "self_atten/dense/bias",
        "heads": "self_atten/dense_1/kernel",
        "heads_bias": "self_atten/dense_1/bias",
    },
    "MIND": {
        "shared": "bilinear/dense/kernel",
        "shared_bias": "bilinear/dense/bias",
        "projection": "proj/kernel",
        "projection_bias": "proj/bias",
    },
    "DNN": {"dense": "dense/kernel", "dense_bias": "dense/bias"},
    "GRU4REC": {
        "gates": "gru_cell/gates/kernel",
        "gates_bias": "gru_cell/gates/bias",
        "candidate": "gru_cell/candidate/kernel",
        "candidate_bias": "gru_cell/candidate/bias",
    },
}
# Parameters that a checkpoint may lack; they are then initialised.
DRAWN: Mapping[str, frozenset[str]] = {"MIND": frozenset({"routing"})}


# Models whose variable names are not specific to the original.
_COMMON = frozenset({"DNN"})


def is_original(variable: str, original: str) -> bool:
    """Return whether a variable has this name of the original, with or without scopes."""
    return f"/{variable}".endswith(f"/{original}")


def named_of(aliases: frozenset[str]) -> str | None:
    """Return the model that a variable's names (aliases) belong to, or None if unknown."""
    found = [
        (len(original), model)
        for model, names in ORIGINAL.items()
        for original in names.values()
        if any(is_original(alias, original) for alias in aliases)
    ]
    model = max(found)[1] if found else None
    return None if model in _COMMON else model
