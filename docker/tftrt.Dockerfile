# TF-TRT for SavedModels of keras-rdanet, on a machine with an NVIDIA GPU and its container toolkit.
# From the root of the repository:
#
#   docker build -t keras-rdanet-tftrt -f docker/tftrt.Dockerfile . && docker run --rm --gpus all \
#       -v "$PWD:/data" keras-rdanet-tftrt /data/saved_model /data/saved_model_fp16 --precision FP16
#
# Parity and speed of all precisions: put `--entrypoint python` before the name of the image and
# `/opt/keras_rdanet/benchmarks/tftrt.py /data/saved_model --data /data/images --output /data` after it.
# Any image of NVIDIA with TensorFlow 2.15 to 2.17 will do: --build-arg TENSORFLOW=...
ARG TENSORFLOW=nvcr.io/nvidia/tensorflow:24.03-tf2-py3
FROM ${TENSORFLOW}
COPY export/tftrt.py /opt/keras_rdanet/export/
COPY benchmarks/tftrt.py /opt/keras_rdanet/benchmarks/
ENTRYPOINT ["python", "/opt/keras_rdanet/export/tftrt.py"]
