"""Whoever has no business here is turned away, with the right status; nothing of what they wanted is done."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator

import pytest
from web_place import Answer, Place, Web, a_place, until

FRONT_END = "http://127.0.0.1:9"
TOKEN = "correct-horse-battery-staple"


@pytest.fixture(scope="module")
def lone() -> Iterator[Web]:
    """A gateway with a hub and no agents, which all tests of this file share: none of them may change anything."""
    with a_place() as place:
        place.start_hub()
        made = Web(place, "--allow-origin", FRONT_END, "--allow-host", "lab.example")
        made.ready()
        yield made


@pytest.fixture(scope="module")
def locked() -> Iterator[Web]:
    """One that asks everybody for a token."""
    with a_place() as place:
        place.start_hub()
        file = place.folder / "token"
        file.write_text(f"{TOKEN}\n")
        file.chmod(0o600)
        made = Web(place, "--token-file", str(file))
        until(lambda: made.get("/readyz", Authorization=f"Bearer {TOKEN}").status == 200, 30.0, "it hears the hub")
        yield made


def start(web: Web, **headers: str) -> Answer:
    return web.post("/api/runs", {"task": "x", "workflow": "helix"}, **headers)


# ---- Host and Origin -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "localhost.:{port}", ""]
)
def test_a_foreign_host_is_refused_whatever_is_asked(lone: Web, host: str) -> None:
    """A page of somebody else's whose name was made to lead here (DNS rebinding)."""
    name = host.format(port=lone.port)
    for answer in (lone.get("/", Host=name), lone.get("/api/runs", Host=name), start(lone, Host=name)):
        assert (answer.status, answer.code) == (403, "foreign_host")
        assert lone.token.encode() not in answer.body


@pytest.mark.parametrize(
    "host", ["localhost:{port}", "LOCALHOST:{port}", "[::1]:{port}", "lab.example", "lab.example:{port}"]
)
def test_our_own_names_are_known(lone: Web, host: str) -> None:
    assert lone.get("/healthz", Host=host.format(port=lone.port)).status == 200


def test_two_hosts_or_none_are_refused(lone: Web) -> None:
    own = f"127.0.0.1:{lone.port}"
    two = f"GET /healthz HTTP/1.1\r\nHost: {own}\r\nHost: {own}\r\nConnection: close\r\n\r\n"
    assert said_to(lone, two)[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 403")
    assert said_to(lone, "GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n").startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://127.0.0.1:1", "http://127.0.0.1", "file://"]
)
def test_a_foreign_origin_is_refused(lone: Web, origin: str) -> None:
    for answer in (start(lone, Origin=origin), lone.get("/api/runs", Origin=origin)):
        assert (answer.status, answer.code) == (403, "foreign_origin")
        assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_foreign_page_that_asks_as_for_a_picture_keeps_nobody_busy(lone: Web, site: str) -> None:
    asked = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}
    for path in ("/api/events", "/api/runs/x/events", "/api/runs/x/document.pdf", "/"):
        answer = lone.request("GET", path, None, asked)
        assert (answer.status, answer.code) == (403, "foreign_origin"), path
    # Who follows a link, and a front end that was allowed, may come.
    assert lone.request("GET", "/", None, {**asked, "Sec-Fetch-Mode": "navigate"}).status == 200
    cors = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "cors", "Origin": FRONT_END}
    assert lone.request("GET", "/api/runs", None, cors).status == 200
    own = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "no-cors"}
    assert lone.request("GET", "/static/mark.svg", None, own).status == 200


def test_our_own_origin_may_ask(lone: Web) -> None:
    answer = lone.get("/api/runs", Origin=f"http://127.0.0.1:{lone.port}")
    assert answer.status == 200
    assert "access-control-allow-origin" not in answer.headers


def test_a_front_end_that_was_allowed_is_told_so_and_nobody_else(lone: Web) -> None:
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-felixhub-token"}
    allowed = lone.request("OPTIONS", "/api/runs", None, {"Origin": FRONT_END, **asked})
    assert allowed.status == 204
    assert allowed.headers["access-control-allow-origin"] == FRONT_END
    assert "x-felixhub-token" in allowed.headers["access-control-allow-headers"].lower()
    assert "access-control-allow-credentials" not in allowed.headers
    answer = lone.get("/api/runs", Origin=FRONT_END)
    assert answer.headers["access-control-allow-origin"] == FRONT_END
    assert "Origin" in answer.headers["vary"]
    assert lone.request("OPTIONS", "/api/runs", None, {"Origin": "http://evil.example", **asked}).status == 403
    assert lone.request("OPTIONS", "/api/runs", None, asked).status == 405
    # Allowed is the origin, not the command: that needs the token as ever.
    assert start(lone, Origin=FRONT_END, X_FelixHub_Token="wrong").code == "wrong_token"


# ---- token -----------------------------------------------------------------------------------------------------------


def test_a_command_needs_the_token(lone: Web) -> None:
    body = json.dumps({"task": "x"}).encode()
    kind = {"Content-Type": "application/json"}
    without = lone.request("POST", "/api/runs", body, kind)
    assert (without.status, without.code) == (401, "no_token")
    for wrong in ("x", lone.token[:-1], lone.token + "x", "Ö" * 8):
        answer = lone.request("POST", "/api/runs", body, {**kind, "X-FelixHub-Token": wrong.encode().decode("latin-1")})
        assert (answer.status, answer.code) == (401, "wrong_token")
    assert lone.json("/api/runs") == []


def test_the_page_holds_the_token_and_reading_needs_none(lone: Web) -> None:
    page = lone.get("/")
    assert page.status == 200
    assert lone.token in page.body.decode()
    assert lone.get("/api/runs").status == 200


def test_with_a_token_file_everything_but_health_and_files_needs_it(locked: Web) -> None:
    for path in ("/", "/api/runs", "/api/events", "/metrics", "/openapi.json", "/readyz", "/api/runs/x/events"):
        answer = locked.get(path)
        assert (answer.status, answer.code) == (401, "no_token"), path
    assert locked.get("/healthz").status == 200
    assert locked.get("/static/js/theme.js").status == 200
    assert locked.get("/api/runs", Authorization=f"Bearer {TOKEN}").status == 200
    assert locked.get("/api/runs", Authorization="Bearer wrong").code == "wrong_token"
    assert locked.get(f"/api/runs?token={TOKEN}").status == 401


def test_the_printed_address_becomes_a_cookie_that_scripts_cannot_read(locked: Web) -> None:
    assert f"?token={TOKEN}" in locked.address
    answer = locked.get(f"/?token={TOKEN}")
    assert answer.status == 303
    assert answer.headers["location"] == "/"
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie and "samesite=strict" in cookie.lower()
    sent = cookie.split(";")[0]
    assert locked.get("/api/runs", Cookie=sent).status == 200
    assert locked.get("/", Cookie=sent).status == 200
    assert locked.get("/?token=wrong").status == 401
    name, _, _ = sent.partition("=")
    assert locked.get("/api/runs", Cookie=f"{name}=wrong").code == "wrong_token"
    # A browser keeps cookies by host: those of another gateway, and of whatever else is served here, come along.
    assert str(locked.port) in name
    for other in ("felixhub-token-1=theirs", '_xsrf=2|1:0|"{', "a b=c", "=", 'json={"x": [1, 2]}'):
        assert locked.get("/api/runs", Cookie=f"{other}; {sent}; {other}").status == 200, other
    # A cookie comes by itself with whatever a browser sends: it is no command.
    body = {"Content-Type": "application/json", "Cookie": sent}
    assert locked.request("POST", "/api/runs", b'{"task": "x"}', body).code == "no_token"


def test_the_printed_address_works_whatever_the_token_is_made_of(place: Place) -> None:
    """As `openssl rand -base64 24` makes them, and worse."""
    file = place.folder / "token"
    file.write_text('aGVsbG8+/d29y==&bGQ#%41;x"y')
    file.chmod(0o600)
    web = Web(place, "--token-file", str(file))
    answer = web.get(web.address.removeprefix(f"http://127.0.0.1:{web.port}"))
    assert answer.status == 303, answer.body
    assert web.get("/", Cookie=answer.headers["set-cookie"].rpartition("; HttpOnly")[0]).status == 200


# ---- paths, methods, bodies ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/static/../server.py", "/static/..%2fserver.py", "/static/%2e%2e/server.py", "/static//etc/passwd",
        "/static/..\\server.py", "/static/%00", "/static/", "/static", "/..%2f..%2fetc/passwd",
        "/api/runs/..%2f..%2fetc",
        "/api/runs/%2e%2e", "/api/runs/UPPER", "/api/runs/" + "a" * 65, "/api/runs/a%0ab", "/api/runs/a%0a",
        "/api/runs/%F0%9F%8E%89/events", "/api/runs/x%3Cscript%3E", "/nothing", "/api", "/api/runs/a/b/c/d/e",
        "/api/runs/x/document.exe", "/api/runs/x/thoughts/..", "/api/runs/x/sections/x/versions/-1",
    ],
)  # fmt: skip
def test_a_path_that_names_nothing_is_not_found_and_not_repeated(lone: Web, path: str) -> None:
    answer = lone.get(path)
    assert answer.status == 404, answer.body[:200]
    assert b"root:" not in answer.body and b"import" not in answer.body and b"<script>" not in answer.body


def test_hostile_names_in_a_body_are_refused_by_field(lone: Web) -> None:
    for field, value in {
        "workflow": "../../etc/passwd",
        "after": "UPPER CASE",
        "include": ["x/y"],
        "by": "x" * 201,
        "id": "a b",
        "task": "",
        "budget_tokens": 0,
        "review": "yes",
        "surprise": 1,
    }.items():
        answer = lone.post("/api/runs", {"task": "x", field: value})
        assert answer.status == 400, (field, answer.body)
        assert str(answer.json["error"]["field"]).startswith(field)
    for workflow in ("nothing-of-that-name", "etc"):
        assert lone.post("/api/runs", {"task": "x", "workflow": workflow}).code == "unknown_workflow"
    for name in ("../x.md", "a/b.md", "..", "x\0.md", "c:\\x.md"):
        answer = lone.post("/api/runs", {"task": "x", "files": [{"name": name, "text": "y"}]})
        assert answer.status == 400, name
    assert lone.json("/api/runs") == []


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/jsonx"]
)
def test_what_is_not_json_is_refused(lone: Web, kind: str) -> None:
    """What a form of another site can send without asking first."""
    answer = start(lone, Content_Type=kind)
    assert (answer.status, answer.code) == (415, "not_json")


def test_bad_json_is_refused(lone: Web) -> None:
    given = {"X-FelixHub-Token": lone.token, "Content-Type": "application/json"}
    for body in (b"{", b"[]", b"1", b'{"task": "\xff"}', b"{" * 10_000):
        answer = lone.request("POST", "/api/runs", body, given)
        assert answer.status == 400, body[:20]
        assert answer.code in ("not_json", "bad_input")


def test_an_oversized_body_is_refused_before_it_is_read(lone: Web) -> None:
    head = (
        f"POST /api/runs HTTP/1.1\r\nHost: 127.0.0.1:{lone.port}\r\nX-FelixHub-Token: {lone.token}\r\n"
        "Content-Type: application/json\r\n"
    )
    said = said_to(lone, f"{head}Content-Length: 99999999999\r\n\r\n")
    assert said.startswith(b"HTTP/1.1 413")
    # Without its length it is refused as soon as it is too much.
    given = {"X-FelixHub-Token": lone.token, "Content-Type": "application/json"}
    answer = lone.request("POST", "/api/runs/x/cancel", b'{"by": "' + b"x" * 300_000 + b'"}', given)
    assert (answer.status, answer.code) == (413, "too_large")
    many = "".join("1000\r\n" + "x" * 4_096 + "\r\n" for _ in range(80))
    cancel = head.replace("/api/runs ", "/api/runs/x/cancel ")
    assert said_to(lone, f"{cancel}Transfer-Encoding: chunked\r\n\r\n{many}").startswith(b"HTTP/1.1 413")


def test_a_body_and_a_head_that_do_not_come_are_not_waited_for(lone: Web) -> None:
    head = (
        f"POST /api/runs HTTP/1.1\r\nHost: 127.0.0.1:{lone.port}\r\nX-FelixHub-Token: {lone.token}\r\n"
        "Content-Type: application/json\r\n"
    )
    assert said_to(lone, f'{head}Content-Length: 100\r\n\r\n{{"task"').startswith(b"HTTP/1.1 408")
    assert said_to(lone, "GET / HTTP/1.1\r\nHost: ") == b""  # the connection ends
    assert said_to(lone, "") == b""


def test_an_endless_head_is_refused(lone: Web) -> None:
    said = said_to(lone, "GET / HTTP/1.1\r\n" + "".join(f"X-{n}: {'y' * 1_000}\r\n" for n in range(100)))
    assert said[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 431", b"")


def test_methods_that_are_not_ours_are_refused(lone: Web) -> None:
    for method in ("PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "BREW"):
        assert lone.request(method, "/api/runs", None, {"X-FelixHub-Token": lone.token}).status in (400, 405), method
    assert lone.get("/api/runs/x/cancel").status == 405
    assert lone.post("/healthz").status == 405


def test_every_answer_forbids_a_browser_what_it_need_not_do(lone: Web) -> None:
    for answer in (lone.get("/"), lone.get("/api/runs"), lone.get("/nothing"), lone.get("/", Host="evil.example")):
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'")
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert "server" not in answer.headers
    assert lone.get("/").headers["cache-control"] == "no-store"
    assert lone.get("/static/js/theme.js").headers["cache-control"] == "no-cache"


def said_to(web: Web, text: str) -> bytes:
    """What the gateway answers to these bytes, until it ends the connection."""
    found = b""
    deadline = time.monotonic() + 60
    with socket.create_connection(("127.0.0.1", web.port), timeout=60) as connection:
        connection.sendall(text.encode())
        try:
            while time.monotonic() < deadline and (piece := connection.recv(65_536)):
                found += piece
                if b"\r\n\r\n" in found and b'"}}' in found:
                    break
        except ConnectionResetError:
            pass
    return found


# ---- too many --------------------------------------------------------------------------------------------------------


def test_streams_are_bounded_and_one_that_ends_makes_room(place: Place) -> None:
    from felixhub.views.web.bounds import VIEWERS_MAX

    place.start_hub()
    web = Web(place)
    web.ready()
    ask = f"GET /api/events HTTP/1.1\r\nHost: 127.0.0.1:{web.port}\r\n\r\n".encode()
    held = []
    for _ in range(VIEWERS_MAX):
        one = socket.create_connection(("127.0.0.1", web.port), timeout=60)
        one.sendall(ask)
        assert one.recv(12) == b"HTTP/1.1 200"
        held.append(one)
    answer = web.get("/api/events")
    assert (answer.status, answer.code) == (503, "too_many_clients")
    assert answer.headers["retry-after"]
    assert web.get("/api/runs").status == 200  # Everything else is answered as ever.
    held.pop().close()
    until(lambda: web.figure("felixhub_web_viewers") < VIEWERS_MAX, 30.0, "the client that left is noticed")
    with socket.create_connection(("127.0.0.1", web.port), timeout=60) as again:
        again.sendall(ask)
        assert again.recv(12) == b"HTTP/1.1 200"
    for one in held:
        one.close()
    until(lambda: web.figure("felixhub_web_viewers") == 0, 60.0, "all clients have left")
