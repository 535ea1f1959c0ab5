"""Turn adapters at given strengths into branches: the scales of rows and columns, and the low-rank parts.

An adapted weight is kept as a sum of terms a * W * b and low-rank parts. Applying an adapter adds a low-rank part, then
multiplies everything by row scales, column scales, or both. `lora.arithmetic` defines the same on matrices.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from soundloom.checkpoints.formats.tensors import Array, LazyTensor
from soundloom.config.stable_audio.adapters import Combine
from soundloom.errors import CheckpointError
from soundloom.lora.adapter import ModuleAdapter
from soundloom.lora.arithmetic import EPS, AdapterPart, faded
from soundloom.lora.branches import Branches, LayerBranch, LowRank, Term
from soundloom.lora.norms import LayerNorms
from soundloom.lora.parallel import run_parallel

LayerParts = Mapping[str, Sequence[AdapterPart]]


@dataclass(frozen=True, eq=False)
class AdaptedWeight:
    """A weight W as adapters change it: identity * W, the sum of its terms, and its low-rank parts."""

    outputs: int
    identity: float = 1.0
    terms: tuple[Term, ...] = ()
    lows: tuple[LowRank, ...] = ()

    @property
    def all_terms(self) -> tuple[Term, ...]:
        """The terms and `identity`, in as few terms as possible: those that scale only rows, or columns, are joined."""
        if self.identity == 0 and len(self.terms) == 1:
            return self.terms
        both = [term for term in self.terms if term.row is not None and term.col is not None]
        rows = [term.row for term in self.terms if term.row is not None and term.col is None]
        cols = [term.col for term in self.terms if term.row is None and term.col is not None]
        identity = self.identity
        if rows:
            both.append(Term(np.add(sum(rows), identity)))
            identity = 0.0
        if cols:
            both.append(Term(None, np.add(sum(cols), identity)))
        elif identity == 1:
            both.append(Term())
        elif identity and not rows:
            both.append(Term(np.full(self.outputs, identity)))
        return tuple(both)

    def plus(self, low: LowRank) -> AdaptedWeight:
        return replace(self, lows=(*self.lows, low))

    def scaled(self, row: Array | None, col: Array | None) -> AdaptedWeight:
        """Return it multiplied by vectors along its rows and columns."""
        terms = tuple(term.scaled(row, col) for term in self.all_terms)
        return AdaptedWeight(self.outputs, 0.0, terms, tuple(low.scaled(1.0, row, col) for low in self.lows))

    def times(self, share: float) -> AdaptedWeight:
        """Return it multiplied by a number."""
        factor = np.full(self.outputs, share)
        terms = tuple(
            Term(None, term.col * share) if term.row is None and term.col is not None else term.scaled(factor, None)
            for term in self.terms
        )
        return AdaptedWeight(self.outputs, self.identity * share, terms, tuple(low.scaled(share) for low in self.lows))

    def __add__(self, other: AdaptedWeight) -> AdaptedWeight:
        lows = tuple(low for low in (*self.lows, *other.lows) if low.scale != 0)
        return AdaptedWeight(self.outputs, self.identity + other.identity, (*self.terms, *other.terms), lows)


class BranchCompiler:
    """Compiles branches for one model, and remembers what norms of its weights are needed again."""

    def __init__(self, weights: Mapping[str, LazyTensor]) -> None:
        """`weights` are those of all layers, by their names in adapter files."""
        self._norms = {name: LayerNorms(weight) for name, weight in weights.items()}

    def compile(self, layers: LayerParts, combine: Combine = "chain") -> Branches:
        """Return the branches of adapters of some layers; adapters of strength 0 leave no trace.

        Raises CheckpointError where the result is not finite.
        """
        active = {name: [part for part in parts if part.strength != 0] for name, parts in layers.items()}
        active = {name: parts for name, parts in active.items() if parts}
        run_parallel(partial(_prepare, self._norms[name], parts) for name, parts in active.items())
        found: dict[str, LayerBranch] = {}

        def compile_layer(name: str) -> None:
            norms = self._norms[name]
            branch = _branch(_combined(norms, active[name], combine))
            if not branch.is_finite:
                raise CheckpointError(
                    f"the adapters make the weights of {name} not finite",
                    "one of them is damaged or for another model; `soundloom lora info` checks an adapter",
                )
            if branch.lows or branch.terms != (Term(),):
                found[name] = branch

        streamed = [name for name, parts in active.items() if _is_streamed(parts, combine)]
        run_parallel(partial(compile_layer, name) for name in streamed)
        for name in active.keys() - set(streamed):
            compile_layer(name)
        return Branches({name: found[name] for name in active if name in found})

    def weight_norms(self, name: str, of_rows: bool) -> Array:
        """Return the norms of the rows, or columns, of a layer's weight, float64; compiling computes most of them."""
        norms = self._norms[name]
        norms.prepare((), of_rows, not of_rows)
        return norms.of_chain(None, (), of_rows)

    def forget(self, adapters: Mapping[str, ModuleAdapter]) -> None:
        """Drop what is remembered of adapters that were removed."""
        for name, adapter in adapters.items():
            self._norms[name].forget(adapter)


def _combined(norms: LayerNorms, parts: Sequence[AdapterPart], combine: Combine) -> AdaptedWeight:
    outputs = norms.weight.shape[0]
    weight = AdaptedWeight(outputs)
    if combine == "sum":
        total = AdaptedWeight(outputs, 1.0 - len(parts))
        for part in parts:
            total += _apply(weight, norms, part)
        return total
    for part in parts:
        weight = _apply(weight, norms, part)
    return weight


def _apply(weight: AdaptedWeight, norms: LayerNorms, part: AdapterPart) -> AdaptedWeight:
    """Apply one adapter: see `arithmetic.apply`."""
    adapter, strength = part.adapter, part.strength
    rows, cols = adapter.rows, adapter.cols
    if rows is None and cols is None:
        return weight.plus(LowRank(adapter, strength * adapter.scale))
    if part.mode == "linear":
        changed = _normalized(weight.plus(LowRank(adapter, adapter.scale)), norms, rows, cols)
        return changed if strength == 1 else weight.times(1 - strength) + changed.times(strength)
    if part.mode == "fade" and strength != 1:
        rows = None if rows is None else faded(_norms(weight, norms, of_rows=True), rows, strength)
        cols = None if cols is None else faded(_norms(weight, norms, of_rows=False), cols, strength)
    return _normalized(weight.plus(LowRank(adapter, strength * adapter.scale)), norms, rows, cols)


def _normalized(weight: AdaptedWeight, norms: LayerNorms, rows: Array | None, cols: Array | None) -> AdaptedWeight:
    if rows is not None:
        weight = weight.scaled(rows / (_norms(weight, norms, of_rows=True) + EPS), None)
    if cols is not None:
        weight = weight.scaled(None, cols / (_norms(weight, norms, of_rows=False) + EPS))
    return weight


def _norms(weight: AdaptedWeight, norms: LayerNorms, of_rows: bool) -> Array:
    """Return the norms of the rows or columns of an adapted weight, float64."""
    axis = 0 if of_rows else 1
    terms = weight.all_terms
    across = [term[1 - axis] for term in terms] + [low.col if of_rows else low.row for low in weight.lows]
    if len(terms) == 1 and all(vector is None for vector in across):
        return norms.of_chain(terms[0][axis], weight.lows, of_rows)
    return norms.streamed(terms, weight.lows)[axis]


def _prepare(norms: LayerNorms, parts: Sequence[AdapterPart]) -> None:
    of_rows = any(part.adapter.rows is not None for part in parts)
    of_cols = any(part.adapter.cols is not None for part in parts)
    if of_rows or of_cols:
        norms.prepare([part.adapter for part in parts], of_rows, of_cols)


def _is_streamed(parts: Sequence[AdapterPart], combine: Combine) -> bool:
    """Whether compiling reads the weight again."""
    one_by_one = [parts] if combine == "chain" else [[part] for part in parts]
    return any(_mixes_axes(chain) for chain in one_by_one)


def _mixes_axes(chain: Sequence[AdapterPart]) -> bool:
    return any(p.adapter.rows is not None for p in chain) and any(p.adapter.cols is not None for p in chain)


def _branch(weight: AdaptedWeight) -> LayerBranch:
    made: dict[int, Array] = {}  # a vector that terms and low-rank parts share stays one object

    def single(vector: Array | None) -> Array | None:
        if vector is None:
            return None
        return made.setdefault(id(vector), np.asarray(vector, np.float32))

    terms = tuple(Term(single(row), single(col)) for row, col in weight.all_terms)
    lows = tuple(LowRank(low.adapter, low.scale, single(low.row), single(low.col)) for low in weight.lows)
    return LayerBranch(terms, lows)
