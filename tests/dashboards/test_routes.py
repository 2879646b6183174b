"""What the server gives beside Streamlit's pages: the Perfetto UI, the page around it, traces; nothing else, to nobody else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from small_folders import write_run
from starlette.applications import Starlette
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from dashboards import ahead, app, data, folder, perfetto
from dashboards.guard import SameOrigin


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    write_run(tmp_path / "mine", b"a trace")
    monkeypatch.setenv(folder.VARIABLE, str(tmp_path))
    return TestClient(Starlette(routes=perfetto.routes()))


def test_perfetto_comes_from_here_under_its_own_policy(client: TestClient):
    answer = client.get("/perfetto/index.html")
    assert answer.status_code == 200
    assert "Perfetto UI" in answer.text
    assert answer.headers.get_list("content-security-policy") == [perfetto.CSP]
    assert "https:" not in perfetto.CSP and "http:" not in perfetto.CSP


def test_the_page_around_it_runs_no_script_but_its_own(client: TestClient):
    answer = client.get("/trace-view?run=<script>&title=<img>")
    assert answer.headers["content-security-policy"] == perfetto.VIEW_CSP
    assert "<script>&" not in answer.text and "<img>" not in answer.text
    assert client.get("/trace-view-files/trace_view.js").status_code == 200


def test_a_trace_comes_as_it_lies_on_the_disk(client: TestClient):
    answer = client.get("/trace-file?run=mine&rank=0&artifact=trace.json.gz")
    assert (answer.content, answer.headers["content-type"]) == (b"a trace", "application/octet-stream")
    assert "mine-trace.json.gz" in answer.headers["content-disposition"]


@pytest.mark.parametrize(
    "query",
    [
        "",
        "run=mine",
        "run=..&artifact=trace.json.gz",
        "run=mine&artifact=../run.json",
        "run=mine&rank=99999999999&artifact=trace.json.gz",
    ],
)
def test_what_is_no_trace_is_not_found(client: TestClient, query: str):
    answer = client.get(f"/trace-file?{query}")
    assert answer.status_code == 404
    assert "a trace" not in answer.text


@pytest.mark.parametrize("path", ["/perfetto/../run.json", "/perfetto/%2e%2e/%2e%2e/__init__.py", "/trace-view-files/../app.py"])
def test_static_files_stay_in_their_folder(client: TestClient, path: str):
    assert client.get(path).status_code == 404


def test_the_folder_is_read_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_run(tmp_path / "mine")
    monkeypatch.setenv(folder.VARIABLE, str(tmp_path))
    read: list[int] = []
    monkeypatch.setattr(data, "sqnr_of", lambda rows: read.append(len(rows)))
    ahead.read_folder().join(30)
    assert read == [1]


def test_a_folder_that_cannot_be_read_ahead_is_left_to_its_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setenv(folder.VARIABLE, str(tmp_path / "nothing"))
    caplog.set_level("INFO", "dashboards.ahead")
    ahead.read_folder().join(30)
    assert "could not be read ahead" in caplog.text


def test_pages_ask_no_other_host():
    assert all(not each.startswith(("http:", "https:", "*")) for each in app._CSP.replace(";", " ").split())
    settings = app.settings("127.0.0.1", 1)
    assert settings["browser.gatherUsageStats"] is False
    assert settings["server.address"] == "127.0.0.1"


@pytest.mark.parametrize(("host", "guarded"), [("127.0.0.1", True), ("localhost", True), ("0.0.0.0", False)])
def test_a_local_server_answers_only_to_local_names(host: str, guarded: bool):
    names = [each.cls.__name__ for each in app.application(host)._user_middleware]
    assert ("TrustedHostMiddleware" in names) is guarded
    assert "_PagesCsp" in names


def test_a_policy_of_a_route_is_kept(client: TestClient):
    guarded = TestClient(perfetto.WithCsp(client.app, "default-src 'self'", replace=False))
    assert guarded.get("/perfetto/index.html").headers.get_list("content-security-policy") == [perfetto.CSP]
    assert guarded.get("/trace-file").headers.get_list("content-security-policy") == ["default-src 'self'"]


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (None, 200),
        ("http://testserver", 200),
        ("http://evil.example", 403),
        ("null", 403),
        ("http://testserver:81", 403),
        ("http://testserver.evil.example", 403),
        ("http://[", 403),
    ],
)
def test_other_sites_pages_are_refused(client: TestClient, origin: str | None, status: int):
    guarded = TestClient(SameOrigin(client.app))
    answer = guarded.get("/trace-file?run=mine&artifact=trace.json.gz", headers={"origin": origin} if origin else {})
    assert answer.status_code == status
    assert ("a trace" in answer.text) is (status == 200)


def test_other_sites_pages_open_no_socket():
    async def accept(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})

    guarded = TestClient(SameOrigin(accept))
    with guarded.websocket_connect("/_stcore/stream", headers={"origin": "http://testserver"}):
        pass
    refused = guarded.websocket_connect("/_stcore/stream", headers={"origin": "http://evil.example"})
    with pytest.raises(WebSocketDisconnect), refused:
        pass


def test_streamlit_asks_nobody_for_this_machines_address(monkeypatch: pytest.MonkeyPatch):
    from streamlit import config, net_util
    from streamlit.web.server import server_util

    def fail() -> str:
        raise AssertionError("it asked for the address of this machine")

    monkeypatch.setattr(net_util, "get_external_ip", fail)
    settings = app.settings("0.0.0.0", 1)
    monkeypatch.setattr(config, "get_option", settings.get)
    assert server_util.is_url_from_allowed_origins("http://gpu-box:8501")
    assert "SameOrigin" in [each.cls.__name__ for each in app.application("0.0.0.0")._user_middleware]
