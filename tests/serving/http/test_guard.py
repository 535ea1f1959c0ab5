"""Who may use the server: names, origins, tokens, cookies."""

from __future__ import annotations

import httpx
import pytest

from soundloom.serving.dialects import stability
from soundloom.serving.http.tokens import open_link
from tests.serving.http.conftest import TOKEN, running

KINDS = ("text-to-audio", "audio-to-audio", "inpaint")
DIALECTS = [
    *(
        ("POST", f"{prefix}/audio/{family}/{kind}")
        for prefix in stability.PREFIXES
        for family in ("stable-audio", "stable-audio-2")
        for kind in KINDS
    ),
    *(("GET", f"{prefix}/audio/results/x") for prefix in stability.PREFIXES),
    ("POST", "/v1/audio/generate"),
    ("POST", "/v1/audio/speech"),
    ("POST", "/v1/sound-generation"),
]


def routes(client):
    """Return every path of the server and its methods, those of other services too."""
    paths = client.get("/openapi.json").json()["paths"]
    native = [(method.upper(), path) for path, methods in paths.items() for method in methods]
    return [*native, *DIALECTS, ("GET", "/openapi.json"), ("GET", "/"), ("GET", "/nothing")]


def ask(client, method, path, headers, **options):
    """Send a request with these headers alone, besides those that HTTP needs."""
    with httpx.Client(base_url=client.base_url, timeout=10, verify=False) as bare:  # reads no certificates
        return bare.request(method, path.replace("{take}", "x").replace("{job}", "x"), headers=headers, **options)


def test_every_route_needs_a_token(client):
    found = routes(client)
    assert len(found) > 15
    for method, path in found:
        answer = ask(client, method, path, {})
        expected = {"/health": 200, "/": 200, "/v1/tickets/{key}/{name}": 404}.get(path, 401)
        assert answer.status_code == expected, path
    assert ask(client, "GET", "/health", {}).status_code == 200
    for headers in ({"X-API-Key": TOKEN}, {"xi-api-key": TOKEN}, {"Authorization": f"bearer {TOKEN}"}):
        assert ask(client, "GET", "/v1/system", headers).status_code == 200


def test_the_token_can_be_the_password_of_an_address(client):
    def status(user, password):
        url = client.base_url.copy_with(username=user, password=password)
        return httpx.get(f"{url}/v1/system").status_code

    assert [status("any", TOKEN), status("", TOKEN), status(TOKEN, "")] == [200, 200, 401]
    for damaged in ("Basic", "Basic ???", "Basic /w==", "Basic YQ=="):
        assert ask(client, "GET", "/v1/system", {"Authorization": damaged}).status_code == 401


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "127.0.0.1:1", "localhost.evil.example", ""])
def test_every_route_refuses_other_hosts(client, host):
    for method, path in routes(client):
        headers = {"Host": host, "Authorization": f"Bearer {TOKEN}"}
        assert ask(client, method, path, headers).status_code in (400, 421), path


@pytest.mark.parametrize("origin", ["null", "https://evil.example", "http://127.0.0.1:1", "http://localhost"])
def test_unsafe_requests_of_other_pages_are_refused(client, origin):
    for method, path in routes(client):
        if path != "/v1/events":  # which never ends
            answer = ask(client, method, path, {"Origin": origin, "Authorization": f"Bearer {TOKEN}"})
            assert (answer.status_code == 403) == (method != "GET"), path


def test_requests_of_other_sites_are_refused_but_links_work(client):
    token = {"Authorization": f"Bearer {TOKEN}"}
    cross = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "audio"}
    assert ask(client, "GET", "/v1/takes", {**token, **cross}).status_code == 403
    visit = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert ask(client, "GET", "/v1/takes", {**token, **visit}).status_code == 200
    own = {"Origin": str(client.base_url).rstrip("/"), "Sec-Fetch-Site": "same-origin"}
    assert ask(client, "POST", "/v1/check", {**token, **own}, json={"request": {"prompt": "a"}}).status_code == 200


def test_answers_restrict_what_a_page_may_do(client):
    for path in ("/health", "/v1/takes", "/nothing"):
        headers = client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in headers


def test_a_link_works_once_and_gives_a_cookie(served):
    client, server = served
    link = server.database.run(open_link).result()
    with httpx.Client(base_url=client.base_url) as browser:
        answer = browser.get("/login", params={"link": link})
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie and "SameSite=strict" in cookie and f"soundloom-{client.base_url.port}" in cookie
        assert browser.get("/v1/system").status_code == 200
        assert browser.get("/login", params={"link": link}).status_code == 401
    assert ask(client, "GET", "/v1/system", {"Cookie": f"soundloom-{client.base_url.port}=guess"}).status_code == 401


def test_guessing_is_slowed_down_for_guesses_only(tmp_path):
    with running(tmp_path) as (client, _):
        codes = [ask(client, "GET", "/v1/system", {"X-API-Key": "guess"}).status_code for _ in range(12)]
        assert codes == [401] * 10 + [429] * 2
        assert ask(client, "POST", "/login", {}, data={"token": "guess"}).status_code == 429
        assert ask(client, "GET", "/v1/system", {}).status_code == 401
        assert ask(client, "GET", "/v1/system", {"X-API-Key": TOKEN}).status_code == 200
        assert ask(client, "POST", "/login", {}, data={"token": TOKEN}).status_code == 303
