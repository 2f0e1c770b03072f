"""Training steps in PyTorch, as `peers` runs them: "eager", a model of the same shape with
SparseAdam on the item table and Adam on the rest; "rechub", torch-rechub's ComiRec as its trainer
steps it (list-wise loss, dense Adam), with 20 negatives of its own for each sample.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

RATE = 0.001
RECHUB_NEGATIVES = 20


class Interests(nn.Module):  # type: ignore[misc,unused-ignore]
    """interests(history [B, L, d], mask [B, L]) -> [B, K, d] of one of the five models."""

    def __init__(self, told: dict[str, Any]) -> None:
        super().__init__()
        self.model, self.count = told["model"], told["interests"]
        dim, length = told["dim"], told["length"]
        if self.model == "ComiRec-DR":
            self.bilinear = nn.Parameter(torch.randn(length, self.count, dim, dim))
        elif self.model == "ComiRec-SA":
            self.position = nn.Parameter(0.1 * torch.randn(length, dim))
            self.hidden, self.heads = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, self.count)
        elif self.model == "MIND":
            self.shared, self.projection = nn.Linear(dim, dim), nn.Linear(dim, dim)
        elif self.model == "DNN":
            self.dense = nn.Linear(dim, dim)
        else:
            self.gru = nn.GRU(dim, dim, batch_first=True)

    def forward(self, history: Any, mask: Any) -> Any:
        history = history * mask[..., None]
        if self.model == "ComiRec-DR":
            votes = torch.einsum("lked,bld->bkle", self.bilinear, history)
            return route(votes, torch.zeros(votes.shape[:3]), mask)
        if self.model == "MIND":
            logits = torch.randn(len(history), self.count, history.shape[1])
            votes = self.shared(history)[:, None]
            return torch.relu(self.projection(route(votes, logits, mask)))
        if self.model == "ComiRec-SA":
            logits = self.heads(torch.tanh(self.hidden(history + self.position)))
            logits = logits.masked_fill(mask[..., None] == 0, -1e9)
            return torch.softmax(logits, 1).transpose(1, 2) @ history
        if self.model == "DNN":
            return self.dense(history.sum(1) / mask.sum(1, keepdim=True))[:, None]
        states, _ = self.gru(history)
        last = mask.sum(1).long() - 1
        return states[torch.arange(len(states)), last][:, None]


def route(votes: Any, logits: Any, mask: Any) -> Any:
    """Three rounds of routing, the first two without gradient; votes [B, K or 1, L, d]."""
    constant = votes.detach()
    for turn in range(3):
        used = votes if turn == 2 else constant
        coupling = torch.softmax(logits, 1) * mask[:, None]
        capsule = (coupling[:, :, None] @ used)[:, :, 0]
        square = capsule.square().sum(-1, keepdim=True)
        capsule = capsule * (square / (1 + square) / torch.sqrt(square + 1e-9))
        if turn < 2:
            logits = logits + (constant @ capsule[..., None])[..., 0]
    return capsule


def eager(told: dict[str, Any], data: dict[str, Any]) -> Callable[[int], None]:
    """Return step(number of a batch) of the plain program."""
    table = nn.Embedding(told["items"] + 1, told["dim"], sparse=True)
    network = Interests(told)
    of_rows = torch.optim.SparseAdam(table.parameters(), lr=RATE)
    of_network = torch.optim.Adam(network.parameters(), lr=RATE)
    places = torch.arange(told["length"])

    def step(number: int) -> None:
        batch = {name: array[number] for name, array in data.items()}
        mask = (places < batch["lengths"][:, None]).float()
        target, negatives = table(batch["target"]), table(batch["negatives"])
        interests = network(table(batch["history"]), mask)
        best = (interests @ target[..., None])[..., 0].argmax(1)
        user = interests[torch.arange(len(best)), best]
        positive = (user * target).sum(1) - batch["log_q_target"]
        scores = user @ negatives.T - batch["log_q_negatives"]
        same = batch["target"][:, None] == batch["negatives"]
        logits = torch.cat([positive[:, None], scores.masked_fill(same, -1e30)], 1)
        loss = functional.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long))
        of_rows.zero_grad()
        of_network.zero_grad()
        loss.backward()
        of_rows.step()
        of_network.step()

    return step


def rechub(told: dict[str, Any], data: dict[str, Any]) -> Callable[[int], None]:
    """Return step(number of a batch) of torch-rechub's model and trainer's step."""
    from torch_rechub.basic.features import SequenceFeature, SparseFeature
    from torch_rechub.models.matching import ComirecDR, ComirecSA

    size, dim = told["items"] + 1, told["dim"]
    named = {"vocab_size": size, "embed_dim": dim}
    shared = {**named, "pooling": "concat", "shared_with": "item"}
    user = [SparseFeature("user", vocab_size=1000, embed_dim=dim)]
    features = (
        user,
        [SequenceFeature("history", **shared)],
        [SparseFeature("item", **named)],
        [SequenceFeature("negatives", **shared)],
    )
    model = (
        ComirecDR(*features, max_length=told["length"], interest_num=told["interests"])
        if told["model"] == "ComiRec-DR"
        else ComirecSA(*features, interest_num=told["interests"])
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE, weight_decay=1e-5)
    users = len(data["target"][0])

    def step(number: int) -> None:
        drawn = torch.randint(1, size, (users, RECHUB_NEGATIVES))
        inputs = {
            "user": torch.randint(1, 1000, (users,)),
            "history": data["history"][number],
            "item": data["target"][number],
            "negatives": drawn,
        }
        loss = functional.cross_entropy(model(inputs), torch.zeros(users, dtype=torch.long))
        model.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()

    return step


def main() -> None:
    told = json.loads(sys.argv[1])
    with np.load(sys.argv[2]) as arrays:
        data = {
            name: torch.from_numpy(a.astype(np.int64 if a.dtype.kind == "i" else np.float32))
            for name, a in arrays.items()
        }
    step = {"eager": eager, "rechub": rechub}[told["program"]](told, data)
    count, done = len(data["target"]), 0
    print("peer: ready", flush=True)
    for line in sys.stdin:
        start = time.perf_counter()
        for number in range(done, done + int(line)):
            step(number % count)
        done += int(line)
        print(f"peer: {1e3 * (time.perf_counter() - start) / int(line)}", flush=True)


if __name__ == "__main__":
    main()
