"""The cloud worker: verify drafts, finish captions in batches. Imports `aiflow.common` only."""
