"""What stages work with."""

import numpy as np
import torch

from soundloom.audio.clip import Clip
from soundloom.engines.torch.stable_audio.same import SAME
from soundloom.training.loop.distributed import Machine
from soundloom.training.recipe import Recipe, Work
from soundloom.training.stages.job import Job
from tests.training.tiny_recipe import CONFIGS, write_recipe


def test_a_long_file_is_encoded_in_pieces_to_the_same_latents(tmp_path, monkeypatch):
    write_recipe(tmp_path / "recipe", CONFIGS)
    work = Work(tmp_path / "work")
    job = Job(recipe=Recipe(tmp_path / "recipe"), work=work, machine=Machine())
    torch.manual_seed(0)
    same = SAME(job.model.same).eval()
    work.keep_trained("autoencoder", same.state_dict())
    ratio = job.model.same.downsampling_ratio
    audio = 0.1 * np.random.default_rng(0).standard_normal((2, 400 * ratio), np.float32)
    with torch.no_grad():
        whole = same.encode(torch.from_numpy(audio)[None])[0].numpy()
    lengths = []
    encode = SAME.encode
    monkeypatch.setattr(SAME, "encode", lambda self, x: lengths.append(x.shape[-1]) or encode(self, x))
    found = job.codec().encode(Clip(audio, job.model.sample_rate))
    assert len(lengths) > 1
    assert max(lengths) < audio.shape[1]
    np.testing.assert_allclose(found, whole, atol=1e-5)
