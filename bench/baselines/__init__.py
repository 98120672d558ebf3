"""What others would send instead: image codecs, raw features, merged tokens, fixed-width indices.

Only measured against, never used by a tier. Each is a `Way` (see `way.py`).
"""
