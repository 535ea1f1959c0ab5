"""Warnings about requests that the model can run, but perhaps not as the user intended."""

from __future__ import annotations

from soundloom.config.stable_audio.model import ModelConfig
from soundloom.config.stable_audio.request import Guidance
from soundloom.errors import shown
from soundloom.pipeline.stable_audio.plan import PlannedClip
from soundloom.text.vocabulary import CaptionVocabulary


def request_warnings(
    clip: PlannedClip, truncated: str, config: ModelConfig, name: str, vocabulary: CaptionVocabulary | None
) -> list[str]:
    """Return warnings about a clip of the model `name`; `truncated` is the unread part of its prompts."""
    loras = clip.request.loras
    is_adapted = loras is not None and any(use.strength for use in loras.uses)  # and may have learned other words
    texts = clip.request.texts if vocabulary and not is_adapted else ()
    found = [warning for text in texts for warning in (vocabulary.warnings(text, name) if vocabulary else ())]
    found = list(dict.fromkeys(found))
    if truncated:
        length = config.model.conditioning.prompt.max_length
        found.append(f"the prompt is longer than {length} tokens; this was truncated: '{shown(truncated)}'")
    scale = clip.guidance.scale
    if scale != 1 and config.is_distilled:
        found.append(f"{name} is distilled: guidance {scale:g} takes twice as long and mostly harms; use 1")
    if scale == 1:
        unused = {
            "a negative prompt has": clip.request.negative_prompt is not None,
            "guidance settings have": clip.guidance != Guidance(),
        }
        why = "no effect without guidance; set a scale above 1 (--cfg)"
        found += [f"{what} {why}" for what, is_given in unused.items() if is_given]
    mix = clip.request.mix
    if isinstance(mix, tuple) and mix[-1][0] > clip.seconds:
        found.append(f"the mix curve has points after the clip's end at {clip.seconds:.4g} s: up to {mix[-1][0]:g} s")
    return found
