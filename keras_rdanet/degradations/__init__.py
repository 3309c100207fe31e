"""Former home of the degradations, which are tasks now: `keras_rdanet.tasks`."""
