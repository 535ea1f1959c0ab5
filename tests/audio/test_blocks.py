import numpy as np
import pytest

from soundloom.audio.blocks import BLOCK, SlidingReader, Stream, as_stream, block_length
from soundloom.audio.loudness import integrated_loudness, true_peak
from soundloom.audio.resample import resample


def noise(samples, channels=2, seed=0):
    return np.random.default_rng(seed).uniform(-0.5, 0.5, (channels, samples)).astype(np.float32)


def uneven(audio, seed=1):
    """A stream of blocks of any length, some of them empty."""

    def blocks():
        random, start = np.random.default_rng(seed), 0
        while start < audio.shape[1]:
            stop = start + int(random.choice([0, 1, 7, 1000, 50_000]))
            yield audio[:, start:stop]
            start = stop

    return Stream(*audio.shape, blocks)


def whole(stream):
    return np.concatenate(list(stream.blocks()), axis=1)


@pytest.mark.parametrize(("from_rate", "to_rate"), [(44100, 48000), (8000, 44100), (96000, 44100), (11025, 96000)])
@pytest.mark.parametrize("samples", [1, 100, 300_001])
def test_resampling_in_blocks_equals_resampling_at_once(from_rate, to_rate, samples):
    audio = noise(samples)
    stream = uneven(audio).resampled(from_rate, to_rate)
    expected = resample(audio, from_rate, to_rate)
    assert (stream.channels, stream.samples) == expected.shape
    np.testing.assert_array_equal(whole(stream), expected)
    np.testing.assert_array_equal(whole(stream), expected)  # a stream can be read again


@pytest.mark.parametrize("samples", [100, 44100 * 25])
def test_a_stream_is_as_loud_as_its_samples(samples):
    audio = noise(samples)
    assert integrated_loudness(uneven(audio), 44100) == integrated_loudness(audio, 44100)
    assert true_peak(uneven(audio), 44100) == true_peak(audio, 44100)


@pytest.mark.parametrize("size", [1, 999, 60_000])
def test_chunks_have_the_requested_size(size):
    audio = noise(6_000 if size == 1 else 200_000)
    chunks = list(uneven(audio).chunks(size))
    assert {chunk.shape[1] for chunk in chunks[:-1]} == {size}
    np.testing.assert_array_equal(np.concatenate(chunks, axis=1), audio)


def test_operations_on_streams():
    audio = noise(150_000, channels=1)
    stream = as_stream(audio)
    np.testing.assert_array_equal(whole(stream.stereo()), np.repeat(audio, 2, axis=0))
    np.testing.assert_array_equal(whole(stream.amplified(0.3)), audio * np.float32(0.3))
    assert stream.peak() == np.abs(audio).max()
    assert as_stream(stream) is stream


def test_blocks_of_many_channels_are_shorter():
    assert block_length(1) == block_length(2) == BLOCK
    assert block_length(1024) * 1024 == 2 * BLOCK


def test_spans_that_overlap_are_read_from_a_stream_in_one_pass():
    audio = noise(200_000)
    reader = SlidingReader(uneven(audio))
    for start, stop in [
        (0, 10),
        (0, 90_000),
        (50_000, 130_000),
        (130_000, 130_001),
        (190_000, 250_000),
        (210_000, 220_000),
    ]:
        np.testing.assert_array_equal(reader[..., start:stop], audio[:, start:stop])
    with pytest.raises(ValueError, match="cannot go back to 5"):
        reader[..., 5:10]
