"""What one request may ask for, how many may wait, and how long: the options of `reprise serve`."""

from dataclasses import dataclass

from reprise.errors import UsageError

MOST_HEAD = 2**16  # bytes of a request's line and headers


@dataclass(frozen=True)
class Limits:
    """The limits of a server.

    Attributes:
        batch_size: Most histories computed together.
        batch_window: Seconds that a batch is kept open for as many as the last one answered.
        queue: Most histories that wait.
        timeout: Seconds within which a request is read and answered.
        max_body: Most bytes of a request's body.
        max_histories: Most histories of a request.
        max_history: Most items of a history.
        max_n: Most items of a list.
        max_connections: Most open connections.
    """

    batch_size: int = 64
    batch_window: float = 0.01
    queue: int = 512
    timeout: float = 10.0
    max_body: int = 2**20
    max_histories: int = 64
    max_history: int = 1000
    max_n: int = 500
    max_connections: int = 512

    def __post_init__(self) -> None:
        if self.queue < self.max_histories:  # such a request could never be answered
            raise UsageError("serve_queue_small", queue=self.queue, histories=self.max_histories)
