"""The context of stages."""

import numpy as np
import torch

from soundloom.audio.clip import Clip
from soundloom.engines.torch.stable_audio.same import SAME
from soundloom.training.loop.distributed import Distributed
from soundloom.training.recipe import Recipe
from soundloom.training.run_directory import RunDirectory
from soundloom.training.stages.context import StableAudioContext
from tests.training.tiny_recipe import CONFIGS, write_recipe


def test_a_long_file_is_encoded_in_pieces_to_the_same_latents(tmp_path, monkeypatch):
    write_recipe(tmp_path / "recipe", CONFIGS)
    run_dir = RunDirectory(tmp_path / "work")
    context = StableAudioContext(recipe=Recipe(tmp_path / "recipe"), run_dir=run_dir, distributed=Distributed())
    torch.manual_seed(0)
    same = SAME(context.model.same).eval()
    run_dir.save_weights("autoencoder", same.state_dict())
    ratio = context.model.same.downsampling_ratio
    audio = 0.1 * np.random.default_rng(0).standard_normal((2, 400 * ratio), np.float32)
    with torch.no_grad():
        expected = same.encode(torch.from_numpy(audio)[None])[0].numpy()
    lengths = []
    encode = SAME.encode
    monkeypatch.setattr(SAME, "encode", lambda self, x: lengths.append(x.shape[-1]) or encode(self, x))
    found = context.codec().encode(Clip(audio, context.model.sample_rate))
    assert len(lengths) > 1
    assert max(lengths) < audio.shape[1]
    np.testing.assert_allclose(found, expected, atol=1e-5)
