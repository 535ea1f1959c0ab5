"""Filter banks against those of another package."""

import numpy as np
import pytest

from soundloom.evaluation.embedders.mel import htk_unit_sum, slaney_hertz, slaney_mel, slaney_unit_area


def test_slaneys_scale_is_linear_to_1_khz_and_logarithmic_above():
    assert slaney_mel(np.array([500.0, 1000.0, 6400.0])) == pytest.approx([7.5, 15.0, 42.0])
    assert slaney_hertz(slaney_mel(np.array([100.0, 1000.0, 7000.0]))) == pytest.approx([100.0, 1000.0, 7000.0])


def test_slaneys_filters_are_those_of_transformers():
    bank = pytest.importorskip("transformers.audio_utils").mel_filter_bank
    wanted = bank(257, 96, 0.0, 8000.0, 16000, norm="slaney", mel_scale="slaney").T
    assert np.abs(slaney_unit_area(96, 512, 16000) - wanted).max() < 1e-12


def test_filters_of_unit_sum_are_triangles_in_mel():
    bank = pytest.importorskip("transformers.audio_utils").mel_filter_bank
    triangles = bank(1025, 96, 0.0, 22050.0, 44100, norm=None, mel_scale="kaldi", triangularize_in_mel_space=True).T
    filters = htk_unit_sum(96, 2048, 44100)
    assert filters.sum(axis=1) == pytest.approx(np.ones(96))
    assert np.abs(filters - triangles / triangles.sum(axis=1, keepdims=True)).max() < 1e-9
