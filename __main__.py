"""`python -m aiflow`: the same as the `aiflow` command."""

from __future__ import annotations

from aiflow.cli.main import main

if __name__ == "__main__":
    main()
