"""Stored models of every kind, made of a small trained one, without training."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp

from reprise.config.load import read_preset
from reprise.config.model import model_of, shape_of
from reprise.models.registry import REGISTRY, SINGLE
from reprise.runs.stored import StoredModel

# Every model, and what wraps them: `modern` is the preset's wrappers, at this size.
MODERN = {
    name: value
    for name, value in read_preset("modern").items()
    if name in ("temperature", "normalize_history", "repeat_bias", "encoder_layers", "ensemble")
}
KINDS: dict[str, dict[str, Any]] = {
    **{name: {"model": name} for name in REGISTRY},
    "modern": {"model": "Queries", "encoder_heads": 2, **MODERN},
    "untied": {"model": "ComiRec-SA", "embeddings": "untied"},
    "by-length": {"model": "ComiRec-SA", "interest_count": "by-length"},
    "times": {
        "model": "Queries",
        "encoder_heads": 2,
        **MODERN,
        "time_bias": "gaps+request",
        "request_clock": "hour+weekday",
    },
    "MIND, modern": {"model": "MIND", "encoder_heads": 2, **MODERN},
}


def stored_like(stored: StoredModel, seed: int = 0, **settings: Any) -> StoredModel:
    """Return a model with these settings, random parameters and item vectors, over the items of
    another.
    """
    if settings["model"] in SINGLE:
        settings |= {"num_interest": 1}
    config = replace(stored.config, **settings)
    model, scoring = model_of(config), config.scoring
    of_params, of_rows = jax.random.split(jax.random.key(seed))
    params = {
        name: value + 0.05 * jax.random.normal(jax.random.fold_in(of_params, at), value.shape)
        for at, (name, value) in enumerate(model.init(of_params, shape_of(config)).items())
    }
    width = scoring.width(config.embedding_dim)
    rows = 0.3 * jax.random.normal(of_rows, (stored.num_items + 1, width), jnp.float32)
    if model.item_values is not None:
        rows = rows.at[1:].set(
            model.item_values(jnp.arange(1, stored.num_items + 1), shape_of(config))
        )
    retriever = replace(
        stored.retriever,
        model=model,
        scoring=scoring,
        rows=rows.at[0].set(0),
        width=width,
        params=params,
        request_time=config.request_at,
    )
    return replace(stored, config=config, retriever=retriever)
