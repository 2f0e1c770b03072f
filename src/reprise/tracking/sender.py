"""A service's tracker in a thread of its own, so that training never waits for a server."""

import queue
import threading
from collections.abc import Callable

from reprise.text.messages import Phrase
from reprise.tracking import Points, Tracker

_MOST_WAITING = 10_000  # calls
_SECONDS = {True: 30.0, False: 3.0}  # for what is still to be sent, by whether the run has finished


class NoAnswerError(Phrase, Exception):
    """Raised for a service that is too slow; the next start sends what it lacks."""


class Sender:
    """A tracker (`tracking.Tracker`) whose calls return at once, and are made one after the other.

    What a call raised is raised by the next one, and ends the sending.
    """

    def __init__(self, open_log: Callable[[], Tracker]) -> None:
        self._waiting: queue.Queue[Callable[[Tracker], None] | None] = queue.Queue(_MOST_WAITING)
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._send, args=(open_log,), daemon=True)
        self._thread.start()

    def log(self, step: int, points: Points) -> None:
        """Send an evaluation's metrics."""
        self._put(lambda tracker: tracker.log(step, points))

    def results(self, step: int, points: Points) -> None:
        """Send the final metrics of the best model."""
        self._put(lambda tracker: tracker.results(step, points))

    def close(self, finished: bool) -> None:
        """Close the run once all is sent; NoAnswerError if that takes too long."""
        self._put(lambda tracker: tracker.close(finished))
        self._put(None)
        self._thread.join(_SECONDS[finished])
        if self._thread.is_alive():
            raise NoAnswerError("tracker_silent", seconds=_SECONDS[finished])
        self._raise_failure()

    def _put(self, call: Callable[[Tracker], None] | None) -> None:
        self._raise_failure()
        try:
            self._waiting.put_nowait(call)
        except queue.Full:
            raise NoAnswerError("tracker_full", count=_MOST_WAITING) from None

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _send(self, open_log: Callable[[], Tracker]) -> None:
        try:
            tracker = open_log()
            while (call := self._waiting.get()) is not None:
                call(tracker)
        except Exception as error:
            self._failure = error
