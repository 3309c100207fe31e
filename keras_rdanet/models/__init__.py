"""The networks; importing this registers every class a saved file can hold."""

from keras_rdanet.models.tsp_rdanet import TSPRDANet

__all__ = ["TSPRDANet"]
