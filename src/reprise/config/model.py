"""Build the network that a configuration names: a model of the registry and its wrappers."""

from reprise.config.schema import TrainConfig
from reprise.models.registry import Model, ModelShape, get_model
from reprise.models.wrappers.dynamic import with_dynamic_interests
from reprise.models.wrappers.encoder import Encoder, with_encoder
from reprise.models.wrappers.ensemble import with_ensemble
from reprise.models.wrappers.memory import with_memory
from reprise.models.wrappers.repeat_bias import with_repeat_bias


def model_of(config: TrainConfig) -> Model:
    """Return the config's model with its encoder, ensemble members, repeat bias and memory."""
    encoder = Encoder(
        config.encoder_layers,
        config.encoder_heads,
        config.dropout,
        gated=config.encoder_blocks == "gated",
        gaps=config.reads_times,
        request=config.request_at is not None,
        hour="hour" in config.request_clock,
        weekday="weekday" in config.request_clock,
    )
    model = get_model(config.model)
    if config.interest_count == "by-length":
        model = with_dynamic_interests(model)
    model = with_ensemble(with_encoder(model, encoder), config.ensemble)
    model = with_repeat_bias(model) if config.scoring.repeat_bias else model
    return with_memory(model) if config.memory != "none" else model


def shape_of(config: TrainConfig) -> ModelShape:
    """Return the dimensions that the config's model is built from."""
    return ModelShape(config.maxlen, config.embedding_dim, config.hidden_size, config.num_interest)
