"""Choose what runs next: fair among clients, and clips that fit together in one pass."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field

from soundloom.serving.storage.rows import JobClass

BATCH_SLOT = 5  # every fifth run belongs to the class `batch`
MAX_STREAK, MAX_STREAK_SECONDS = 4, 30.0  # runs of the loaded model, while another client waits for another one


@dataclass(frozen=True)
class Waiting:
    """An item in the queue. Items of one `key` can share a pass; `cost` is its estimated time in seconds."""

    job: str
    number: int
    client: str
    model: str
    job_class: JobClass
    position: float
    key: Hashable
    cost: float


@dataclass
class Scheduler:
    """Chooses runs by the time that each client has used so far: the one with the least comes first."""

    used: dict[str, float] = field(default_factory=dict)  # seconds, by client
    runs: int = 0
    streak: int = 0  # runs of the same model
    streak_seconds: float = 0.0

    def choose(self, waiting: Sequence[Waiting], loaded: str | None, limit: int) -> list[Waiting]:
        """Return the items of the next run, at most `limit`; the queue must not be empty."""
        self._forget({item.client for item in waiting})
        candidates = self._of_class(waiting)
        if self._stays(candidates, loaded):
            candidates = [item for item in candidates if item.model == loaded]
        lead = self._in_order(candidates)[0]
        chosen = [item for item in self._in_order(waiting, lead) if item.key == lead.key][:limit]
        self._count(chosen, lead, loaded)
        return chosen

    def _forget(self, clients: set[str]) -> None:
        """Let clients that return start with what the least busy one has used."""
        least = min((self.used[client] for client in clients if client in self.used), default=0.0)
        self.used = {client: max(self.used.get(client, least), least) for client in clients}

    def _of_class(self, waiting: Sequence[Waiting]) -> list[Waiting]:
        wanted: tuple[JobClass, JobClass] = ("interactive", "batch")
        if self.runs % BATCH_SLOT == BATCH_SLOT - 1:
            wanted = ("batch", "interactive")
        found = ([item for item in waiting if item.job_class == one] for one in wanted)
        return next(items for items in found if items)

    def _stays(self, candidates: Iterable[Waiting], loaded: str | None) -> bool:
        """Whether the loaded model goes on, since loading another one takes time."""
        if self.streak >= MAX_STREAK or self.streak_seconds >= MAX_STREAK_SECONDS:
            return False
        return any(item.model == loaded for item in candidates)

    def _in_order(self, waiting: Iterable[Waiting], lead: Waiting | None = None) -> list[Waiting]:
        """Return items in turn of their clients, each client's in the order of its queue, `lead` first."""
        used, order = dict(self.used), []
        queues: dict[str, list[Waiting]] = {}
        for item in sorted(waiting, key=lambda item: (item.job_class, item.position, item.number), reverse=True):
            queues.setdefault(item.client, []).append(item)
        if lead is not None:
            queues[lead.client].remove(lead)
            used[lead.client] += lead.cost
            order.append(lead)
        while any(queues.values()):
            turn = min((c for c in queues if queues[c]), key=lambda c: (used.get(c, 0.0), queues[c][-1].position))
            item = queues[turn].pop()
            used[turn] = used.get(turn, 0.0) + item.cost
            order.append(item)
        return order

    def _count(self, chosen: Sequence[Waiting], lead: Waiting, loaded: str | None) -> None:
        self.runs += 1
        same = lead.model == loaded
        self.streak = self.streak + 1 if same else 1
        seconds = math.fsum(item.cost for item in chosen)
        self.streak_seconds = self.streak_seconds + seconds if same else seconds
        for item in chosen:
            self.used[item.client] = self.used.get(item.client, 0.0) + item.cost
