"""What a run is asked to do: one frozen dataclass, from flags and TOML."""

import dataclasses
import difflib
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from reprise.errors import UsageError
from reprise.models.registry import UNTRAINED, canonical_name
from reprise.models.scoring import Scoring
from reprise.text.messages import Phrase

# Fields that may change between starts of one run: they decide how long it goes on, not its path.
_EXTENDABLE = {"extendable": True}
NEGATIVES_PER_EXAMPLE = 10
# What `training.optimizers` and `training.losses` know by these names, the default first.
OPTIMIZERS = ("row-adam", "adam", "lazy-adam")
SELECTIONS = ("argmax", "sample", "soft", "item0")
NEG_SCORES = ("selected", "max")
EMBEDDINGS = ("tied", "untied")
HISTORIES = ("raw", "unit")
INTEREST_COUNTS = ("fixed", "by-length")  # of `models.dynamic`
REPEATS = ("ignored", "learned")  # of `models.repeats`
SAMPLERS = ("log-uniform", "uniform", "in-batch", "mixed", "full")  # of `training.negatives`
DECAYS = ("none", "cosine", "linear")  # of `training.schedules`
CHOICES = {
    "optimizer": OPTIMIZERS,
    "selection": SELECTIONS,
    "neg_score": NEG_SCORES,
    "sampler": SAMPLERS,
    "decay": DECAYS,
    "embeddings": EMBEDDINGS,
    "history": HISTORIES,
    "interest_count": INTEREST_COUNTS,
    "repeats": REPEATS,
}
# A whole number means the same.
_REAL = (
    "learning_rate",
    "hard_negatives",
    "routing_penalty",
    "dropout",
    "item_dropout",
    "next_share",
)
_OPTIONAL = ("temperature", "embedding_scale")  # 0 is none: a flag takes out a file's value
# What says nothing of a model that is not trained: one look at the data, and all is known.
_OF_UNTRAINED: Mapping[str, Any] = {
    "max_steps": 1,
    "test_iter": 1,
    "temperature": None,
    "embedding_scale": None,
    "embeddings": EMBEDDINGS[0],
    "history": HISTORIES[0],
    "repeats": REPEATS[0],
    "routing_penalty": 0.0,
    "encoder_layers": 0,
    "members": 1,
}
_PRESETS = Path(__file__).parent / "presets"
PRESETS = tuple(sorted(path.stem for path in _PRESETS.glob("*.toml")))
_ALIASES = {
    "steps": "max_steps",
    "model_type": "model",
    "random_seed": "seed",
    "topN": "top_n",
}
_SEEDS = 2**32  # JAX's keys and NumPy's streams tell these apart, and no more
_LARGEST = 1_000_000  # of any size: beyond it lies a mistyped number
_LONGEST = 10**12  # of steps
_LEARNING_RATES = 1e-30, 1e30  # which float32 holds, and their squares nearly
_DEEPEST = 64  # layers: each is compiled by itself
_LONGEST_NAME = 100  # bytes: the run's folder name holds two of them, and 255 is a file system's


@dataclass(frozen=True)
class TrainConfig:
    """The configuration of a run; the defaults are ComiRec's for Amazon Books.

    maxlen: items of history a user brings.
    embedding_scale: fresh item rows are uniform within it (None, or 0: within Glorot's limit).
    embeddings: tied, an item is the same vector in a history and as a candidate; untied, it has one
    for each. history: raw, as they are; unit, the items of a history have one length.
    members: of `models.members`, which share the embedding dimension and the hidden size out.
    num_interest: interests a user; interest_count: by length, of a short history fewer.
    Of `models.encoder`, under the model, encoder_layers: blocks (0: none); encoder_heads: of their
    attention; dropout: in training, the share of its numbers that are zero.
    sampler: of negatives, see `training.negatives`. negatives: shared by the batch, its own targets
    not counted; None: 10 x batch. In-batch there are no others, and it is as many as targets;
    full, all items are, and it says nothing.
    first_target: items a target has before it, at least. targets: learned of each user in one pass,
    each from the items before it. next_n: a target is one of so many items that follow its history;
    next_share: or of as many as are this share of the user's items, where that is more.
    item_dropout: share of a history's items that training leaves out.
    repeats: learned, items that a user has seen score more or less by what `models.repeats` finds
    they are worth; ignored, as any other.
    optimizer: of the item rows, see `training.optimizers`.
    Of `training.losses`, selection: which interest learns the target; temperature: scores are
    cosines divided by it (None, or 0: inner products); neg_score: which interest scores a negative;
    hard_negatives: how much more those weigh that score high (0: no more); routing_penalty: on an
    attention to single items (0: none).
    Of `training.schedules`, by which the learning rate is multiplied, warmup: steps it climbs for;
    decay and decay_steps: how it falls, and until when.
    test_iter: steps between evaluations. valid_users: how many validation users these are over,
    drawn once by the seed; 0: all of them. top_n: the cutoff whose valid recall selects the best.
    max_steps: updates in all. patience: evaluations without improvement that are borne.
    """

    dataset: str
    name: str
    model: str = "ComiRec-DR"
    batch_size: int = 128
    maxlen: int = 20
    embedding_dim: int = 64
    embedding_scale: float | None = None
    embeddings: str = EMBEDDINGS[0]
    history: str = HISTORIES[0]
    hidden_size: int = 64
    num_interest: int = 4
    members: int = 1
    interest_count: str = INTEREST_COUNTS[0]
    encoder_layers: int = 0
    encoder_heads: int = 1
    dropout: float = 0.0
    item_dropout: float = 0.0
    sampler: str = SAMPLERS[0]
    negatives: int | None = None
    first_target: int = 4
    targets: int = 1
    next_n: int = 1
    next_share: float = 0.0
    repeats: str = REPEATS[0]
    optimizer: str = OPTIMIZERS[0]
    selection: str = SELECTIONS[0]
    temperature: float | None = None
    neg_score: str = NEG_SCORES[0]
    hard_negatives: float = 0.0
    routing_penalty: float = 0.0
    learning_rate: float = 0.001
    warmup: int = 0
    decay: str = DECAYS[0]
    decay_steps: int = 0
    seed: int = 19
    test_iter: int = 1000
    valid_users: int = 0
    top_n: int = 50
    max_steps: int = field(default=1_000_000, metadata=_EXTENDABLE)
    patience: int = field(default=50, metadata=_EXTENDABLE)

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):
            check_value(item.name, getattr(self, item.name))
        self._set(model=canonical_name(self.model))
        self._set(**{name: float(getattr(self, name)) for name in _REAL})
        self._set(**{name: float(getattr(self, name) or 0) or None for name in _OPTIONAL})
        if self.model in UNTRAINED:
            self._set(**_OF_UNTRAINED)
        self._check_members()
        self._settle_encoder()
        self._settle_decay()
        self._check_selection()
        self._check_maxlen()
        self._settle_negatives()

    def _set(self, **values: Any) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def _refuse(self, option: str, expected: Phrase) -> NoReturn:
        value = getattr(self, option)
        raise UsageError("bad_value", option=option, value=value, expected=expected)

    def _check_members(self) -> None:
        for size in (self.embedding_dim, self.hidden_size):
            if size % self.members != 0:
                self._refuse("members", Phrase("good_members", size=size))

    def _settle_encoder(self) -> None:
        dim = self.embedding_dim // self.members
        if self.encoder_layers == 0:
            self._set(encoder_heads=1, dropout=0.0)
        elif dim % self.encoder_heads != 0:
            self._refuse("encoder_heads", Phrase("good_heads", dim=dim))

    def _settle_decay(self) -> None:
        if self.decay == "none":
            self._set(decay_steps=0)
        elif self.decay_steps == 0:
            raise UsageError("missing_value", option="decay_steps")

    def _check_selection(self) -> None:
        if self.neg_score == "max" and self.selection != SELECTIONS[0]:
            self._refuse("selection", Phrase("good_selection", selection=SELECTIONS[0]))

    def _check_maxlen(self) -> None:
        if self.targets > 1 and self.maxlen < self.first_target:
            self._refuse("maxlen", Phrase("good_maxlen", first=self.first_target))

    def _settle_negatives(self) -> None:
        in_batch, learned = self.sampler == "in-batch", self.batch_size * self.targets
        if self.sampler == "full" or self.negatives is None:
            self._set(negatives=learned if in_batch else NEGATIVES_PER_EXAMPLE * self.batch_size)
        if in_batch and self.negatives != learned:
            self._refuse("negatives", Phrase("good_negatives", learned=learned))

    @property
    def num_negatives(self) -> int:
        """Negatives of a step, shared by its batch."""
        assert self.negatives is not None  # set in __post_init__
        return self.negatives

    @property
    def cutoffs(self) -> tuple[int, ...]:
        """Where metrics are taken, see `cutoffs_of`."""
        return cutoffs_of(self.top_n)

    @property
    def scoring(self) -> Scoring:
        """How interests and items are compared."""
        return Scoring(
            cosine=self.temperature is not None,
            tied=self.embeddings == "tied",
            unit_history=self.history == "unit",
            members=self.members,
            repeats=self.repeats == "learned",
        )

    @property
    def run_name(self) -> str:
        """The run's folder name, as ComiRec forms it."""
        return (
            f"{self.dataset}_{self.model}_b{self.batch_size}_lr{self.learning_rate}"
            f"_d{self.embedding_dim}_len{self.maxlen}_{self.name}"
        )

    def identity(self, fingerprint: str) -> dict[str, Any]:
        """Return what must not change between starts of the run."""
        fixed = {
            item.name: getattr(self, item.name)
            for item in dataclasses.fields(self)
            if not item.metadata.get("extendable") and item.name != "name"
        }
        return fixed | {"dataset_fingerprint": fingerprint}


def cutoffs_of(top_n: int) -> tuple[int, ...]:
    """Return where metrics are taken: at 20 and 50, as ComiRec, and at `top_n`."""
    return tuple(sorted({20, 50, top_n}))


def make_config(values: Mapping[str, Any]) -> TrainConfig:
    """Build a config from values by field name (None: not given); UsageError for unknown names."""
    known = {item.name for item in dataclasses.fields(TrainConfig)}
    for key in values:
        if key not in known:
            raise UsageError("unknown_key", option=key, suggestion=_closest(key, known))
    given = {key: value for key, value in values.items() if value is not None}
    for required in ("dataset", "name"):
        if required not in given:
            raise UsageError("missing_value", option=required)
    return TrainConfig(**given)


def read_toml(path: Path) -> dict[str, Any]:
    """Read configuration values from a TOML file; keys as the flags of the run's own settings, with
    - or _ (steps, or max_steps; not max_iter).
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise UsageError("unreadable_config", path=path, reason=error) from error
    values: dict[str, Any] = {}
    for key, value in table.items():
        name = field_of(key)
        if name in values:
            raise UsageError("unreadable_config", path=path, reason=Phrase("key_twice", name=key))
        values[name] = value
    return values


def field_of(key: str) -> str:
    """Return the field of TrainConfig that a flag's name means, without its dashes before."""
    name = key.replace("-", "_")
    return _ALIASES.get(name, name)


def read_preset(name: str) -> dict[str, Any]:
    """Read the configuration values of a preset, one of PRESETS; UsageError for another."""
    if name not in PRESETS:
        raise UsageError("bad_value", option="preset", value=name, expected=" | ".join(PRESETS))
    return read_toml(_PRESETS / f"{name}.toml")


def _closest(word: str, known: set[str]) -> str:
    return difflib.get_close_matches(word, sorted(known), n=1, cutoff=0.0)[0]


def check_value(name: str, value: Any) -> None:
    """Refuse a value of the wrong type or out of range."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    real = whole or (isinstance(value, float) and math.isfinite(value))
    expected: str | Phrase
    if name in ("dataset", "name", "model"):
        good, expected = isinstance(value, str), Phrase("good_text")
    elif name in CHOICES:
        good, expected = value in CHOICES[name], " | ".join(CHOICES[name])
    elif name == "learning_rate":
        low, high = _LEARNING_RATES
        good, expected = real and low <= value <= high, Phrase("good_within", low=low, high=high)
    elif name in ("hard_negatives", "routing_penalty"):
        good = real and 0 <= value <= _LARGEST
        expected = Phrase("good_within", low=0, high=_LARGEST)
    elif name in ("dropout", "item_dropout", "next_share"):
        good, expected = real and 0 <= value < 1, Phrase("good_below", low=0, high=1)
    elif name == "encoder_layers":
        good = whole and 0 <= value <= _DEEPEST
        expected = Phrase("good_whole_within", low=0, high=_DEEPEST)
    elif name in _OPTIONAL:
        good = value is None or (real and (value == 0 or 1 / _LARGEST <= value <= _LARGEST))
        expected = Phrase("good_optional", low=1 / _LARGEST, high=_LARGEST)
    elif name in ("patience", "seed"):
        good = whole and 0 <= value < _SEEDS
        expected = Phrase("good_whole_within", low=0, high=_SEEDS - 1)
    elif name in ("warmup", "decay_steps", "valid_users"):
        good = whole and 0 <= value <= _LARGEST
        expected = Phrase("good_whole_within", low=0, high=_LARGEST)
    elif name in ("max_steps", "test_iter"):
        good = whole and 1 <= value <= _LONGEST
        expected = Phrase("good_whole_within", low=1, high=_LONGEST)
    else:
        good = (whole and 1 <= value <= _LARGEST) or (name == "negatives" and value is None)
        expected = Phrase("good_whole_within", low=1, high=_LARGEST)
    if not good:
        raise UsageError("bad_value", option=name, value=value, expected=expected)
    if name in ("dataset", "name") and not _names_a_folder(value):
        raise UsageError("bad_name", option=name, value=value)


def _names_a_folder(text: str) -> bool:
    fit = text.isprintable() and not text.startswith(".") and Path(text).name == text
    return bool(text) and fit and len(text.encode(errors="replace")) <= _LONGEST_NAME
