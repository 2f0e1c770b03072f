"""What the routes of a server share: the served model and what answers for it."""

from dataclasses import dataclass, field

from reprise.serving.server.batcher import Batcher
from reprise.serving.server.limits import Limits
from reprise.serving.server.metrics import Metrics
from reprise.serving.server.model import ServedModel
from reprise.text.messages import Messages

_STUCK = 6  # time limits that a batch may take before the server counts as stuck


@dataclass
class Service:
    """A server's state.

    Attributes:
        model: The served model. A route takes it once and answers with it, so that a swap changes
            no answer that has begun.
        limits: What requests may ask.
        messages: The server's language.
        metrics: What `/metrics` says.
        batcher: What computes.
        draining: Whether the server stops.
    """

    model: ServedModel
    limits: Limits
    messages: Messages
    metrics: Metrics = field(init=False)
    batcher: Batcher = field(init=False)
    draining: bool = False

    def __post_init__(self) -> None:
        self.metrics = Metrics(lambda: self.model.age)
        self.batcher = Batcher(self.limits, self.metrics)
        self.serve(self.model)

    def serve(self, model: ServedModel) -> None:
        """Answer with this model from now on."""
        self.model = model
        about = model.about
        self.metrics.step.set(about["step"])
        names = ("run", "checkpoint", "model", "dataset")
        self.metrics.model.info({name: str(about[name]) for name in names})

    @property
    def stuck(self) -> bool:
        """Whether a batch takes so long that something must be wrong."""
        return self.batcher.busy_seconds > _STUCK * self.limits.timeout

    @property
    def ready(self) -> bool:
        """Whether requests are answered."""
        return not (self.draining or self.stuck)
