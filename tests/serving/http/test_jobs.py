"""Jobs over HTTP, on a real server with `mini`."""

from __future__ import annotations

import io
import json
import threading

import pytest
import soundfile

from soundloom.serving.peaks import read_pyramid
from tests.serving.watching import events_in

BODY = {"kind": "generate", "request": {"prompt": "rain", "seconds": 1, "seed": 7}}


def submit(client, body=BODY, **headers):
    return client.post("/v1/jobs", json=body, headers=headers)


def test_a_job_is_accepted_and_becomes_takes(client):
    accepted = submit(client, BODY | {"count": 2})
    assert accepted.status_code == 202
    job = accepted.json()
    assert accepted.headers["location"] == f"/v1/jobs/{job['id']}"
    done = client.get(f"/v1/jobs/{job['id']}?wait=60").json()
    assert (done["state"], done["client"], done["class"]) == ("succeeded", "tests", "interactive")
    assert [item["seed"] for item in done["items"]] == [7, 8]
    take = client.get(f"/v1/takes/{done['items'][0]['take']}").json()
    assert (take["prompt"], take["kind"], take["audio"]["samples"]) == ("rain", "generate", 44_100)
    assert take["record"]["seed"] == 7


def test_an_edit_names_its_source_and_has_a_family(client):
    made = submit(client, Prefer="wait=60").json()
    take = made["items"][0]["take"]
    body = {"kind": "inpaint", "source": take, "request": {"prompt": "wind", "regions": [[0.2, 0.4]], "seed": 1}}
    edited = submit(client, body, Prefer="wait=60").json()
    assert edited["state"] == "succeeded"
    family = client.get(f"/v1/takes/{take}/lineage").json()
    assert [one["kind"] for one in family] == ["generate", "inpaint"]
    assert family[1]["parent"] == take


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        (BODY | {"request": {"prompt": "rain", "steps": 0}}, 422, "steps must be between"),
        (BODY | {"request": {"prompt": 5}}, 422, "a prompt must be text"),
        (BODY | {"model": "no-such-model"}, 404, "there is no model named"),
        (BODY | {"model": "../../etc"}, 404, "there is no model named"),
        (BODY | {"count": 0}, 422, "count"),
        (BODY | {"count": "2"}, 422, "count"),
        (BODY | {"colour": "red"}, 422, "colour"),
        (BODY | {"kind": "sing"}, 422, "kind"),
        (BODY | {"kind": "vary", "source": "nothing"}, 404, "no take or uploaded file nothing"),
        (BODY | {"source": "nothing"}, 404, "no take or uploaded file"),
        (BODY | {"loras": [{"name": "/etc/passwd"}]}, 422, "no adapter named"),
        ([], 422, "not a JSON object"),
    ],
)
def test_wrong_jobs_are_problems_with_a_sentence(client, body, status, text):
    answer = submit(client, body)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    found = answer.json()
    assert text in found["detail"] and found["status"] == status


def test_an_unknown_parent_is_refused(client):
    answer = submit(client, BODY | {"parent": "nothing"})
    assert (answer.status_code, answer.json()["detail"]) == (404, "there is no take nothing")


def test_what_is_no_json_is_a_bad_request(client):
    answer = client.post("/v1/jobs", content=b"{", headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["type"]) == (400, "request-error")
    assert client.get("/v1/nothing").json()["type"] == "http-error"
    assert client.put("/v1/jobs").status_code == 405


def test_check_says_what_a_job_would_do(client):
    found = client.post("/v1/check", json=BODY | {"count": 20}).json()
    assert len(found["clips"]) == 20 and found["passes"] == 2
    assert found["clips"][0]["seconds"] == 1 and found["estimated_seconds"] > 0
    long = client.post("/v1/check", json={"request": {"prompt": "rain", "seconds": 20}}).json()
    assert "passes" in long["clips"][0]["notes"][0]


def test_one_key_is_one_job(client):
    answers = []
    threads = [
        threading.Thread(target=lambda: answers.append(submit(client, **{"Idempotency-Key": "k1"}))) for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    accepted = [answer for answer in answers if answer.status_code == 202]
    assert len({answer.json()["id"] for answer in accepted}) == 1
    assert {answer.status_code for answer in answers} <= {202, 409}
    again = submit(client, **{"Idempotency-Key": "k1"})
    assert again.headers["idempotency-replayed"] == "true"
    assert submit(client, BODY | {"count": 2}, **{"Idempotency-Key": "k1"}).status_code == 422
    assert submit(client, BODY | {"count": 0}, **{"Idempotency-Key": "k2"}).status_code == 422
    assert submit(client, **{"Idempotency-Key": "k2"}).status_code == 202  # a refused request claims no key


def test_jobs_are_canceled_repeated_and_moved(client):
    client.post("/v1/queue/pause")
    assert client.get("/ready").status_code == 503
    first, second = submit(client).json()["id"], submit(client).json()["id"]
    assert client.patch(f"/v1/jobs/{second}", json={"before": first}).status_code == 200
    waiting = [job["id"] for job in client.get("/v1/jobs?state=queued").json()]
    assert waiting.index(second) < waiting.index(first)
    assert client.post(f"/v1/jobs/{first}/cancel").json()["state"] == "canceled"
    assert client.post(f"/v1/jobs/{first}/cancel").status_code == 409
    assert client.post(f"/v1/jobs/{second}/retry").status_code == 409
    assert client.post(f"/v1/jobs/{first}/retry").json()["state"] == "queued"
    client.post("/v1/queue/resume")
    assert client.get(f"/v1/jobs/{first}?wait=60").json()["state"] == "succeeded"
    assert client.get("/v1/jobs/nothing").status_code == 404


def read_events(client, path, until, **headers):
    """Read a stream until an event satisfies `until`."""
    found = []
    with client.stream("GET", path, headers=headers) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        for event in events_in(answer):
            found.append(event)
            if until(event):
                return found
    raise AssertionError("the stream ended")


def test_events_tell_everything_and_can_be_resumed(client):
    first = read_events(client, "/v1/events", lambda event: True)[0]
    assert first["event"] == "hello"
    job = submit(client, BODY | {"count": 3}).json()["id"]

    def is_end(event):
        return event["event"] == "job" and event["data"]["id"] == job and event["data"]["state"] == "succeeded"

    found = read_events(client, f"/v1/events?after={first['id']}", is_end)
    numbers = [int(event["id"]) for event in found if "id" in event]
    assert numbers == sorted(set(numbers))
    assert [event["data"]["number"] for event in found if event["event"] == "item"] == [0, 1, 2]
    middle = numbers[len(numbers) // 2]
    rest = read_events(client, "/v1/events", is_end, **{"Last-Event-ID": str(middle)})
    assert [int(event["id"]) for event in rest if "id" in event] == [one for one in numbers if one > middle]
    assert read_events(client, "/v1/events?after=999999999", lambda event: True)[0]["event"] == "reset"


def test_audio_is_served_whole_in_parts_and_in_other_formats(client):
    take = submit(client, Prefer="wait=60").json()["items"][0]["take"]
    path = f"/v1/takes/{take}/audio"
    whole = client.get(path)
    assert whole.headers["content-type"] == "audio/wav"
    audio, rate = soundfile.read(io.BytesIO(whole.content))
    assert (rate, audio.shape) == (44100, (44100, 2))
    part = client.get(path, headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, whole.content[100:200])
    assert client.get(path, headers={"If-None-Match": whole.headers["etag"]}).status_code == 304
    for wrong, status in {"bytes=9999999-": 416, "bytes=5-2": 400, "seconds=1-2": 400}.items():
        refused = client.get(path, headers={"Range": wrong})
        assert (refused.status_code, refused.json()["type"]) == (status, "request-error")
    several = client.get(path, headers={"Range": "bytes=0-1,10-11"})
    assert several.headers["content-type"].startswith("multipart/byteranges")
    many = ",".join(f"{10 * start}-{10 * start + 1}" for start in range(9))
    assert client.get(path, headers={"Range": f"bytes={many}"}).content == whole.content
    for form, kind in {"flac": "FLAC", "mp3": "MP3", "ogg": "OGG"}.items():
        found = client.get(path, params={"format": form, "download": True})
        assert soundfile.info(io.BytesIO(found.content)).format == kind
        assert found.headers["content-disposition"] == f'attachment; filename="rain-7.{form}"'
    assert soundfile.info(io.BytesIO(client.get(path, params={"subtype": "16"}).content)).subtype == "PCM_16"
    refused = client.get(path, params={"format": "mp3", "subtype": "16"})
    assert (refused.status_code, refused.json()["detail"]) == (422, "mp3 has no subtype 16")
    assert client.get(path, params={"format": "aac"}).status_code == 422


def test_the_library_is_searched_and_changed(client):
    take = submit(client, Prefer="wait=60").json()["items"][0]["take"]
    change = {"title": "Storm über <b>", "favorite": True, "tags": ["wet", "wet", " "], "note": "x" * 10_000}
    assert client.patch(f"/v1/takes/{take}", json=change).json()["tags"] == ["wet"]
    found = client.get("/v1/takes", params={"text": "storm", "tag": "wet", "favorite": True}).json()
    assert (found["count"], found["takes"][0]["id"]) == (1, take)
    assert client.patch(f"/v1/takes/{take}", json={"note": "x" * 10_001}).status_code == 422
    assert client.patch(f"/v1/takes/{take}", json={"tags": ["x" * 61]}).status_code == 422
    assert client.patch(f"/v1/takes/{take}", json={"path": "/etc"}).status_code == 422
    assert client.delete(f"/v1/takes/{take}").status_code == 204
    assert client.get("/v1/takes?text=storm").json()["count"] == 0
    assert client.post(f"/v1/takes/{take}/restore").json()["deleted"] is None
    assert client.get("/v1/takes?limit=0").status_code == 422


def test_the_system_names_devices_and_models(client):
    assert client.get("/health").json()["status"] == "alive"
    found = client.get("/v1/system").json()
    assert found["devices"][0]["name"] == "cpu"
    names = [one["id"] for one in client.get("/v1/models").json()["data"]]
    assert "mini" in names and "same-s" not in names and "large" not in names
    assert client.get("/v1/loras").status_code == 200


def test_pictures_of_audio_are_served(client):
    take = submit(client, Prefer="wait=60").json()["items"][0]["take"]
    for _ in range(2):  # made, then from the cache
        data = client.get(f"/v1/takes/{take}/peaks").content
        (level,) = read_pyramid(data)
        assert level.shape == (173, 2, 2) and level.max() > 100
        assert len(client.get(f"/v1/takes/{take}/spectrogram?tile=0&level=2").content) == 256 * 512
    refused = client.get(f"/v1/takes/{take}/spectrogram?tile=9&level=0")
    assert refused.status_code == 422 and "has 1 tiles" in refused.json()["detail"]
    assert client.get("/v1/takes/nothing/peaks").status_code == 404


@pytest.mark.parametrize(
    ("content", "kind", "status", "detail", "hint"),
    [
        ('{"kind":', "application/json", 400, "not valid JSON: Expecting value, at character 8", "quotes"),
        (json.dumps(BODY), "application/x-www-form-urlencoded", 422, "not a JSON object", "Content-Type"),
        ("[1]", "application/json", 422, "not a JSON object", "send an object"),
        ("", "application/json", 422, "has no body", "send an object"),
        ('{"prompt": "rain"}', "application/json", 422, "prompt: unknown field", "put it into the object `request`"),
        ('{"kinds": "vary"}', "application/json", 422, "kinds: unknown field", "openapi.json"),
        ('{"request": {"promt": "rain"}}', "application/json", 422, "unknown fields: promt", "did you mean prompt?"),
        ('{"request": {"seconds": NaN}}', "application/json", 422, "seconds must be a number above 0", ""),
        ('{"request": {"seconds": true}}', "application/json", 422, "seconds must be a number, found bool", ""),
        (json.dumps({"request": {"prompt": "rain " * 20_000}}), "application/json", 413, "more than 65536", "shorten"),
    ],
)
def test_a_malformed_body_is_explained(client, content, kind, status, detail, hint):
    answer = client.post("/v1/jobs", content=content, headers={"Content-Type": kind})
    found = answer.json()
    assert answer.status_code == status
    assert detail in found["detail"] and hint in found["hint"]


def test_check_counts_the_passes_of_long_clips(client):
    body = BODY | {"request": {"prompt": "rain", "seconds": 20}, "count": 20}
    short = client.post("/v1/check", json=BODY | {"count": 20}).json()
    long = client.post("/v1/check", json=body).json()
    passes = int(long["clips"][0]["notes"][0].partition(" passes")[0].split()[-1])
    assert (short["passes"], long["passes"]) == (2, 2 * passes)
    assert long["estimated_seconds"] > 3 * short["estimated_seconds"]


def test_a_search_may_hold_any_character(client):
    for text in ("\0", "rain\0", '"', "*", "rain'"):
        assert client.get("/v1/takes", params={"text": text}).status_code == 200
