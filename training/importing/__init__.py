"""Bundles from captioning models that others have trained. Needs the extra `import`."""
