"""Exports that are proven equal."""
