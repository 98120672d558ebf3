"""All metrics of all tiers: names, kinds, and what they mean. A leaf; docs/metrics.md shows it.

A counter is counted under its name in `Counters`; whatever else there is, a tier reads at the
moment it is asked. Base units; label values come from small fixed sets, but for `camera` and
`trigger`: those of one daemon, as its configuration has them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["counter", "gauge", "summary", "histogram"]
ALL: Final = ("device", "edge", "cloud")


@dataclass(frozen=True, slots=True)
class Metric:
    """One name and all its series."""

    kind: Kind
    meaning: str
    labels: tuple[str, ...] = ()
    tiers: tuple[str, ...] = ALL
    alarm: str = ""
    """What a dashboard says when it grows; empty for what is no fault."""


def _counter(meaning: str, *labels: str, of: str = "", alarm: str = "") -> Metric:
    return Metric("counter", meaning, labels, tuple(of.split()) or ALL, alarm)


def _gauge(meaning: str, *labels: str, of: str = "") -> Metric:
    return Metric("gauge", meaning, labels, tuple(of.split()) or ALL)


def _stage(what: str) -> Metric:
    return Metric("summary", f"time of {what}", ("camera",), ("device",))


CATALOGUE: Final[Mapping[str, Metric]] = {
    # Every tier.
    "aiflow_info": _gauge("always 1; version and bundle as labels", "version", "bundle"),
    "aiflow_connected": _gauge("whether there is a broker: 1, or 0"),
    "aiflow_mqtt_connects_total": _counter("connections that the broker accepted"),
    "aiflow_mqtt_connect_failures_total": _counter("attempts to connect that failed"),
    "aiflow_mqtt_unsent_total": _counter(
        "messages not handed over: no connection, a full queue, too large", "reason"
    ),
    "aiflow_mqtt_faults_total": _counter(
        "what went wrong with messages, by reason", "reason", alarm="trouble with messages"
    ),
    "aiflow_series_overflow_total": _counter("additions to series beyond the most that are kept"),
    "aiflow_faults_total": _counter(
        "faults of our own; the log says more",
        "where",
        of="edge cloud",
        alarm="a fault of our own; its log says more",
    ),
    # The device.
    "aiflow_camera_online": _gauge("whether it delivers: 1, or 0", "camera", of="device"),
    "aiflow_camera_within_reach": _gauge(
        "whether an edge node captions its frames: 1; the device does: 0", "camera", of="device"
    ),
    "aiflow_frames_total": _counter(
        "frames by how far they got: captured, replaced (by a fresher one), looked_at, encoded, "
        "accepted (to be captioned), sent (for the first time), sent_again",
        "camera",
        "step",
        of="device",
    ),
    "aiflow_capture_seconds": _stage("a frame from its capture until it is looked at"),
    "aiflow_gate_seconds": _stage("the first look at a frame"),
    "aiflow_encode_seconds": _stage("the encoder"),
    "aiflow_compress_seconds": _stage("the codec"),
    "aiflow_decode_seconds": Metric(
        "summary",
        "time of the decoder: of each frame on a device, of each batch elsewhere",
        ("camera",),
    ),
    "aiflow_store_seconds": _stage("writing a frame to the disk"),
    "aiflow_publish_seconds": _stage("handing a payload to the broker's connection"),
    "aiflow_outbox_entries": _gauge("frames that have no receipt yet", of="device"),
    "aiflow_outbox_bytes": _gauge("payload bytes of them", of="device"),
    "aiflow_outbox_dropped_total": _counter(
        "frames given up, by reason", "reason", of="device", alarm="the outbox dropped frames"
    ),
    "aiflow_outbox_faults_total": _counter(
        "what went wrong with the outbox, and what it dropped",
        "reason",
        of="device",
        alarm="the outbox could not be used",
    ),
    "aiflow_outbox_corrupt_total": _counter(
        "damaged files that were moved aside", of="device", alarm="the outbox had damaged entries"
    ),
    "aiflow_clock_steps_total": _counter("sessions begun anew as the clock was set", of="device"),
    "aiflow_frames_dropped_total": _counter(
        "frames not accepted", "reason", of="device", alarm="frames could not be stored"
    ),
    "aiflow_stream_faults_total": _counter(
        "frames that failed", "reason", of="device", alarm="frames could not be used"
    ),
    "aiflow_local_captions_total": _counter("captions of the device's own", "why", of="device"),
    "aiflow_refine_orders_total": _counter("orders of the edge node", "answer", of="device"),
    "aiflow_orders_dropped_total": _counter("orders beyond the most that wait", of="device"),
    "aiflow_published_total": _counter("payloads given to the broker", "kind", of="device"),
    "aiflow_published_bytes_total": _counter("bytes of those payloads", "kind", of="device"),
    "aiflow_camera_reconnects_total": _counter(
        "cameras opened anew", of="device", alarm="a camera had to be opened again"
    ),
    "aiflow_camera_stalls_total": _counter(
        "cameras that gave nothing for too long",
        of="device",
        alarm="a camera delivered nothing for a while",
    ),
    "aiflow_camera_bad_frames_total": _counter(
        "frames of cameras that could not be decoded, and were skipped", of="device"
    ),
    "aiflow_camera_deaths_total": _counter(
        "processes of cameras that died", of="device", alarm="the process of a camera died"
    ),
    "aiflow_camera_frozen_total": _counter(
        "views that stayed the same to the bit",
        of="device",
        alarm="a camera's view stayed the same to the bit",
    ),
    # The edge node.
    "aiflow_received_total": _counter("payloads that came", of="edge"),
    "aiflow_received_bytes_total": _counter("bytes of those payloads", of="edge"),
    "aiflow_payload_errors_total": _counter(
        "payloads that were refused", "reason", of="edge", alarm="payloads were refused"
    ),
    "aiflow_duplicates_total": _counter("frames that came again", "reason", of="edge"),
    "aiflow_dropped_total": _counter(
        "frames without room to wait; their devices send them again",
        "reason",
        of="edge",
        alarm="frames had no room to wait; their devices send them again",
    ),
    "aiflow_decoded_total": _counter("frames captioned by the decoder", of="edge"),
    "aiflow_batches_total": _counter("runs of the decoder", of="edge cloud"),
    "aiflow_decisions_total": _counter("whether the cloud was asked, and why", "cause", of="edge"),
    "aiflow_captions_total": _counter(
        "captions that the broker accepted", "tier", "type", of="edge"
    ),
    "aiflow_caption_latency_seconds": Metric(
        "histogram", "from capture to publishing, by both clocks", ("tier",), ("edge",)
    ),
    "aiflow_publish_errors_total": _counter(
        "captions it did not accept", "reason", of="edge", alarm="captions were not published"
    ),
    "aiflow_triggers_total": _counter("events of triggers accepted", "trigger", of="edge"),
    "aiflow_receipts_total": _counter("receipts sent to devices", of="edge"),
    "aiflow_key_frames_asked_total": _counter("orders for a key frame", of="edge"),
    "aiflow_storage_errors_total": _counter(
        "ledger not written", "reason", of="edge", alarm="the ledger could not be written"
    ),
    "aiflow_escalations_total": _counter(
        "frames that the cloud was asked about", "reason", of="edge"
    ),
    "aiflow_escalations_repeated_total": _counter("of them asked a second time", of="edge"),
    "aiflow_escalation_replies_total": _counter("what came of asking", "outcome", of="edge"),
    "aiflow_escalation_faults_total": _counter(
        "why nothing came of it", "reason", of="edge", alarm="the cloud could not be asked"
    ),
    "aiflow_dashboard_dropped_total": _counter("events that a page was too slow for", of="edge"),
    "aiflow_waiting": _gauge("frames or requests that wait for the decoder", of="edge cloud"),
    "aiflow_in_hand": _gauge("frames taken and not yet captioned", of="edge"),
    "aiflow_streams": _gauge("cameras known", of="edge"),
    "aiflow_streams_usable": _gauge("of them with our bundle", of="edge"),
    "aiflow_escalations_pending": _gauge("questions to the cloud without an answer", of="edge"),
    "aiflow_cloud_rest_seconds": _gauge("for how long the cloud is left alone", of="edge"),
    "aiflow_delay_seconds": _gauge("from a frame's arrival to its caption, of late", of="edge"),
    # The cloud worker.
    "aiflow_requests_total": _counter("requests that came", of="cloud"),
    "aiflow_request_errors_total": _counter("requests without a caption", "reason", of="cloud"),
    "aiflow_answered_total": _counter("requests answered by a caption", of="cloud"),
    "aiflow_drafted_tokens_total": _counter("tokens of the edge's drafts", of="cloud"),
    "aiflow_accepted_tokens_total": _counter("of them kept", of="cloud"),
    "aiflow_passes_total": _counter("runs of the decoder for each caption, added up", of="cloud"),
}
