"""How bundles are made: recipes, stages, export. Needs the extra `train`."""
