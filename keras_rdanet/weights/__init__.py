"""Trained weights: what ships, where it came from, and how it is loaded."""
