"""MQTT topic names: who says what where. Reads nothing, opens nothing.

    <prefix>/<device>/available                      online / offline (will)
    <prefix>/<device>/stats
    <prefix>/<device>/<camera>/<leaf>                leaf: those of `CAMERA_TOPICS`
    <prefix>/edge/<node>/available|stats|reply
    <prefix>/cloud/<pool>/request
    $share/<pool>/<prefix>/cloud/<pool>/request      the same, taken by one worker each

`edge` and `cloud` are therefore no device names.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

from aiflow.common.errors import ConfigError
from aiflow.common.fields import MAX_NAME_BYTES

NameKind = Literal["device", "camera", "node", "pool", "prefix"]

RESERVED_DEVICES: Final = frozenset({"edge", "cloud"})


class CameraTopic(NamedTuple):
    """Whose a topic of cameras is: roles that `aiflow enroll` knows."""

    writers: frozenset[str]
    readers: frozenset[str]

    @classmethod
    def of(cls, writers: str, readers: str) -> CameraTopic:
        return cls(frozenset(writers.split()), frozenset(readers.split()))


CAMERA_TOPICS: Final[Mapping[str, CameraTopic]] = {
    "status": CameraTopic.of("device", "edge viewer"),
    "descriptor": CameraTopic.of("device", "edge viewer"),
    "embedding": CameraTopic.of("device", "edge"),
    "image": CameraTopic.of("pictures", "edge"),
    "snapshot": CameraTopic.of("pictures", "operator"),
    "receipt": CameraTopic.of("edge", "device"),
    "refine": CameraTopic.of("edge", "device"),
    # A device writes captions, too, where it has no edge node.
    "caption": CameraTopic.of("device edge", "viewer"),
    "event": CameraTopic.of("device edge", "edge viewer"),
    "enabled/set": CameraTopic.of("operator", "device"),
    "enabled/state": CameraTopic.of("device", "edge viewer"),
}
"""By leaf. `pictures` is a device that may send some; an operator reads what viewers do, too."""
CAMERA_LEAVES: Final = frozenset(CAMERA_TOPICS)


def check_name(kind: NameKind, name: str) -> str:
    """Return `name` if it can be one level of a topic, and raise ConfigError if not.

    Refused: empty, over 64 bytes of UTF-8, surrounding blanks, `/`, `+`, `#`, a leading `$`,
    control and non-characters (brokers refuse them; NUL separates names in a checksum's
    context), and for a device the names `edge` and `cloud`.
    """
    fault = _fault(name)
    if fault is None and kind == "device" and name in RESERVED_DEVICES:
        fault = "is reserved for that tier's own topics"
    if fault is not None:
        raise ConfigError(f"{kind} name {name!r} {fault}; choose another")
    return name


def _fault(name: str) -> str | None:
    """What makes `name` unfit, worded to follow the name; None if it is fit."""
    tests = {
        "is empty": not name,
        "begins or ends with a blank": name != name.strip(),
        "begins with '$'": name.startswith("$"),
        "contains '/', '+' or '#'": not set(name).isdisjoint("/+#"),
        "contains a control character": any(map(_is_unfit, name)),
        f"is longer than {MAX_NAME_BYTES} bytes": len(name.encode(errors="replace"))
        > MAX_NAME_BYTES,
    }
    return next((fault for fault, applies in tests.items() if applies), None)


def _is_unfit(character: str) -> bool:
    """Characters that MQTT 5 (section 1.5.4) bars from topics: control, surrogate, non-character.

    Only categories that no Unicode version changes, so that two machines agree.
    """
    code = ord(character)
    noncharacter = code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF
    return noncharacter or unicodedata.category(character) in {"Cc", "Cs"}


class Topics:
    """The topics below one prefix.

    The prefix may have several levels (`home/aiflow`), each of which must be a fit name.
    Names given to the methods are checked: ConfigError if one is unfit.
    """

    def __init__(self, prefix: str = "aiflow") -> None:
        for level in prefix.split("/"):
            check_name("prefix", level)
        self.prefix = prefix

    # Of a device.

    def available(self, device: str) -> str:
        return f"{self.prefix}/{check_name('device', device)}/available"

    def device_stats(self, device: str) -> str:
        return f"{self.prefix}/{check_name('device', device)}/stats"

    # Of one camera of a device.

    def status(self, device: str, camera: str) -> str:
        return self._camera(device, camera, "status")

    def descriptor(self, device: str, camera: str) -> str:
        return self._camera(device, camera, "descriptor")

    def embedding(self, device: str, camera: str) -> str:
        return self._camera(device, camera, "embedding")

    def image(self, device: str, camera: str) -> str:
        return self._camera(device, camera, "image")

    def snapshot(self, device: str, camera: str) -> str:
        return self._camera(device, camera, "snapshot")

    def refine(self, device: str, camera: str) -> str:
        return self._camera(device, camera, "refine")

    def receipt(self, device: str, camera: str) -> str:
        return self._camera(device, camera, "receipt")

    def caption(self, device: str, camera: str) -> str:
        return self._camera(device, camera, "caption")

    def event(self, device: str, camera: str) -> str:
        return self._camera(device, camera, "event")

    def enabled_set(self, device: str, camera: str) -> str:
        return self._camera(device, camera, "enabled/set")

    def enabled_state(self, device: str, camera: str) -> str:
        return self._camera(device, camera, "enabled/state")

    # Of an edge node, and of a pool of cloud workers.

    def edge_available(self, node: str) -> str:
        return f"{self.prefix}/edge/{check_name('node', node)}/available"

    def edge_stats(self, node: str) -> str:
        return f"{self.prefix}/edge/{check_name('node', node)}/stats"

    def edge_reply(self, node: str) -> str:
        return f"{self.prefix}/edge/{check_name('node', node)}/reply"

    def cloud_request(self, pool: str) -> str:
        return f"{self.prefix}/cloud/{check_name('pool', pool)}/request"

    def shared_cloud_request(self, pool: str) -> str:
        """The filter by which each request reaches exactly one worker of the pool."""
        return f"$share/{check_name('pool', pool)}/{self.cloud_request(pool)}"

    # Filters over everybody.

    @property
    def any_available(self) -> str:
        return f"{self.prefix}/+/available"

    @property
    def any_device_stats(self) -> str:
        return f"{self.prefix}/+/stats"

    @property
    def any_status(self) -> str:
        return self._any_camera("status")

    @property
    def any_descriptor(self) -> str:
        return self._any_camera("descriptor")

    @property
    def any_embedding(self) -> str:
        return self._any_camera("embedding")

    @property
    def any_image(self) -> str:
        return self._any_camera("image")

    @property
    def any_event(self) -> str:
        return self._any_camera("event")

    @property
    def any_edge_available(self) -> str:
        return f"{self.prefix}/edge/+/available"

    @property
    def any_edge_stats(self) -> str:
        return f"{self.prefix}/edge/+/stats"

    # From a topic back to names.

    def parse(self, topic: str) -> tuple[str, str, str] | None:
        """Split a camera's topic into (device, camera, leaf); None for any other topic."""
        levels = self._below_prefix(topic, splits=2)
        if len(levels) != 3:
            return None
        device, camera, leaf = levels
        if device in RESERVED_DEVICES or leaf not in CAMERA_LEAVES:
            return None
        return (device, camera, leaf) if _all_fit(device, camera) else None

    def parse_device(self, topic: str) -> tuple[str, str] | None:
        """Split a device's own topic into (device, leaf): `available` or `stats`."""
        levels = self._below_prefix(topic, splits=1)
        if len(levels) != 2 or levels[0] in RESERVED_DEVICES:
            return None
        device, leaf = levels
        return (device, leaf) if leaf in {"available", "stats"} and _all_fit(device) else None

    def parse_edge(self, topic: str) -> tuple[str, str] | None:
        """Split an edge node's topic into (node, leaf): `available`, `stats` or `reply`."""
        levels = self._below_prefix(topic, splits=2)
        if len(levels) != 3 or levels[0] != "edge":
            return None
        _, node, leaf = levels
        return (node, leaf) if leaf in {"available", "stats", "reply"} and _all_fit(node) else None

    def _camera(self, device: str, camera: str, leaf: str) -> str:
        check_name("device", device)
        return f"{self.prefix}/{device}/{check_name('camera', camera)}/{leaf}"

    def _any_camera(self, leaf: str) -> str:
        return f"{self.prefix}/+/+/{leaf}"

    def _below_prefix(self, topic: str, splits: int) -> list[str]:
        head = f"{self.prefix}/"
        return topic[len(head) :].split("/", splits) if topic.startswith(head) else []


def _all_fit(*names: str) -> bool:
    return all(_fault(name) is None for name in names)
