"""The `aiflow` command. With `aiflow.bench`, the only place that may import every tier."""
