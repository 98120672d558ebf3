"""A Home Assistant of our own, a process in an environment of its own, asked by its REST API."""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import subprocess
import time
import urllib.parse
from collections.abc import Callable
from pathlib import Path

import pytest

from aiflow.rig.child import Child

VENV = "HOMEASSISTANT_VENV"
PATIENCE_S = 60.0
HOST = "127.0.0.1"
USER = {"username": "tester", "password": "secret"}
# What a running instance needs to be asked; everything else comes from the broker.
CONFIGURATION = """\
homeassistant:
  name: Test
  time_zone: UTC
http:
  server_host: {host}
  server_port: {port}
api:
auth:
config:
logger:
  default: warning
"""
PAGE = Path(__file__).parents[2] / "docs" / "home-assistant.md"

State = dict[str, object]
"""One state object of the API: `state`, `attributes`, ..."""


@pytest.fixture(scope="session")
def home_assistant() -> Path:
    """The environment that `scripts/homeassistant-check` has made."""
    venv = os.environ.get(VENV)
    if venv is None:
        pytest.skip("needs Home Assistant: run scripts/homeassistant-check")
    return Path(venv)


def _until(condition: Callable[[], object], what: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, what()
        time.sleep(0.1)


def _automation() -> str:
    """The example of the documentation."""
    found = re.search(r"^```yaml\n(.*?)^```", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1]


class Instance:
    """`hass` with an owner and an entry for an MQTT broker, made by the API as a person would."""

    def __init__(self, venv: Path, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            self.port: int = probe.getsockname()[1]
        self._folder = folder
        folder.mkdir()
        configuration = CONFIGURATION.format(host=HOST, port=self.port)
        (folder / "configuration.yaml").write_text(configuration + _automation())
        hass = str(venv / "bin" / "hass")
        subprocess.run(
            [hass, "--script", "auth", "-c", str(folder), "add", *USER.values()],
            check=True,
            capture_output=True,
            timeout=PATIENCE_S,
        )
        # --skip-pip: nothing is installed while it runs.
        self.child = Child("hass", [hass, "-c", str(folder), "--skip-pip"], folder / "hass.log")
        self._client = f"http://{HOST}:{self.port}/"
        self._token = ""

    def start(self) -> None:
        """Return when it has started and lets us in."""
        self.child.start()
        _until(self._answers, self.child.last_lines)
        we = {"client_id": self._client}
        asked = we | {"redirect_uri": self._client, "handler": ["homeassistant", None]}
        begun = self.post("/auth/login_flow", asked)
        ended = self.post(f"/auth/login_flow/{begun['flow_id']}", we | USER)
        form = we | {"grant_type": "authorization_code", "code": str(ended["result"])}
        answer = self._ask(
            "POST", "/auth/token", urllib.parse.urlencode(form), "x-www-form-urlencoded"
        )
        self._token = json.loads(answer)["access_token"]
        _until(lambda: self.get("/api/config")["state"] == "RUNNING", self.child.last_lines)

    def add_broker(self, port: int) -> None:
        begun = self.post("/api/config/config_entries/flow", {"handler": "mqtt"})
        flow = f"/api/config/config_entries/flow/{begun['flow_id']}"
        ended = self.post(flow, {"broker": HOST, "port": port})
        assert ended["type"] == "create_entry", ended

    def states(self) -> dict[str, State]:
        """By entity id."""
        return {one["entity_id"]: one for one in json.loads(self._ask("GET", "/api/states"))}

    def state(self, entity_id: str) -> str | None:
        """What an entity's state is now; None if it is not there."""
        found = self.states().get(entity_id)
        return None if found is None else str(found["state"])

    def picture(self, entity_id: str) -> bytes:
        """What an image entity shows now; empty if it has none."""
        if self.state(entity_id) in {"unknown", "unavailable"}:
            return b""
        return self._fetch("GET", f"/api/image_proxy/{entity_id}")

    def call(self, service: str, entity_id: str) -> None:
        """A service, as in `switch/turn_off`."""
        self._ask("POST", f"/api/services/{service}", json.dumps({"entity_id": entity_id}))

    def render(self, template: str, value_json: object) -> str:
        """What a template makes of a message."""
        given = {"template": template, "variables": {"value_json": value_json}}
        return self._ask("POST", "/api/template", json.dumps(given))

    def registered(self) -> dict[str, str | None]:
        """Unique id of each MQTT entity, and who has disabled it, when it is stopped."""
        path = self._folder / ".storage" / "core.entity_registry"
        entities = json.loads(path.read_text())["data"]["entities"]
        return {
            one["unique_id"]: one["disabled_by"] for one in entities if one["platform"] == "mqtt"
        }

    def complaints(self) -> list[str]:
        """What it has logged about MQTT, sensors, templates.

        Not that a connection was lost. Nor that there is nothing more to clean up: it clears the
        topic of what it removes, and says so when it hears of that itself.
        """
        said = self.child.log_path.read_text().splitlines()
        about = (
            "components.mqtt",
            "components.sensor",
            "components.event",
            "components.image",
            "helpers.template",
        )
        return [
            line
            for line in said
            if any(f"homeassistant.{name}" in line for name in about)
            and "components.mqtt.client" not in line
            and "No device components to cleanup" not in line
        ]

    def get(self, path: str) -> dict[str, object]:
        answer: dict[str, object] = json.loads(self._ask("GET", path))
        return answer

    def post(self, path: str, content: object) -> dict[str, object]:
        answer: dict[str, object] = json.loads(self._ask("POST", path, json.dumps(content)))
        return answer

    def _answers(self) -> bool:
        assert self.child.running, self.child.last_lines(30)
        try:
            self._ask("GET", "/manifest.json")
        except OSError:
            return False
        return True

    def _ask(self, method: str, path: str, body: str | None = None, kind: str = "json") -> str:
        return self._fetch(method, path, body, kind).decode()

    def _fetch(self, method: str, path: str, body: str | None = None, kind: str = "json") -> bytes:
        connection = http.client.HTTPConnection(HOST, self.port, timeout=PATIENCE_S)
        headers = {"Content-Type": f"application/{kind}"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        assert answer.status < 300, (method, path, answer.status, content)
        return content


@pytest.fixture(scope="session")
def until() -> Callable[[Callable[[], object], Callable[[], object]], None]:
    """Wait for a condition; what to say if it does not come."""
    return _until


@pytest.fixture(scope="session")
def new_instance(home_assistant: Path) -> Callable[[Path], Instance]:
    """Make one whose configuration is in a new folder."""
    return lambda folder: Instance(home_assistant, folder)
