"""The networks; importing this registers every class a saved file can hold."""

from keras_rdanet import keras_metrics, losses  # noqa: F401 - saved models may hold them
from keras_rdanet.models.danet import DANet
from keras_rdanet.models.mprnet import MPRNet
from keras_rdanet.models.panet import PAEDSR, PANet
from keras_rdanet.models.rdn import RDN
from keras_rdanet.models.tsp_rdanet import TSPRDANet

__all__ = ["PAEDSR", "RDN", "DANet", "MPRNet", "PANet", "TSPRDANet"]
