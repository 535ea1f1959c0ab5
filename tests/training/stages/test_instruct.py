"""Training of the editor: data that follows instructions, the published loss, and weights that learn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs PyTorch")

from benchmarks.instruct_following import LanguageModelTask  # noqa: E402
from soundloom.config.musicgen.model import AdapterSizes, InstructConfig, LMConfig  # noqa: E402
from soundloom.datasets.synthetic.sounds.signals import SAMPLE_RATE  # noqa: E402
from soundloom.datasets.synthetic.sounds.stems import CENTERS, STEMS, StemEdit, instruction, render_stems, sample_edit  # noqa: E402
from soundloom.engines.torch.load import load_module  # noqa: E402
from soundloom.engines.torch.musicgen.adapter import CPTransformer  # noqa: E402
from soundloom.engines.torch.musicgen.lm import MusicGenLM  # noqa: E402
from soundloom.errors import ConfigError  # noqa: E402
from soundloom.training.config import InstructTrainingConfig, LoopConfig  # noqa: E402
from soundloom.training.loop.logging import read_log  # noqa: E402
from soundloom.training.loop.rng import RngStream  # noqa: E402
from soundloom.training.loop.trainer import Trainer  # noqa: E402
from soundloom.training.recipe import Recipe  # noqa: E402
from soundloom.training.stages.instruct import Editor, InstructionDataset, InstructTask, token_loss  # noqa: E402
from tests.parity.case import Case  # noqa: E402
from tests.parity.musicgen.lm import lm_config  # noqa: E402
from tests.parity.musicgen.weights import adapter_weights, lm_weights  # noqa: E402

LM = LMConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, ffn_dim=64, vocab_size=8, text_width=4)
ADAPTER = InstructConfig(max_frames=8, lora_rank=2, lora_alpha=4)
CASE = Path(__file__).parents[2] / "golden" / "instruct_lm.json"


class Loud(InstructionDataset):
    """Tokens are the loudness of six frames; instructions are one token, which encodes the task."""

    def encode(self, sounds: np.ndarray) -> np.ndarray:
        loudness = np.abs(sounds[:, : sounds.shape[1] // 6 * 6].reshape(len(sounds), 6, -1)).mean(-1)
        return np.repeat(np.clip(loudness * 40, 0, 7).astype(np.int64)[:, None], 4, axis=1)

    def embed(self, instructions: list[str]) -> tuple[np.ndarray, np.ndarray]:
        rows = [[[" Add " in text, " No " in text, " Only " in text, 1]] for text in instructions]
        return np.array(rows, np.float32), np.ones((len(rows), 1), bool)


def config(steps: int) -> InstructTrainingConfig:
    loop = LoopConfig(steps, 5e-3, 1e-3, warmup_steps=5, log_every=10, save_every=10)
    return InstructTrainingConfig(loop, batch_size=4, seconds=0.5, pieces=3, text_dropout=0.2)


def task(steps: int) -> InstructTask:
    torch.manual_seed(0)
    return InstructTask(Editor(MusicGenLM(LM), ADAPTER), Loud(config(steps)), config(steps))


@pytest.mark.parametrize("seed", range(4))
def test_mixes_hold_the_stems_of_the_instruction(seed: int) -> None:
    rng = np.random.default_rng(seed)
    stems = render_stems(rng, 1.0)
    played = np.stack([*stems.values()], axis=1)
    for task in ("add", "remove", "extract"):
        edit = sample_edit(stems, rng, task)
        before, after = (np.linalg.lstsq(played, mix, rcond=None)[0] for mix in (edit.before, edit.after))
        named = [*stems].index(edit.stem)
        assert (before[named] > 0.01) == (task != "add")
        assert (after[named] > 0.01) == (task != "remove")
        if task == "extract":
            assert (np.delete(after, named) < 1e-3).all()
        assert max(np.abs(edit.before).max(), np.abs(edit.after).max()) <= 1.0001


@pytest.mark.parametrize("seed", range(3))
def test_stems_of_bands_stay_in_their_bands_and_rest(seed: int) -> None:
    for stem, played in render_stems(np.random.default_rng(seed), 2.0, "bands").items():
        power = np.abs(np.fft.rfft(played)) ** 2
        hz = np.fft.rfftfreq(len(played), 1 / SAMPLE_RATE)
        inside = np.abs(np.log2(np.maximum(hz, 1) / CENTERS[stem])) < 1
        assert power[inside].sum() > 0.99 * power.sum()
        assert 0.2 < (np.abs(played) > 0).mean() < 0.9


RECIPE = Path(__file__).parents[3] / "configs" / "instruct"


def test_the_included_recipe_has_the_published_settings() -> None:
    config = Recipe(RECIPE).read(InstructTrainingConfig, "instruct")
    assert config.adapter == AdapterSizes()
    assert (config.loop.steps, config.loop.learning_rate, config.batch_size * config.loop.accumulate) == (
        10_000,
        1e-4,
        32,
    )


def test_a_recipe_cannot_set_derived_values(tmp_path) -> None:
    known = (RECIPE / "instruct.toml").read_text()
    (tmp_path / "instruct.toml").write_text(known.replace("[adapter]", "[adapter]\nwindow = 3.0"))
    with pytest.raises(ConfigError, match="window"):
        Recipe(tmp_path).read(InstructTrainingConfig, "instruct")


def test_instructions_are_worded_as_published() -> None:
    assert instruction("remove", "Drums") == "Music piece. Instruct: No Drums."
    assert instruction("extract", "Bass") == "Music piece. Instruct: Only Bass."


@pytest.mark.parametrize("name", ["training_one", "training_two", "training_null_text"])
def test_the_loss_equals_that_of_the_published_code(name: str) -> None:
    case = Case(CASE)
    call = next(call for call in case.data["calls"] if call["name"] == name)
    sizes, inputs, weights = lm_config(case.data["config"]), case.inputs(call), case.weights()
    adapter_config = InstructConfig(max_frames=case.data["config"]["max_frames"])
    lm = load_module(lambda: MusicGenLM(sizes), lm_weights(weights, case.data["config"]["lora_alpha"]), "lm")
    adapter = load_module(lambda: CPTransformer(sizes, adapter_config), adapter_weights(weights), "adapter")
    text = lm.condition(torch.from_numpy(inputs["text_hidden"].copy()), torch.from_numpy(inputs["text_mask"] == 1))
    codes, source = (torch.from_numpy(inputs[key].astype(np.int64)) for key in ("codes", "condition_codes"))
    loss = token_loss(lm, codes, text, adapter, source)
    np.testing.assert_allclose(float(loss), case.tensor(call["outputs"]["loss"])[0], rtol=1e-5)


def test_training_lowers_the_loss_without_changing_the_language_model(tmp_path: Path) -> None:
    one = task(60)
    before = {name: value.clone() for name, value in one.module.lm.state_dict().items() if "lora" not in name}
    Trainer(one, config(60).loop, tmp_path).train()
    losses = [record["loss"] for record in read_log(tmp_path)]
    assert losses[-1] < 0.93 * losses[0]  # only a little, since the language model is random
    assert all((one.module.lm.state_dict()[name] == value).all() for name, value in before.items())


def test_a_stopped_run_resumes_to_the_same_weights(tmp_path: Path) -> None:
    ends = []
    for folder, stops in (("whole", ()), ("stopped", (7,))):
        (tmp_path / folder).mkdir()
        for stop in (*stops, 20):
            trainer = Trainer(task(20), config(20).loop, tmp_path / folder)
            trainer.train(until=lambda trainer=trainer, stop=stop: trainer.step >= stop)
        ends.append(trainer.task.module.state_dict())
    assert all((ends[0][name] == value).all() for name, value in ends[1].items())


class Copied(InstructionDataset):
    """Edits of random tokens: each stem has a codebook of its own."""

    def sample(self, stream: RngStream) -> tuple[list[StemEdit], np.ndarray, np.ndarray]:
        rng, size = stream.rng, self.config.batch_size
        codes = rng.integers(1, 8, (size, 4, 1)).repeat(6, axis=-1)
        tasks, stems = rng.integers(0, 2, size), rng.integers(0, 4, size)
        drawn = zip(tasks, stems, strict=True)
        edits = [StemEdit(("remove", "extract")[task], STEMS[stem], *np.empty((2, 0))) for task, stem in drawn]
        named = (np.arange(4) == stems[:, None])[..., None]
        return edits, codes, np.where(named == (tasks == 1)[:, None, None], codes, 0)

    def encode(self, sounds: np.ndarray) -> np.ndarray:
        raise AssertionError("there are no sounds")

    def embed(self, instructions: list[str]) -> tuple[np.ndarray, np.ndarray]:
        rows = [[word in text for word in ("No", "Only", *STEMS)] for text in instructions]
        return np.array(rows, np.float32)[:, None], np.ones((len(rows), 1), bool)


def test_after_training_the_loss_depends_on_source_and_instruction(tmp_path: Path) -> None:
    torch.manual_seed(0)
    lm = MusicGenLM(replace(LM, text_width=6))
    loop = LoopConfig(150, 1e-2, 1e-3, warmup_steps=10, log_every=50)
    settings = InstructTrainingConfig(loop, ADAPTER, batch_size=16, text_dropout=0.0)
    edits, editor_folder = Copied(settings), tmp_path / "editor"
    editor_folder.mkdir()
    Trainer(LanguageModelTask(lm, edits), loop, tmp_path).train()
    editor = Editor(lm, ADAPTER)
    before = held_out_losses(editor, edits)
    Trainer(InstructTask(editor, edits, settings), loop, editor_folder).train()
    after = held_out_losses(editor, edits)
    assert before["other sound"] == before["right"]  # gates are closed
    assert after["right"] < 0.8 * before["right"]
    assert after["other sound"] > 1.5 * after["right"]
    assert after["other words"] > 3 * after["right"]


@torch.no_grad()
def held_out_losses(editor: Editor, edits: InstructionDataset) -> dict[str, float]:
    """Return the losses of edits, with the right inputs, with another source and with another instruction."""
    drawn, before, after = edits.sample(RngStream(99, 0))
    hidden, mask = map(torch.from_numpy, edits.embed([edit.instruction for edit in drawn]))
    codes, source = torch.from_numpy(after), torch.from_numpy(before)

    def loss(hidden: torch.Tensor, source: torch.Tensor) -> float:
        return float(token_loss(editor.lm, codes, editor.lm.condition(hidden, mask), editor.cp_transformer, source))

    others = {"other sound": loss(hidden, source.roll(1, 0)), "other words": loss(hidden.roll(1, 0), source)}
    return {"right": loss(hidden, source), **others}
