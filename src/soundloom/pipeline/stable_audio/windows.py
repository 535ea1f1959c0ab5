"""Plan the windows of edits and of clips longer than one pass.

All positions are samples at the clip's own rate, so a region is honored to the sample. Audio longer than the model's
limit is edited in several windows; each shows the model what is already known around the piece that it generates.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from soundloom.config.stable_audio.model import ModelConfig
from soundloom.config.stable_audio.request import GenerationRequest
from soundloom.diffusion.inpainting import Span
from soundloom.errors import RequestError

MIN_LOOP_SECONDS = 0.1


@dataclass(frozen=True)
class PassWindow:
    """The span that the model sees in one pass, and the regions in it that it generates: without any, all of it.

    Positions are those of the clip rotated to the left by `rotation` samples.
    """

    start: int
    stop: int
    regions: tuple[Span, ...] = ()
    rotation: int = 0


def plan_windows(
    request: GenerationRequest, config: ModelConfig, rate: int, known: Span, samples: int
) -> tuple[PassWindow, ...]:
    """Return the windows of an edit of `samples` samples, of which the source covers `known`.

    Raises RequestError for edits that the model cannot do.
    """
    regions = _new_regions(request, rate, known, samples)
    limit = int(config.max_seconds * rate)
    if samples <= limit:
        return (PassWindow(0, samples, regions),)
    if not regions:
        raise RequestError(
            f"the clip is {samples / rate:.4g} s long, and this model varies at most {config.max_seconds:.4g} s "
            "in one piece",
            "trim the clip (`soundloom trim`, or --trim START,END), or vary regions of it",
        )
    if request.compat.keep != "samples":
        raise RequestError(
            f"the result would be {samples / rate:.4g} s long, and published systems edit at most "
            f"{config.max_seconds:.4g} s with this model",
            "leave out compat, or trim the clip (`soundloom trim`, or --trim START,END)",
        )
    return tuple(_windows(regions, known, round(request.crossfade * rate), limit))


def plan_seam(request: GenerationRequest, config: ModelConfig, rate: int, samples: int) -> PassWindow:
    """Return the window that renews the seam of a loop: near the middle of the clip, which is rotated by about half.

    There the model has context on both sides of the seam. Raises RequestError for clips that are too short.
    """
    if samples < MIN_LOOP_SECONDS * rate:
        raise RequestError(f"a loop needs at least {MIN_LOOP_SECONDS:g} s, found {samples / rate:.4g} s")
    half, reach = samples // 2, min(round(request.seam * rate / 2), samples // 4)
    window = _window_around((half - reach, half + reach), 0, samples, int(config.max_seconds * rate))
    # Decoders may leave a step between latent frames, and in their middle: the end meets the start between these.
    grid = config.same.downsampling_ratio / 2 * rate / config.sample_rate
    seam = window.start + round((int((half - window.start) / grid) + 0.5) * grid)
    return replace(window, regions=((seam - reach, seam + reach),), rotation=samples - seam)


def _new_regions(request: GenerationRequest, rate: int, known: Span, samples: int) -> tuple[Span, ...]:
    """Join the requested regions with everything that the source does not cover."""
    spans = [(round(start * rate), round(end * rate)) for start, end in request.regions]
    beyond = [span for span in ((0, known[0]), (known[1], samples)) if span[0] < span[1]]
    if beyond and request.noise < 1:
        raise RequestError(
            f"noise {request.noise:g} varies existing audio, and there is none before or after a clip",
            "to continue a clip, leave out noise, or leave it at 1",
        )
    joined: list[Span] = []
    for start, end in sorted([*spans, *beyond]):
        end = min(end, samples)
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        elif start < end:
            joined.append((start, end))
        else:
            raise RequestError(f"a region of {request.regions} is shorter than one sample")
    return tuple(joined)


def _windows(regions: tuple[Span, ...], known: Span, crossfade: int, limit: int) -> Iterator[PassWindow]:
    ends, (low, high) = {end for _, end in regions}, known
    for piece, forward in _pieces(regions, crossfade, limit // 2):
        start, stop = piece
        low, high = min(low, start), max(high, stop)
        # Later pieces generate the audio beyond the edge that this one extends: the window ends there.
        left = low if forward or stop == known[0] else start
        right = high if stop in ends or not forward else stop
        yield _window_around(piece, max(left, 0), right, limit)


def _pieces(regions: tuple[Span, ...], crossfade: int, longest: int) -> Iterator[tuple[Span, bool]]:
    """Split regions into pieces that each start beside known audio; tell whether they run forward in time.

    Each piece generates the end of the previous one again, and a crossfade joins the two.
    """
    step = longest - min(crossfade, longest // 4)
    for start, end in regions:
        forward = start > 0
        while end - start > longest:
            if forward:
                yield (start, start + longest), True
                start += step
            else:
                yield (end - longest, end), False
                end -= step
        yield (start, end), forward


def _window_around(piece: Span, low: int, high: int, limit: int) -> PassWindow:
    """Return the window of at most `limit` samples within [low, high) that centers the piece best."""
    start, stop = piece
    middle = (start + stop - limit) // 2
    first = max(low, min(middle, high - limit))
    return PassWindow(first, min(high, first + limit), (piece,))
