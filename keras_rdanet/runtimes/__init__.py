"""Exported files as functions from images to images."""
