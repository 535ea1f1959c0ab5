"""The interface is what its description says: the stored one, and the answers to generated requests."""

from __future__ import annotations

import json
import sys

import pytest
import torch

from soundloom.serving.http import tokens
from tests.serving.http.conftest import running
from tests.serving.http.snapshot import PATH, described
from tests.serving.http.test_jobs import submit
from tests.serving.http.test_uploads import sound, upload

pytest.importorskip("schemathesis", reason="pip install --group dev brings it")

from tests.serving.http.fuzz import MODES, fuzz, operations, with_known

STORED = json.loads(PATH.read_text())
NAMES = sorted(operations(STORED))
WITHOUT_SECRET = (
    "GET /login",
    "POST /login",
    "GET /v1/tickets/{key}/{name}",
    "POST /v1/takes/{take}/show",
    "GET /v1/exports/{key}/{name}",
)
FEW, MANY = 5, 30  # requests
REQUESTS = [{"prompt": "rain", "seconds": 0.5}, {"prompt": "rain", "regions": [[0.1, 0.2]], "steps": 2}]


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory):
    """Yield a client and the operations of a server with a take and a job, whose queue is held."""
    with pytest.MonkeyPatch.context() as patch, running(tmp_path_factory.mktemp("data"), offline=True) as (client, _):
        patch.setattr(tokens, "MAX_ATTEMPTS", 10**9)  # generated secrets are wrong ones
        job = submit(client, {"request": REQUESTS[0]}, Prefer="wait=60").json()
        take, models = job["items"][0]["take"], ["mini", "small-music", "instruct-musicgen"]
        file = upload(client, sound(0.1)).json()["id"]
        values = {"take": [take], "job": [job["id"]], "name": models, "model": models, "upload": [file]}
        values |= {"source": [take, file], "parent": [take], "request": REQUESTS}
        yield client, operations(with_known(client.get("/openapi.json").json(), values))


@pytest.fixture(autouse=True)
def subnormal_numbers():
    """Let floats be subnormal, which hypothesis needs; the PyTorch engine turns them off in a thread that uses it."""
    was_off = sys.float_info.min / 2 == 0
    torch.set_flush_denormal(False)
    yield
    torch.set_flush_denormal(was_off)


def check(fuzzed, name, mode, examples):
    client, found = fuzzed
    client.post("/v1/queue/pause")
    seen = fuzz(found[name], client, mode, examples)
    for job in client.get("/v1/jobs?state=queued&limit=1000").json():
        client.post(f"/v1/jobs/{job['id']}/cancel")
    assert client.get("/health").status_code == 200
    return seen


def test_the_description_is_the_stored_one():
    assert described() == STORED, "python -m tests.serving.http.snapshot stores the new one, for the review to see"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", NAMES)
def test_answers_match_the_description(fuzzed, name, mode):
    check(fuzzed, name, mode, FEW)


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", NAMES)
def test_answers_to_many_requests_match_the_description(fuzzed, name, mode):
    seen = check(fuzzed, name, mode, MANY)
    assert mode == "invalid" or name in WITHOUT_SECRET or seen.keys() - {401, 404}, seen
