"""Layers shared by the networks; `keras.ops` only."""
