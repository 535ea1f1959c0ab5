"""Options for sampling tokens from logits."""

from __future__ import annotations

from dataclasses import dataclass

from soundloom.errors import RequestError


@dataclass(frozen=True)
class Sampling:
    """Options for sampling tokens. Temperature 0 selects the most likely; a `top_p` above 0 replaces `top_k`."""

    temperature: float = 1.0
    top_k: int = 250  # 0 keeps all
    top_p: float = 0.0

    def __post_init__(self) -> None:
        if not self.temperature >= 0:
            raise RequestError(
                f"temperature {self.temperature} is negative", "0 selects the most likely token, default: 1"
            )
        if self.top_k < 0:
            raise RequestError(f"top-k {self.top_k} is negative", "0 keeps all tokens, default: 250")
        if not 0 <= self.top_p <= 1:
            raise RequestError(f"top-p {self.top_p} is not a probability", "give a value from 0 (off) to 1")


GREEDY = Sampling(temperature=0.0)
