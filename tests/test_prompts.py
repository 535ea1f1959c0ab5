"""The syntax of weights: groups, nesting, escapes and what stays plain text."""

import pytest

from soundloom.errors import RequestError
from soundloom.prompts import WeightedText, escape_weights, parse_weights, plain_text

WEIGHTED = {
    "(warm piano:1.3), rain": ("warm piano, rain", [("warm piano", 1.3)]),
    "a (driving pulse:2) in (the mix:0.3)": ("a driving pulse in the mix", [("driving pulse", 2), ("the mix", 0.3)]),
    "(low end:-1) and (air:+.25)": ("low end and air", [("low end", -1), ("air", 0.25)]),
    "(Genre: House:1.2), 124 BPM": ("Genre: House, 124 BPM", [("Genre: House", 1.2)]),
    "((a:2) b:1.5) c": ("a b c", [("a", 3), (" b", 1.5)]),
    "(a (b:2) c": ("(a b c", [("b", 2)]),
    "(a (b) c:2)": ("a (b) c", [("a (b) c", 2)]),
    "un(usual:2) tone": ("unusual tone", [("usual", 2)]),
    r"(a\):2)": ("a)", [("a)", 2)]),
    "(räin 🌧:0)": ("räin 🌧", [("räin 🌧", 0)]),
    "(a:2)(b:2)": ("ab", [("ab", 2)]),
}
PLAIN = [
    "",
    "rain",
    "(rain)",
    "(BPM: 124)",
    "(rain",
    "rain:1.3)",
    "(:2)",
    "(a:1e3)",
    "(a:nan)",
    "(a:)",
    "a) (b",
    "(a:٢)",
]


@pytest.mark.parametrize("prompt", WEIGHTED)
def test_groups_with_a_number_are_weighted(prompt):
    text, spans = WEIGHTED[prompt]
    found = parse_weights(prompt)
    assert found.text == text
    assert [(text[start:end], weight) for start, end, weight in found.spans] == spans


@pytest.mark.parametrize("prompt", PLAIN)
def test_all_other_parentheses_are_text(prompt):
    assert parse_weights(prompt) == WeightedText(prompt)
    assert escape_weights(prompt) == prompt


@pytest.mark.parametrize("prompt", [r"\(rain:1.3\)", r"\(rain:1.3)", r"(rain\:1.3\)"])
def test_an_escaped_parenthesis_is_text(prompt):
    assert parse_weights(prompt) == WeightedText(prompt.replace(r"\(", "(").replace(r"\)", ")"))


@pytest.mark.parametrize("prompt", ["(rain:1)", "((rain:1.0):1.00)", "((rain:2):0.5)"])
def test_a_weight_of_one_is_no_weight(prompt):
    assert parse_weights(prompt) == WeightedText("rain")


@pytest.mark.parametrize(
    "prompt", ["(rain:10.5)", "(at 10:30)", "((rain:5):5)", "(((rain:9):9):9)", "(rain:-11)", "(rain:999999999999999)"]
)
def test_a_weight_out_of_range_is_an_error_that_names_it(prompt):
    with pytest.raises(RequestError, match=r"the weight .* of '.+' must be between -10 and 10\nhint: .*\\\("):
        parse_weights(prompt)
    assert plain_text(prompt) == prompt  # titles of foreign files never fail


@pytest.mark.parametrize("text", [*WEIGHTED, *PLAIN, "(at 10:30)", r"a\(b", r"\\(b:2)"])
def test_escaping_keeps_any_text(text):
    assert parse_weights(escape_weights(text)) == WeightedText(text)


def test_the_flat_style_parses_as_the_published_runtime():
    assert parse_weights("((a:2) b:1.5)", "flat") == WeightedText("(a b:1.5)", ((1, 2, 2.0),))
    assert parse_weights("(Genre: House:1.2)", "flat") == WeightedText("(Genre: House:1.2)")
    assert parse_weights(r"\(a:2\)", "flat") == WeightedText(r"\(a:2\)")


def test_the_style_none_takes_everything_for_text():
    assert parse_weights(r"(a:2) \(", "none") == WeightedText(r"(a:2) \(")


@pytest.mark.parametrize("part", ["(", ")", "(a:", "(a:1.0)", r"\(", ":1)", "((a:1.1):0.9)"])
def test_a_huge_prompt_is_parsed_in_linear_time(part):
    assert len(plain_text(part * 50_000)) <= len(part) * 50_000
    assert len(plain_text("(" * 50_000 + "a" + ":1)" * 50_000)) == 1
