"""Learning-rate schedules of the original recipes."""

import math

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_rdanet")
class MultiStep(keras.optimizers.schedules.LearningRateSchedule):
    """Multiplies the learning rate by a factor at each milestone.

    Args:
        initial: Learning rate before the first milestone.
        milestones: Steps from which on the next learning rate holds.
        factor: Factor of each change.

    Reference:
        TSP-RDANet, Gaussian recipe: 1.0e-4 halved every 100,000 steps.
    """

    def __init__(self, initial, milestones, factor=0.5):
        self.initial = initial
        self.milestones = list(milestones)
        self.factor = factor

    def __call__(self, step):
        step = ops.cast(step, "float32")
        passed = sum(ops.cast(step >= milestone, "float32") for milestone in self.milestones)
        return self.initial * ops.power(ops.cast(self.factor, "float32"), passed)

    def get_config(self):
        return {"initial": self.initial, "milestones": self.milestones, "factor": self.factor}


@keras.saving.register_keras_serializable(package="keras_rdanet")
class CosineWithWarmup(keras.optimizers.schedules.LearningRateSchedule):
    """A linear rise, then half a cosine down to a minimum, kept afterwards.

    In epoch `e`, counted from 1: `peak * e / warmup` while `e <= warmup`, then
    `minimum + (peak - minimum) * (1 + cos(pi * (e - warmup - 1) / period)) / 2`.

    Args:
        peak: Learning rate after the warm-up.
        minimum: Learning rate at the end of the period.
        warmup: Number of epochs of the rise.
        period: Number of epochs of the fall. It is longer than the run in the
            original real-noise recipes, whose learning rate never reaches the
            minimum.
        steps_per_epoch: Number of steps in an epoch, within which the learning
            rate is constant; `1` changes it at every step, and `warmup` and
            `period` are then steps.

    Reference:
        MPRNet and TSP-RDANet (real noise), training code.
    """

    def __init__(self, peak, minimum, warmup, period, steps_per_epoch=1):
        self.peak = peak
        self.minimum = minimum
        self.warmup = warmup
        self.period = period
        self.steps_per_epoch = steps_per_epoch

    def __call__(self, step):
        epoch = ops.floor(ops.cast(step, "float32") / self.steps_per_epoch) + 1.0
        phase = ops.clip((epoch - self.warmup - 1.0) / self.period, 0.0, 1.0)
        fall = self.minimum + (self.peak - self.minimum) * (1.0 + ops.cos(math.pi * phase)) / 2.0
        rise = self.peak * epoch / max(self.warmup, 1)
        return ops.where(epoch <= self.warmup, rise, fall)

    def get_config(self):
        return {
            "peak": self.peak,
            "minimum": self.minimum,
            "warmup": self.warmup,
            "period": self.period,
            "steps_per_epoch": self.steps_per_epoch,
        }
