"""Comparing an exported file with its network."""
