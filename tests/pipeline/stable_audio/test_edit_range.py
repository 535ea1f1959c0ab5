"""Test random edits over the supported range: preserved samples equal the source, in memory and in files."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import soundfile

from soundloom.audio.clip import Clip
from soundloom.audio.streamed_clip import StreamedClip
from soundloom.config.stable_audio.request import GenerationRequest
from soundloom.errors import RequestError
from soundloom.pipeline.stable_audio.assembler import ClipAssembler
from soundloom.pipeline.stable_audio.plan import plan_clip

RATES = (8000, 11025, 16000, 22050, 32000, 44100, 48000, 88200, 96000)
KINDS = (
    ("wav", "PCM_U8"),
    ("wav", "PCM_16"),
    ("wav", "PCM_24"),
    ("wav", "FLOAT"),
    ("flac", "PCM_16"),
    ("flac", "PCM_24"),
)


@dataclass(frozen=True)
class Case:
    rate: int
    channels: int
    samples: int
    kind: tuple[str, str]
    before: int  # new samples in front of the source
    after: int
    regions: tuple[tuple[int, int], ...]  # in samples of the result, sorted and apart

    @property
    def total(self):
        return self.before + self.samples + self.after

    @property
    def preserved(self):
        """Which samples of the result are the source's."""
        mask = np.zeros(self.total, dtype=bool)
        mask[self.before : self.before + self.samples] = True
        for start, end in self.regions:
            mask[start:end] = False
        return mask

    def request(self, source):
        return GenerationRequest(
            "rain",
            source=source,
            seed=1,
            steps=1,
            regions=tuple((start / self.rate, end / self.rate) for start, end in self.regions),
            offset=self.before / self.rate,
            seconds=self.total / self.rate if self.after else None,
        )


def draw(random, seconds):
    """Return a case of about `seconds`, whose regions often touch the ends or are one sample long."""
    rate, channels = int(random.choice(RATES)), int(random.choice([1, 2, 6]))
    samples = round(rate * seconds)
    mode = random.choice(["regions", "after", "before", "both"])
    before = round(rate * random.uniform(0.001, 3)) if mode in ("before", "both") else 0
    after = round(rate * random.uniform(0.001, 9)) if mode in ("after", "both") else 0
    total = before + samples + after
    edges = sorted({int(edge) for edge in random.integers(0, total + 1, 2 * random.integers(1, 4))})
    edges = edges if random.random() < 0.5 else [0, *edges, total]
    regions = [(start, end) for start, end in zip(edges[::2], edges[1::2], strict=False) if start < end]
    if random.random() < 0.5:
        regions = [(start, start + 1) if random.random() < 0.5 else (end - 1, end) for start, end in regions]
    regions = regions if mode == "regions" or random.random() < 0.5 else []
    return Case(rate, channels, samples, KINDS[random.integers(len(KINDS))], before, after, tuple(sorted(set(regions))))


def execute(request, config, made_seed):
    """Run an edit with noise, up to 1.5 times full scale, in place of generated audio."""
    edit = ClipAssembler(plan_clip(request, config, 4.0), config)
    random = np.random.default_rng(made_seed)
    while (item := edit.next_pass()) is not None:
        assert item.audio.shape == (2, item.samples)
        assert all(0 <= start < end <= item.samples for start, end in item.regions)
        edit.accept(random.uniform(-1.5, 1.5, (2, item.samples)).astype(np.float32))
    return edit


@pytest.fixture(scope="module")
def config(tiny_model):
    """Return a model with a limit of 5.9 s, so that most edits take several passes."""
    return replace(tiny_model.config, sample_size=64 * 4096)


@pytest.mark.parametrize("seed", [*range(20), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(20, 80))])
def test_random_edits_preserve_the_rest(config, tmp_path, seed):
    random = np.random.default_rng([18, seed])
    seconds = random.choice([0.2, random.uniform(0.2, 2), random.uniform(0.2, 20 if seed >= 20 else 8)])
    check(draw(random, seconds), config, tmp_path, seed)


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "rate"), [(0, 8000), (1, 44100), (2, 48000)])
def test_edits_of_five_minutes_preserve_the_rest(config, tmp_path, seed, rate):
    case = draw(np.random.default_rng([19, seed]), 300 * rate / RATES[-1])
    check(replace(case, rate=rate, channels=2, samples=300 * rate), config, tmp_path, seed)


def check(case, config, tmp_path, seed):
    ending, subtype = case.kind
    path = tmp_path / f"source.{ending}"
    peak = 2.0 if subtype == "FLOAT" else 0.999
    audio = np.random.default_rng(seed).uniform(-peak, peak, (case.samples, case.channels))
    soundfile.write(path, audio.astype(np.float32), case.rate, subtype=subtype)
    source = Clip.load(path)

    in_memory = execute(case.request(source), config, seed).finish()
    streamed = execute(case.request(StreamedClip.open(path)), config, seed).finish()
    assert (type(in_memory), type(streamed)) == (Clip, StreamedClip)
    assert (in_memory.channels, in_memory.samples, in_memory.sample_rate) == (
        min(case.channels, 2),
        case.total,
        case.rate,
    )
    assert streamed.audio.tobytes() == in_memory.audio.tobytes()

    preserved = case.preserved
    inside = preserved[case.before : case.before + case.samples]
    assert np.array_equal(in_memory.audio[:, preserved], source.audio[:2, inside])
    assert (in_memory.audio[:, ~preserved] != 0).mean() > 0.99
    assert np.abs(in_memory.audio[:, ~preserved]).max() <= max(1.0, float(np.abs(source.audio).max()))

    saved = streamed.save(tmp_path / f"edit.{ending}")
    assert soundfile.info(saved).subtype == {"PCM_U8": "PCM_16"}.get(subtype, subtype)
    kind = "float32" if subtype == "FLOAT" else "int32"
    before, after = (soundfile.read(each, dtype=kind, always_2d=True)[0] for each in (path, saved))
    assert np.array_equal(after[preserved], before[inside, :2])


@pytest.mark.parametrize("channels", [3, 6])
def test_surround_sources_become_stereo_with_a_note(config, channels):
    source = Clip(np.random.default_rng(0).uniform(-0.5, 0.5, (channels, 8000)).astype(np.float32), 8000)
    edit = execute(GenerationRequest("x", source=source, regions=((0.2, 0.3),), seed=1), config, 0)
    assert edit.notes[0] == f"the audio has {channels} channels; only the first two are used"
    assert edit.finish().channels == 2


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("place", [0, 1, 0.5, -1])
def test_a_region_of_one_sample_covers_a_sample_at_the_models_rate(config, rate, place):
    """Rounded to the model's rate, the last sample of a clip may lie beyond its end."""
    for samples in range(rate // 5, rate // 5 + 20):
        start = {-1: samples - 1, 0.5: samples // 2}.get(place, place)
        source = Clip(np.zeros((1, samples), np.float32), rate)
        region = (start / rate, (start + 1) / rate)
        edit = ClipAssembler(plan_clip(GenerationRequest("x", source=source, regions=(region,)), config, 4.0), config)
        item = edit.next_pass()
        ((first, last),) = item.regions
        assert 0 <= first < last <= item.samples


@pytest.mark.parametrize("before", [False, True])
def test_an_extension_by_less_than_a_sample_is_rejected(tiny_model, before):
    clip = Clip(np.full((2, 44100), 0.5, np.float32), 44100)
    with pytest.raises(RequestError, match="less than one sample at 44100 Hz"):
        tiny_model.extend(clip, 1e-6, "rain", before=before)


def test_an_empty_clip_cannot_be_edited(tiny_model):
    with pytest.raises(RequestError, match="has no samples"):
        tiny_model.extend(Clip(np.zeros((2, 0), np.float32), 44100), 1.0, "rain")
