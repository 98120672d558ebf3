"""`aiflow bundle ...`: which models there are, what they are, are they whole, and your own."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from aiflow.common.bundle import Bundle, built_in
from aiflow.common.errors import ConfigError


def show_list(*, as_json: bool) -> None:
    """The built-in bundles. Raises BundleError."""
    bundles = [Bundle.open(name) for name in built_in()]
    if as_json:
        _json([_facts(bundle) for bundle in bundles])
        return
    print(f"{'name':12} {'version':8} {'id':12}  description")
    for bundle in bundles:
        manifest = bundle.manifest
        print(f"{manifest.name:12} {manifest.version:8} {bundle.id[:12]}  {manifest.description}")


def show_info(name: str, *, as_json: bool) -> None:
    """One bundle: what its encoder and decoders are, how it was made and how good it is."""
    bundle = Bundle.open(name)
    if as_json:
        _json(_facts(bundle) | {"manifest": bundle.manifest.model_dump(mode="json")})
        return
    manifest, encoder = bundle.manifest, bundle.manifest.encoder
    _row("bundle", f"{manifest.name} {manifest.version} ({manifest.license})")
    _row("about", manifest.description)
    _row("id", bundle.id)
    _row("path", str(bundle.path))
    _row("size", f"{_size_bytes(bundle):,} bytes in {len(manifest.sha256)} files")
    _row(
        "encoder",
        f"{encoder.width}x{encoder.height} pixels -> {encoder.tokens} tokens of {encoder.dims},"
        f" {encoder.macs / 1e6:,.0f} M MAC, {encoder.parameters:,} parameters",
    )
    for tier, facts in manifest.decoders.items():
        _row(
            f"{tier} decoder",
            f"{facts.layers} layers of {facts.width}, {facts.parameters:,} parameters",
        )
    _row("escalates", f"below a confidence of {manifest.escalate_below:.2f}")
    for title, facts_of in (("trained", manifest.training), ("measured", manifest.figures)):
        for key, value in facts_of.items():
            _row(title, f"{key}: {_short(value)}")


def show_verify(name: str, *, as_json: bool) -> None:
    """Check every hash. Raises BundleError that names the file which is not what it was."""
    bundle = Bundle.open(name)
    if as_json:
        _json(_facts(bundle) | {"files": sorted(bundle.manifest.sha256)})
    else:
        count = len(bundle.manifest.sha256)
        print(f"{bundle.path} is whole: {count} files have the hashes of manifest {bundle.id[:12]}")


def import_model(
    source: str,
    images: Path,
    out: Path,
    *,
    tokens: int,
    stages: int,
    seed: int,
    license_: str,
    encoder: Literal["both", "int8", "float"],
) -> None:
    """Make a bundle of a captioning model. Raises AiflowError."""
    try:
        from aiflow.training.importing.bundle import (  # noqa: PLC0415 - PyTorch: seconds
            Options,
            import_bundle,
        )
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("aiflow"):
            raise
        raise ConfigError(
            f"importing a model needs {error.name}, which comes with the extra `import`:"
            " pip install 'aiflow-edge[import]'"
        ) from error
    options = Options(tokens=tokens, stages=stages, seed=seed, license=license_, encoder=encoder)
    bundle = import_bundle(source, images, out, options)
    figures = bundle.manifest.figures
    most, edge = str(len(bundle.layers)), figures["edge"]
    print(f"{bundle.path} is made: {bundle.id[:12]}, {_size_bytes(bundle):,} bytes")
    print(
        f"a frame has {figures['bytes_by_layers'][most]:g} bytes; {edge['exact']:.0%} of "
        f"{figures['images']} captions are the whole model's, {edge['words']:.0%} of the words"
    )
    if "few" in figures:
        print(f"note: {figures['few']}")
    print(f"next: bundle = {str(bundle.path.absolute())!r} in each tier's configuration")


def _facts(bundle: Bundle) -> dict[str, object]:
    return {
        "name": bundle.manifest.name,
        "version": bundle.manifest.version,
        "id": bundle.id,
        "path": str(bundle.path),
        "size_bytes": _size_bytes(bundle),
    }


def _size_bytes(bundle: Bundle) -> int:
    return sum((bundle.path / name).stat().st_size for name in bundle.manifest.sha256)


def _row(title: str, text: str) -> None:
    print(f"{title:15} {text}")


def _short(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_short(inner)}" for key, inner in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _json(value: object) -> None:
    json.dump(value, sys.stdout, indent=2)
    print()
