"""Scoring restored images by stated protocols."""
