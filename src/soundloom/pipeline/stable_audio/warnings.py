"""What a user should know about a request that can be honored, but not as it was perhaps meant."""

from __future__ import annotations

from soundloom.config.stable_audio.model import ModelConfig
from soundloom.config.stable_audio.request import Guidance
from soundloom.errors import shown
from soundloom.pipeline.stable_audio.plan import Job
from soundloom.text.vocabulary import CaptionVocabulary


def job_warnings(job: Job, cut: str, config: ModelConfig, name: str, words: CaptionVocabulary | None) -> list[str]:
    """Return warnings about a job of the model `name`; `cut` is the text of its prompts that did not fit."""
    found = words.warnings(job.request.prompt, name) if words else []
    if cut:
        length = config.model.conditioning.prompt.max_length
        found.append(f"the prompt is longer than {length} tokens; this was cut off: '{shown(cut)}'")
    if job.guidance.scale != 1 and config.is_distilled:
        found.append(f"{name} is distilled: guidance {job.guidance.scale:g} doubles the work and mostly harms; use 1")
    if job.guidance.scale == 1:
        idle = {
            "a negative prompt does": job.request.negative_prompt is not None,
            "settings of guidance do": job.guidance != Guidance(),
        }
        why = "nothing without guidance; give a scale above 1 (--cfg)"
        found += [f"{what} {why}" for what, is_given in idle.items() if is_given]
    return found
