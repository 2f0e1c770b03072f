"""`--watch`: find a better checkpoint of the run, compare it with the served one, and swap them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from reprise.checkpoints import store
from reprise.checkpoints.store import Checkpoint, DamagedCheckpointError
from reprise.errors import RepriseError
from reprise.serving.server.model import FIXED, Loader, ServedModel
from reprise.serving.server.service import Service
from reprise.text.messages import Say


class Watcher:
    """Looks for a better checkpoint every few seconds.

    A new model is loaded and warmed up beside the served one, on a thread of its own, and answers
    from the first batch after that on. What cannot be served is refused once, with a warning.
    """

    def __init__(self, service: Service, loader: Loader, every: float, say: Say) -> None:
        """Create a watcher.

        Args:
            service: The server's state.
            loader: Finds and loads checkpoints.
            every: Seconds between two looks.
            say: Called with what happens.
        """
        self._service = service
        self._loader = loader
        self._every = every
        self._say = say
        self._refused: set[str] = set()

    @asynccontextmanager
    async def beside(self) -> AsyncIterator[None]:
        """Look while the context lasts."""
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._every)
            await self.look()

    async def look(self) -> None:
        """Look once; serve what is better."""
        served = self._service.model
        found = await asyncio.to_thread(self._better, served)
        if found is None:
            return
        overlap = served.overlap(found)
        self._service.serve(found)
        self._service.metrics.swaps.labels("served").inc()
        self._service.metrics.overlap.set(overlap)
        self._say(
            "serve_swapped",
            checkpoint=found.checkpoint.path.name,
            before=served.checkpoint.path.name,
            overlap=overlap,
            histories=FIXED,
        )

    def _better(self, served: ServedModel) -> ServedModel | None:
        """Return a model that is to replace the served one; None where there is none."""
        try:
            found = self._loader.find()
            digest = store.digest_of(found.path)
        except (RepriseError, DamagedCheckpointError):
            return None  # the run is being written, moved or pruned: the next look may find it
        if digest in self._refused or digest == served.digest or not _is_better(found, served):
            return None
        try:
            served.require_same_items(found)
            return self._loader.load(found)
        except RepriseError as error:
            if error.key != "run_changing":  # superseded while it was read: look again
                self._refused.add(digest)
                self._service.metrics.swaps.labels("refused").inc()
                self._say("serve_refused", checkpoint=found.path.name, reason=error)
            return None


def _is_better(found: Checkpoint, served: ServedModel) -> bool:
    """Return whether a checkpoint may replace the served one. A run's best may be lost or damaged:
    the next best, which is then found, is worse.
    """
    before, now = served.checkpoint.progress, found.progress
    rated = [one.metric for one in (before, now) if one.is_rated and one.metric is not None]
    if served.which == "best" and len(rated) == 2:
        return rated[1] > rated[0]
    return found.order > served.checkpoint.order
