"""Restoring pictures with a function from images to images."""
