from xml.etree import ElementTree

from soundloom.bench.plot import HEIGHT, MARGIN, WIDTH, line_plot

SVG = "{http://www.w3.org/2000/svg}"


def points_of(line):
    return [tuple(map(float, pair.split(","))) for pair in line.get("points").split()]


def test_series_are_lines_within_the_margins():
    root = ElementTree.fromstring(line_plot({"a & b": [(1, 2), (10, 20), (100, 200)], "c": [(1, 200)]}, "t", "x", "y"))
    first, second = root.findall(f"{SVG}polyline")
    middle = (WIDTH / 2, HEIGHT / 2)
    assert points_of(first) == [(MARGIN, HEIGHT - MARGIN), middle, (WIDTH - MARGIN, MARGIN)]
    assert points_of(second) == [(MARGIN, MARGIN)]
    assert "a & b" in [text.text for text in root.findall(f"{SVG}text")]


def test_linear_axes_start_at_zero():
    root = ElementTree.fromstring(line_plot({"a": [(0, 5), (4, 10)]}, "t", "x", "y", logarithmic=False))
    assert points_of(root.find(f"{SVG}polyline")) == [(MARGIN, HEIGHT / 2), (WIDTH - MARGIN, MARGIN)]
