import pytest

from soundloom.config.options import OTHER_NAMES, check_options
from soundloom.errors import RequestError
from soundloom.pipeline.load import LoadKwargs
from soundloom.pipeline.stable_audio.options import EditKwargs, GenerateKwargs

KNOWN = ("seconds", "steps", "guidance", "negative_prompt", "seed")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("cfg", "guidance"),
        ("duration", "seconds"),
        ("negative", "negative_prompt"),
        ("num_inference_steps", "steps"),
        ("Seconds", "seconds"),
        ("step", "steps"),
        ("negativ_prompt", "negative_prompt"),
    ],
)
def test_an_unknown_option_gets_a_suggestion(name, meant):
    with pytest.raises(RequestError) as caught:
        check_options("generate", {name: 1}, KNOWN)
    assert str(caught.value) == f"generate has no option {name!r}\nhint: did you mean {meant}?"


def test_without_a_suggestion_all_options_are_listed():
    with pytest.raises(RequestError, match="no option 'color'\nhint: options: guidance, negative_prompt, seconds"):
        check_options("generate", {"color": 1}, KNOWN)


def test_all_unknown_options_are_named_at_once():
    with pytest.raises(RequestError, match="no options 'cfg', 'color'\nhint: did you mean guidance"):
        check_options("generate", {"cfg": 1, "color": 2, "seed": 3}, KNOWN)


def test_names_of_other_packages_lead_to_options_that_exist():
    ours = {*LoadKwargs.__annotations__, *EditKwargs.__annotations__, *GenerateKwargs.__annotations__}
    assert set(OTHER_NAMES.values()) <= {*ours, "noise", "regions"}
    assert not set(OTHER_NAMES) & ours
