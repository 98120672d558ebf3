"""The edge node: receive, decode captions in batches, escalate. Imports `aiflow.common` only."""
