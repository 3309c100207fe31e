"""Exported files that are verified to be equal to their network."""
