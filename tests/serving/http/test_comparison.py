"""An edit beside its source: the server's count of kept samples is that of NumPy."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile

from soundloom.audio.clip import Clip
from soundloom.serving.comparison import compare, new_spans

RATE = 44_100


def make(client, **body):
    return client.post("/v1/jobs", json=body, headers={"Prefer": "wait=60"}).json()["items"][0]["take"]


def read(client, take):
    return soundfile.read(io.BytesIO(client.get(f"/v1/takes/{take}/audio").content), dtype="float32")[0]


@pytest.fixture(scope="module")
def source(served):
    return make(served[0], request={"prompt": "rain", "seconds": 1.5, "seed": 7})


def test_what_lies_outside_the_regions_is_counted_as_numpy_counts_it(client, source):
    regions = [[0.2, 0.4], [12_345 / RATE + 0.4, 1.0]]
    take = make(client, kind="inpaint", source=source, request={"prompt": "bell", "regions": regions, "seed": 1})
    found = client.get(f"/v1/takes/{take}/comparison").json()
    assert found["new"] == [[8820, 17_640], [29_985, 44_100]]
    before, after = read(client, source), read(client, take)
    outside = np.ones(len(after), bool)
    for start, end in found["new"]:
        outside[start:end] = False
    same = (before == after).all(axis=1)
    assert (found["outside"], found["kept"]) == (outside.sum(), same[outside].sum())
    assert (found["identical"], found["samples"], found["parent"]) == (True, 66_150, source)
    assert client.get(f"/v1/takes/{take}/comparison").json() == found  # from the cache


def test_an_extension_keeps_the_source_at_its_offset(client, source):
    request = {"prompt": "rain", "offset": 0.5, "seconds": 2.5, "seed": 1}
    found = client.get(f"/v1/takes/{make(client, kind='extend', source=source, request=request)}/comparison").json()
    assert (found["offset"], found["outside"], found["identical"]) == (22_050, 66_150, True)
    assert found["new"] == [[0, 22_050], [88_200, 110_250]]


def test_a_loop_keeps_all_but_its_seam(client, source):
    take = make(client, kind="loop", source=source, request={"prompt": "rain", "seed": 1})
    found = client.get(f"/v1/takes/{take}/comparison").json()
    assert found["new"] == [[0, 11_025], [55_125, 66_150]] and found["identical"]


def test_what_keeps_nothing_says_why(client, source):
    alone = client.get(f"/v1/takes/{source}/comparison").json()
    assert (alone["parent"], alone["identical"], alone["reason"]) == (None, False, "it was made from words alone")
    varied = make(client, kind="vary", source=source, request={"prompt": "rain", "seed": 1})
    found = client.get(f"/v1/takes/{varied}/comparison").json()
    assert (found["outside"], found["reason"]) == (0, "all of it was made again")
    assert client.get("/v1/takes/nothing/comparison").status_code == 404


def test_changed_samples_are_counted_and_unusual_seams_are_named():
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (2, RATE)).astype(np.float32)
    edited = noise.copy()
    edited[:, 10_000:20_000] *= 0.01
    edited[1, 30_000] += 0.1
    record = {"mode": "inpaint", "request": {"regions": [[10_000 / RATE, 20_000 / RATE]]}}
    found = compare(Clip(edited, RATE), Clip(noise, RATE), record)
    assert (found.outside, found.kept) == (34_100, 34_099)
    assert [at for at, _ in found.jumps] == [10_000, 20_000] and found.jumps[0][1] < -30
    other = compare(Clip(edited, 48_000), Clip(noise, RATE), record)
    assert "rate" in other.reason
    assert new_spans({"mode": "edit"}, RATE, 10, 10) == ((0, 10),)


def test_a_source_that_is_gone_is_a_reason(client, source, served):
    request = {"prompt": "rain", "regions": [[0.2, 0.4]], "seed": 2}
    other = make(client, request={"prompt": "rain", "seconds": 1, "seed": 8})
    take = make(client, kind="inpaint", source=other, request=request)
    artifact = client.get(f"/v1/takes/{other}").json()["audio"]["id"]
    served[1].store.path(artifact).unlink()
    found = client.get(f"/v1/takes/{take}/comparison").json()
    assert found["reason"] == "the take that it was made from is gone" and not found["identical"]


def test_a_mix_keeps_some_regions_and_takes_back_others(client, source):
    regions = [[0.2, 0.4], [0.8, 1.0]]
    take = make(client, kind="inpaint", source=source, request={"prompt": "bell", "regions": regions, "seed": 1})
    span = {"start": 8820, "end": 17_640}
    answer = client.post(f"/v1/takes/{take}/mix", json={"regions": [span]})
    assert answer.status_code == 201
    made = answer.json()
    assert (made["kind"], made["parent"], made["prompt"]) == ("mix", take, "bell")
    assert made["record"]["request"]["regions"] == [[0.2, 0.4]]
    assert made["record"]["source"]["name"] == f"{client.get(f'/v1/takes/{take}').json()['audio']['id']}.wav"
    expected = read(client, take).copy()
    expected[8820:17_640] = read(client, source)[8820:17_640]
    assert np.array_equal(read(client, made["id"]), expected)
    found = client.get(f"/v1/takes/{made['id']}/comparison").json()
    assert (found["new"], found["identical"]) == ([[8820, 17_640]], True)


def test_a_mix_of_an_extension_counts_from_its_own_start(client, source):
    request = {"prompt": "rain", "offset": 0.5, "seconds": 2.5, "seed": 1}
    take = make(client, kind="extend", source=source, request=request)
    made = client.post(f"/v1/takes/{take}/mix", json={"regions": [{"start": 22_050, "end": 22_100}]}).json()
    assert np.array_equal(read(client, made["id"])[22_050:22_100], read(client, source)[:50])
    refused = client.post(f"/v1/takes/{take}/mix", json={"regions": [{"start": 100, "end": 200}]})
    assert refused.status_code == 422 and "from 22050 up to 88200" in refused.json()["hint"]


def test_mixes_that_make_no_sense_are_refused(client, source):
    take = make(client, kind="vary", source=source, request={"prompt": "rain", "seed": 1})
    for regions in ([], [[5, 5]], [[0, 10], [5, 20]], [[0, 10**7]]):
        body = {"regions": [{"start": start, "end": end} for start, end in regions]}
        assert client.post(f"/v1/takes/{take}/mix", json=body).status_code == 422
    body = {"regions": [{"start": 0, "end": 10}]}
    assert "words alone" in client.post(f"/v1/takes/{source}/mix", json=body).json()["detail"]
    assert client.post("/v1/takes/nothing/mix", json=body).status_code == 404
