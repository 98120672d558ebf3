"""The built-in bundle, as package data. No code."""
