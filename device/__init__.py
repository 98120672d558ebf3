"""The on-device daemon: cameras, novelty gate, encoder, outbox. Imports `aiflow.common` only."""
