"""Run a tracker in its own thread, so that training never waits for a server."""

import queue
import threading
from collections.abc import Callable

from reprise.text.messages import Phrase
from reprise.tracking import Points, Tracker

_MOST_WAITING = 10_000  # queued calls
_SECONDS = {True: 30.0, False: 3.0}  # to send the rest on closing, by whether the run has finished


class NoAnswerError(Phrase, Exception):
    """The service is too slow; the next start sends the missing points."""


class Sender:
    """A `tracking.Tracker` that queues calls for a thread, which makes them in order.

    After a call has failed in the thread, no more are made, and the next method raises its error.
    """

    def __init__(self, open_log: Callable[[], Tracker]) -> None:
        self._waiting: queue.Queue[Callable[[Tracker], None] | None] = queue.Queue(_MOST_WAITING)
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._send, args=(open_log,), daemon=True)
        self._thread.start()

    def log(self, step: int, points: Points) -> None:
        """Queue an evaluation's metrics."""
        self._put(lambda tracker: tracker.log(step, points))

    def results(self, step: int, points: Points) -> None:
        """Queue the final metrics of the best model."""
        self._put(lambda tracker: tracker.results(step, points))

    def close(self, finished: bool) -> None:
        """Close the tracker after the queued calls; NoAnswerError if they take too long."""
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
