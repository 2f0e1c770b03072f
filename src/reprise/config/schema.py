"""The settings of a run, each declared once, as a field of `TrainConfig`.

A declaration (see `setting.Setting`) gives the type, range or choices, default, help and names of
a setting. All else follows from it: the flag and its help, the TOML key, the check,
docs/commands.md, `reprise config show`, what a sweep may search, and what an older checkpoint
without the setting means.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

from reprise.config.setting import LARGEST, Former, Meaning, Setting, choice, setting, settings_of
from reprise.data import REQUEST_TIMES
from reprise.errors import UsageError
from reprise.models.registry import LEAST_LAYERS, REGISTRY, UNTRAINED, canonical_name
from reprise.models.scoring import Scoring
from reprise.text.messages import Phrase

NEGATIVES_PER_EXAMPLE = 10
_SEEDS = 2**32  # more than 32 bits would not change JAX's keys and NumPy's streams
NONE, ALL = "none", "all"  # of the item features
_LONGEST = 2_000_000_000  # steps: rows count them in 32 bits
_MOST_EDGES = 4_096


@dataclass(frozen=True)
class TrainConfig:
    """The configuration of a run; the defaults are ComiRec's for Amazon Books."""

    # The run
    dataset: str = setting(Meaning.REQUIRED, "Dataset under --data-dir.", names_folder=True)
    name: str = setting(
        Meaning.REQUIRED, "Name of the experiment, the end of its folder's.", names_folder=True
    )
    model: str = setting(
        "ComiRec-DR",
        f"How interests are extracted: {' | '.join(REGISTRY)}.",
        flags=("--model", "--model-type"),
    )

    # How long it goes on, and how it is evaluated
    max_steps: int = setting(
        1_000_000,
        "Total steps; may be raised later.",
        at_most=_LONGEST,
        flags=("--steps",),
        extendable=True,
        untrained=1,
    )
    test_iter: int = setting(1000, "Steps between evaluations.", at_most=_LONGEST, untrained=1)
    valid_users: int = setting(
        0,
        "Validation users per evaluation during training, a fixed random sample; the last "
        "evaluation uses all.",
        at_least=0,
        default_shown="0, all",
    )
    train_users: str = choice(
        ("train", "all"),
        "Whom to train on: {choices}; all: those of valid and test too, so that nothing can be "
        "evaluated.",
        untrained=Meaning.DEFAULT,
    )
    patience: int = setting(
        50,
        "Early stopping: evaluations without improvement; may be raised later.",
        at_least=0,
        at_most=_SEEDS - 1,
        extendable=True,
    )

    # The learning rate and the optimizer: `training.schedules`, `training.optimizers`
    learning_rate: float = setting(
        0.001,
        "Learning rate of Adam.",
        at_least=1e-30,  # float32 holds these, and their squares nearly
        at_most=1e30,
    )
    warmup: int = setting(0, "Warm-up steps of the learning rate.", at_least=0)
    decay: str = choice(("none", "cosine", "linear"), "Learning rate decay: {choices}.")
    decay_steps: int = setting(
        0,
        "Step at which the decay ends, at 1% of the learning rate; --decay needs it.",
        at_least=0,
        needs="decay",
    )
    average_decay: float = setting(
        0.0,
        "Decay per step, such as 0.999, of an average of the weights that is evaluated and served "
        "in their place; 0: none.",
        at_least=0,
        below=1,
        untrained=Meaning.DEFAULT,
    )
    optimizer: str = choice(
        ("row-adam", "adam", "lazy-adam"),
        "Optimizer of the item embeddings: {choices}. row-adam equals dense Adam, at a cost that "
        "depends on the batch alone.",
        # Older versions used lazy Adam, which leaves no updates pending: any optimizer can go on.
        absent=Meaning.OPEN,
    )

    # The loss: `training.losses`
    loss: str = choice(
        ("softmax", "gbce"),
        "Loss: {choices}: sampled softmax, or the binary cross-entropy of gSASRec, which needs "
        "--sampler uniform or full.",
        untrained=Meaning.DEFAULT,
    )
    calibration: float = setting(
        0.75,
        "t of gbce, 0 to 1: 0 is the plain binary cross-entropy.",
        at_least=0,
        at_most=1,
        needs="loss",
    )
    selection: str = choice(
        ("argmax", "sample", "soft", "item0"),
        "Interest that is trained on the target: {choices}.",
        of_several=True,
    )
    temperature: float | Literal["auto"] | None = setting(
        None,
        "Score by cosine divided by this temperature, 0.05 to 0.2; 0: by inner product; auto: 0.1 "
        "where items occur 50 times on average, else 0.15.",
        at_least=1 / LARGEST,
        zero_is_none=True,
        by_data=True,
        untrained=Meaning.DEFAULT,
    )
    neg_score: str = choice(
        ("selected", "max"),
        "Interest that scores a negative: {choices}: the target's, or the one with the highest "
        "score for this negative.",
        of_several=True,
    )
    hard_negatives: float = setting(
        0.0, "REMI's b: weight negatives by exp(b * score); 0: equal weights.", at_least=0
    )
    interest_penalty: float = setting(
        0.0,
        "Penalty on the mean squared cosine of a user's interests.",
        at_least=0,
        of_several=True,
        untrained=Meaning.DEFAULT,
    )
    routing_penalty: float = setting(
        0.0,
        "REMI's c: penalty on attention to single items; for ComiRec-SA and Queries.",
        at_least=0,
        untrained=Meaning.DEFAULT,
    )

    # Sizes and item vectors: `models.registry.ModelShape`, `models.scoring`
    batch_size: int = setting(128, "Batch size: users per step.")
    maxlen: int = setting(20, "Maximum history length; the last items are kept.")
    embedding_dim: int = setting(64, "Embedding dimension.")
    embedding_scale: float | None = setting(
        None,
        "Initialise item embeddings uniformly within plus or minus this; 0: Glorot's limit.",
        at_least=1 / LARGEST,
        zero_is_none=True,
        untrained=Meaning.DEFAULT,
    )
    item_init: str = choice(
        ("random", "counts", "auto"),
        "How item embeddings begin: {choices}; counts: alike where items occur beside the same "
        "ones in training, which learns in half the steps or less; auto: counts of at most "
        "1,000,000 items and 10,000,000 interactions, else random.",
        untrained=Meaning.DEFAULT,
    )
    embeddings: str = choice(
        ("tied", "untied"),
        "{choices}: one embedding per item, or separate ones for history and candidates.",
        untrained=Meaning.DEFAULT,
    )
    normalize_history: bool = setting(
        False,
        "Normalise the item embeddings of the history to norm sqrt(d).",
        untrained=Meaning.DEFAULT,
        formerly=(Former("history", (("raw", False), ("unit", True))),),
    )
    item_features: str = setting(
        NONE,
        "Features of the dataset that are added to the item embeddings: names separated by commas "
        "| all | none.",
        listed=True,
        untrained=Meaning.DEFAULT,
    )
    id_dropout: float = setting(
        0.0,
        "Fraction of a batch's items whose own embeddings are left out in training, 0 to 1, so "
        "that their features learn to stand alone.",
        at_least=0,
        below=1,
        needs="item_features",
    )
    hidden_size: int = setting(
        64, "Hidden size of the network; most models need it equal to --embedding-dim."
    )

    # Around the model: `models.wrappers`
    num_interest: int = setting(4, "Interest vectors per user.", of_several=True)
    ensemble: int = setting(
        1,
        "Ensemble members, each trained on a slice of the embedding dimensions.",
        untrained=Meaning.DEFAULT,
        formerly=(Former("members"),),
    )
    interest_count: str = choice(
        ("fixed", "by-length"),
        "{choices}: the same number for all users, or fewer for short histories.",
        of_several=True,
    )
    encoder_layers: int = setting(
        0,
        "Causal self-attention blocks over the history, below the model; 0 means 2 with SASRec.",
        at_least=0,
        at_most=64,  # each is compiled separately
        untrained=Meaning.DEFAULT,
    )
    encoder_heads: int = setting(1, "Attention heads of the encoder.", needs="encoder_layers")
    encoder_blocks: str = choice(
        ("plain", "gated"),
        "Blocks of the encoder: {choices}: with gates on what a block adds, and a SwiGLU layer.",
        needs="encoder_layers",
        untrained=Meaning.DEFAULT,
    )
    dropout: float = setting(
        0.0,
        "Dropout rate of the encoder, 0 to 1.",
        at_least=0,
        below=1,
        needs="encoder_layers",
    )
    time_bias: str = choice(
        ("none", "gaps", "gaps+request"),
        "What the encoder knows of times: {choices}: the gaps between the history's items, and "
        "those to the request.",
        needs="encoder_layers",
        untrained=Meaning.DEFAULT,
    )
    request_clock: str = choice(
        ("none", "hour", "weekday", "hour+weekday"),
        "What the encoder knows of the request's time of day and week, in UTC: {choices}.",
        needs="time_bias",
        untrained=Meaning.DEFAULT,
    )
    request_time: str = choice(
        REQUEST_TIMES,
        "Time of the request in evaluations: {choices}: of the first held-out item, or of the last "
        "known one.",
        needs="time_bias",
        untrained=Meaning.DEFAULT,
    )
    item_dropout: float | Literal["auto"] = setting(
        0.0,
        "Fraction of the history's items dropped in training, 0 to 1; auto: 0 where users have 50 "
        "items on average, else 0.2.",
        at_least=0,
        below=1,
        by_data=True,
    )
    repeat_bias: bool = setting(
        False,
        "Learn a bias that is added to the scores of items in the user's history.",
        untrained=Meaning.DEFAULT,
        formerly=(Former("repeats", (("ignored", False), ("learned", True))),),
    )

    # Beside the model: `memory`
    memory: str = choice(
        ("none", "rules", "ridge", "auto"),
        "What is counted beside the model and added to its scores: {choices}: which items follow "
        "an item; the same by a ridge regression, of at most 15,000 items; or, as auto, ridge if "
        "they occur 50 times on average, else rules, and none of more than 1,000,000.",
        untrained=Meaning.DEFAULT,
    )
    memory_edges: int = setting(
        64,
        "Items that an item may lead to, in the memory.",
        at_most=_MOST_EDGES,
        needs="memory",
    )

    # Training targets: `training.targets.TargetRule`
    min_history: int = setting(
        4, "Minimum history length before a training target.", formerly=(Former("first_target"),)
    )
    targets: int = setting(1, "Training targets per user in one forward pass.")
    next_n: int = setting(1, "Draw the target from this many items after the history.")
    next_share: float | Literal["auto"] = setting(
        0.0,
        "Or from this fraction of the user's sequence, 0 to 1, if that is more; auto: 0 where the "
        "last item alone is to be found, else 0.1.",
        at_least=0,
        below=1,
        by_data=True,
    )

    # Negatives: `training.negatives`
    sampler: str = choice(
        ("log-uniform", "uniform", "in-batch", "mixed", "full"),
        "Source of negatives: {choices} (mixed: in-batch and uniform; full: all items).",
    )
    negatives: int | None = setting(
        None,
        "Negative items per step, shared by the batch.",
        absent=Meaning.OPEN,  # every checkpoint holds it
        default_shown=f"{NEGATIVES_PER_EXAMPLE} x batch size",
    )

    top_n: int = setting(
        50, "N of the recall@N that selects the best model.", flags=("--top-n", "--topN")
    )
    seed: int = setting(
        19,
        "Random seed, an integer >= 0.",
        at_least=0,
        at_most=_SEEDS - 1,
        flags=("--seed", "--random-seed"),
    )

    def __post_init__(self) -> None:
        for declared in SETTINGS.values():
            declared.check(getattr(self, declared.name))
        for declared in SETTINGS.values():
            self._set(**{declared.name: declared.normalize(getattr(self, declared.name))})
        self._set(model=canonical_name(self.model))
        if self.model in UNTRAINED:
            fixed = {name: declared.untrained for name, declared in SETTINGS.items()}
            self._set(**{name: value for name, value in fixed.items() if value is not Meaning.KEPT})
        self._check_members()
        self._settle_encoder()
        self._settle_features()
        self._settle_decay()
        self._settle_memory()
        self._settle_loss()
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
            if size % self.ensemble != 0:
                self._refuse("ensemble", Phrase("good_members", size=size))

    def _settle_encoder(self) -> None:
        dim = self.embedding_dim // self.ensemble
        if self.encoder_layers == 0:
            self._set(encoder_layers=LEAST_LAYERS.get(self.model, 0))
        if self.encoder_layers == 0:
            self._set(encoder_heads=1, encoder_blocks="plain", dropout=0.0, time_bias="none")
        elif dim % self.encoder_heads != 0:
            self._refuse("encoder_heads", Phrase("good_heads", dim=dim))
        if self.time_bias == "none":
            self._set(request_clock="none")
        elif self.time_bias == "gaps" and self.request_clock != "none":
            self._refuse("time_bias", Phrase("good_time_bias", clock=self.request_clock))
        if self.time_bias != "gaps+request":
            self._set(request_time=REQUEST_TIMES[0])

    def _settle_features(self) -> None:
        if self.item_features == NONE:
            self._set(id_dropout=0.0)

    def _settle_decay(self) -> None:
        if self.decay == "none":
            self._set(decay_steps=0)
        elif self.decay_steps == 0:
            raise UsageError("missing_value", option="decay_steps")

    def _settle_memory(self) -> None:
        if self.memory == "none":
            self._set(memory_edges=SETTINGS["memory_edges"].default)

    def _settle_loss(self) -> None:
        if self.loss == "softmax":
            self._set(calibration=SETTINGS["calibration"].default)
        elif self.sampler not in ("uniform", "full"):
            self._refuse("sampler", Phrase("good_sampler"))
        elif self.hard_negatives > 0:
            self._refuse("hard_negatives", Phrase("good_hard_negatives"))

    def _check_selection(self) -> None:
        default = SETTINGS["selection"].default
        if self.neg_score == "max" and self.selection != default:
            self._refuse("selection", Phrase("good_selection", selection=default))

    def _check_maxlen(self) -> None:
        if self.targets > 1 and self.maxlen < self.min_history:
            self._refuse("maxlen", Phrase("good_maxlen", first=self.min_history))

    def _settle_negatives(self) -> None:
        """Derive the number of negatives: with in-batch negatives it is the number of targets; a
        full softmax ignores it.
        """
        in_batch, learned = self.sampler == "in-batch", self.batch_size * self.targets
        if self.sampler == "full" or self.negatives is None:
            self._set(negatives=learned if in_batch else NEGATIVES_PER_EXAMPLE * self.batch_size)
        if in_batch and self.negatives != learned:
            self._refuse("negatives", Phrase("good_negatives", learned=learned))

    @property
    def num_negatives(self) -> int:
        """Negatives per step, shared by the batch."""
        assert self.negatives is not None  # set in __post_init__
        return self.negatives

    @property
    def cutoffs(self) -> tuple[int, ...]:
        """Cutoffs of the metrics, see `cutoffs_of`."""
        return cutoffs_of(self.top_n)

    @property
    def scoring(self) -> Scoring:
        """How interests and items are compared."""
        return Scoring(
            cosine=self.temperature is not None,
            tied=self.embeddings == "tied",
            normalize_history=self.normalize_history,
            ensemble=self.ensemble,
            repeat_bias=self.repeat_bias,
        )

    @property
    def reads_times(self) -> bool:
        """Whether the model depends on when the items of histories were."""
        return self.time_bias != "none"

    @property
    def request_at(self) -> str | None:
        """When users of an evaluation ask; None if the model does not depend on it."""
        return self.request_time if self.time_bias == "gaps+request" else None

    @property
    def is_final_fit(self) -> bool:
        """Whether the run trains on all users, without evaluation."""
        return self.train_users == "all"

    @property
    def run_name(self) -> str:
        """The run's name with its settings, as ComiRec forms it: the folder name of runs of
        ComiRec's command line and of older versions.
        """
        return (
            f"{self.dataset}_{self.model}_b{self.batch_size}_lr{self.learning_rate}"
            f"_d{self.embedding_dim}_len{self.maxlen}_{self.name}"
        )

    @property
    def folder_name(self) -> str:
        """The name of a new run's folder."""
        return f"{self.dataset}_{self.name}"

    def identity(self, fingerprint: str) -> dict[str, Any]:
        """Return the values that must not change between starts of the run."""
        return {name: getattr(self, name) for name in IDENTITY} | {
            "dataset_fingerprint": fingerprint
        }


SETTINGS: Mapping[str, Setting] = settings_of(TrainConfig)
# Without the name: runs can be renamed.
IDENTITY = tuple(n for n, declared in SETTINGS.items() if not declared.extendable and n != "name")


def cutoffs_of(top_n: int) -> tuple[int, ...]:
    """Return the cutoffs of the metrics: 20 and 50, as in ComiRec, and `top_n`."""
    return tuple(sorted({20, 50, top_n}))


def check_value(name: str, value: Any, called: str | None = None) -> None:
    """Refuse a setting's value of the wrong type or out of range; the refusal has it as `called`,
    by default its name.
    """
    SETTINGS[name].check(value, called)
