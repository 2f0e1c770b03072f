"""Load a run's stored model on several devices: each process has its own items' rows alone."""

from functools import partial
from pathlib import Path

import numpy as np

from reprise.checkpoints import store
from reprise.checkpoints.store import Checkpoint
from reprise.config.model import model_of
from reprise.retrieval.on_mesh import DealtRetriever, retriever_of_table
from reprise.runs import memory
from reprise.runs.folder import RunFolder, Source, find_checkpoint, load_checkpoint
from reprise.runs.stored import Locate, StoredModel, features_of, from_checkpoint, stored_config
from reprise.runs.together import shares_of
from reprise.runtime import device
from reprise.runtime.mesh import Mesh
from reprise.text.messages import Say
from reprise.training import averaging, features_on_mesh
from reprise.training.on_mesh import make_apply_pending
from reprise.training.schedules import schedule_of
from reprise.training.state import restore


def load(
    mesh: Mesh, path: Path, which: Source, say: Say, locate: Locate | None = None
) -> StoredModel:
    """Load what `stored.load` does, with the rows of this process's items; all processes load the
    checkpoint that the leading one finds. A model with a memory is loaded whole.
    """
    found = mesh.processes.led(lambda: str(find_checkpoint(path, which, say).path))
    checkpoint = store.read(Path(found))
    folder = RunFolder(checkpoint.path.resolve().parent.parent)
    if memory.read(folder, checkpoint.identity) is not None:
        return from_checkpoint(checkpoint, locate)
    return StoredModel(
        checkpoint, stored_config(checkpoint), _retriever(mesh, checkpoint, locate), locate
    )


def _retriever(mesh: Mesh, checkpoint: Checkpoint, locate: Locate | None) -> DealtRetriever:
    device.multiply_in_float32()
    config, count = stored_config(checkpoint), store.num_items(checkpoint)
    progress = checkpoint.progress
    state = restore(load_checkpoint(checkpoint, partial(shares_of, mesh)), mesh)
    apply_pending = make_apply_pending(mesh, config.optimizer, schedule_of(config))
    arrays = apply_pending(state.arrays, progress.step, progress.learning_rate)
    rows, width, params = averaging.served(arrays, progress.step, config)
    features = features_on_mesh.dealt(
        mesh, features_of(checkpoint, locate), np.ones(count + 1, bool)
    )
    if features is not None:
        rows, params = features_on_mesh.composed(mesh, rows, params, width, features)
    model = model_of(config)
    own = (mesh, rows, width, count, params, config.request_at)
    return retriever_of_table(model, config.scoring, *own)
