"""Measurements, and the baselines they are held against. No tier imports it."""
