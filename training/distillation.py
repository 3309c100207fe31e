"""Starting a student from a part of its teacher."""

from collections.abc import Sequence

import keras
import numpy as np

# Beginnings of the names of the layers that DANet-S takes from its teacher: those between the
# lowest encoder stage and the output.
DECODER = ("mid", "up", "dec", "tail")


def init_student(
    student: keras.Model, teacher: keras.Model, prefixes: Sequence[str] = DECODER
) -> None:
    """Copy the weights of a part of a teacher; the rest of the student stays.

    Training then goes on without the teacher.

    Args:
        student: Network to change: its layers whose names begin with one of the
            prefixes.
        teacher: Network with layers of the same names and shapes.
        prefixes: Beginnings of the names of the layers to copy.

    Raises:
        ValueError: if the teacher lacks such a weight, has it in another shape,
            or the student has no such layer. Nothing is changed then.

    Reference:
        DANet, section 2.4: the student starts from the decoder of an
        asymmetric teacher and is trained on its own. The text at hand does not
        say what the decoder comprises; that the middle belongs to it is our reading.
    """
    found = {variable.path: np.asarray(variable) for variable in teacher.variables}
    taken: dict[str, keras.Variable] = {}
    for prefix in prefixes:
        variables = [v for v in student.variables if v.path.startswith(prefix)]
        if not variables:
            raise ValueError(f"{student.name} has no layer whose name begins with {prefix!r}.")
        taken |= {variable.path: variable for variable in variables}
    for path, variable in taken.items():
        shape = tuple(variable.shape)
        if path not in found or found[path].shape != shape:
            has = f"of shape {found[path].shape}" if path in found else "not there"
            raise ValueError(
                f"{path} has shape {shape} in the student; in the teacher it is {has}. "
                "Take a teacher with the decoder and the channels of the student."
            )
    for path, variable in taken.items():
        variable.assign(found[path])
