"""Make a bundle: `scripts/train [RECIPE] [--out DIR] [--install]`.

Every stage leaves its result in `DIR/<recipe>-<digest>/`; what is there is not made again, so an
interrupted run goes on where it stopped.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import sys
from importlib.resources import files
from pathlib import Path

from aiflow.common.errors import AiflowError, ConfigError
from aiflow.street.world import street as drawn_street
from aiflow.training import photo, plots, street
from aiflow.training import recipe as recipes

log = logging.getLogger(__name__)


def main(arguments: list[str] | None = None) -> int:
    """Command line of scripts/train."""
    parser = argparse.ArgumentParser(prog="scripts/train", description=__doc__.split("\n")[0])
    parser.add_argument("recipe", nargs="?", default="street", help="name or TOML file")
    parser.add_argument("--out", type=Path, default=Path("runs"), help="folder of runs")
    parser.add_argument("--data", type=Path, metavar="DIR", help="photos and their captions")
    parser.add_argument(
        "--text", type=Path, nargs="+", default=[], metavar="FILE", help="captions without photos"
    )
    parser.add_argument("--seed", type=int, help="another seed than the recipe's")
    parser.add_argument(
        "--litert", type=Path, metavar="DIR", help="also TFLite, with tools installed there"
    )
    parser.add_argument(
        "--plot",
        type=Path,
        metavar="DIR",
        help="draw the training's curves into training.png there",
    )
    parser.add_argument("--install", action="store_true", help="make it the built-in bundle")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        recipe = recipes.load(options.recipe)
        if options.seed is not None:
            recipe = recipe.model_copy(update={"seed": options.seed})
        if isinstance(recipe, recipes.PhotoRecipe):
            if options.data is None:
                raise ConfigError(f"recipe {recipe.name} needs photos with captions: --data DIR")
            bundle = photo.make(recipe, options.out, options.data, options.text)
        else:
            bundle = street.make(recipe, options.out, options.litert)
            if options.plot is not None:
                bits = drawn_street().entropy_bits()
                log.info("see %s", plots.draw(bundle.parent, options.plot, bits))
        if options.install:
            target = Path(str(files("aiflow.bundles"))) / recipe.name
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(bundle, target)
            log.info("installed as the built-in bundle %s", recipe.name)
    except AiflowError as exc:
        sys.stderr.write(f"train: {exc}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
