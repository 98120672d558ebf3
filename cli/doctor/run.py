"""`aiflow doctor`: looks at everything that a tier needs, and says what to do about it.

Each check is a line as soon as it is done, and none keeps the next one from being made. Nothing is
changed: what is opened is closed again, and what must be tried in a process of its own is.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Final

from aiflow.cli import units
from aiflow.cli.doctor import machine
from aiflow.cli.doctor import tier as of_tier
from aiflow.cli.doctor.broker import broker_findings
from aiflow.cli.doctor.disk import disk
from aiflow.cli.doctor.finding import Finding, State, failed, ok
from aiflow.cli.doctor.settings import TierSettings, read_settings
from aiflow.cli.screen import Screen, printable
from aiflow.common.errors import AiflowError, ConfigError

log = logging.getLogger(__name__)

STYLES: Final = {State.OK: "green", State.WARNING: "yellow", State.FAILED: "bold red"}


@dataclass(frozen=True, slots=True)
class DoctorOptions:
    """What to look at: a tier, or (None) only what every tier needs of this machine."""

    tier: str | None = None
    config: Path | None = None
    as_json: bool = False


def doctor(options: DoctorOptions) -> bool:
    """Look, and print what was found; True if nothing has failed. Raises nothing expected."""
    screen = Screen(sys.stdout)
    found: list[Finding] = []
    for finding in findings(options):
        found.append(finding)
        if not options.as_json:
            _show(screen, finding)
    counts = {state: sum(one.state is state for one in found) for state in State}
    if options.as_json:
        status = next(s for s in (State.FAILED, State.WARNING, State.OK) if counts[s] or s == "ok")
        report = {"status": status, "tier": options.tier, "findings": [asdict(f) for f in found]}
        screen.line(json.dumps(report, indent=2, ensure_ascii=False))
    else:
        told = ", ".join(f"{counts[state]} {state}" for state in State)
        screen.line(f"{len(found)} checks: {told}")
    return not counts[State.FAILED]


def findings(options: DoctorOptions) -> Iterator[Finding]:
    """All findings, each as soon as it is there."""
    yield from _guarded("versions", lambda: [machine.versions()])
    yield from _guarded("clock", lambda: [machine.clock()])
    if options.tier is None:
        yield from _guarded("bundle", lambda: of_tier.models(TierSettings("device")))
        return
    tier = options.tier
    yield from _guarded("service", lambda: filter(None, [machine.service(tier)]))
    installed = Path(units.config_path(tier))
    path = installed if options.config is None and installed.exists() else options.config
    try:
        settings = read_settings(tier, path, installed=path == installed)
    except ConfigError as error:
        yield failed("configuration", str(error), "correct it; docs/configuration.md has all keys")
        return
    yield ok("configuration", "no file: defaults and environment" if path is None else str(path))
    for check, look in (
        ("keys", of_tier.keys),
        ("bundle", of_tier.models),
        ("disk", disk),
        ("broker", broker_findings),
        ("camera", of_tier.cameras),
    ):
        yield from _guarded(check, partial(look, settings))


def _guarded(check: str, look: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """What a check finds; whatever goes wrong inside it is a finding as well."""
    try:
        yield from look()
    except (AiflowError, OSError) as error:
        yield failed(check, str(error), "see docs/troubleshooting.md")
    except Exception as error:
        # The outermost loop of this command: a fault of ours costs one check.
        log.debug("check %s failed", check, exc_info=True)
        seen = f"the check itself failed: {type(error).__name__}: {error}"
        yield failed(check, seen, "this is a fault of aiflow's; report it with this line")


def _show(screen: Screen, finding: Finding) -> None:
    screen.line(
        f"{finding.state:8} {finding.check:14} {printable(finding.seen)}", STYLES[finding.state]
    )
    if finding.next:
        screen.line(f"{'':23} -> {printable(finding.next)}")
