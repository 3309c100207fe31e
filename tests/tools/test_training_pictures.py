import numpy as np
from click.testing import CliRunner
from PIL import Image

from keras_rdanet.image.io import read_picture
from tools.training_pictures import main


def test_photos_get_smaller_copies_and_every_ninth_pair_is_held_out(tmp_path):
    random = np.random.default_rng(0)
    for place, count in (("photos", 3), ("noisy", 10), ("clean", 10)):
        (tmp_path / place).mkdir()
        for index in range(count):
            pixels = random.integers(0, 256, (40, 60, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / place / f"{index}.png")
    out = tmp_path / "out"
    arguments = ["--photos", tmp_path / "photos", "--pairs", tmp_path / "noisy", tmp_path / "clean"]
    done = CliRunner().invoke(main, [str(argument) for argument in (*arguments, out)])
    assert done.exit_code == 0, done.output
    sizes = [read_picture(out / "photos" / f"{i}_small.png").samples.shape[:2] for i in range(3)]
    assert sizes == [(30, 45), (24, 36), (20, 30)]
    for side in ("noisy", "clean"):
        held_out = sorted(path.name for path in (out / "held_out" / side).iterdir())
        trained = sorted(path.name for path in (out / "pairs" / side).iterdir())
        assert held_out == ["0.png", "9.png"]
        assert trained == [f"{i}.png" for i in range(1, 9)]
    flat = read_picture(out / "drawn" / "flat_07.png").samples
    assert (flat == flat[0, 0]).all()
    drawn = [read_picture(path).samples for path in (out / "drawn").glob("drawn_*.png")]
    assert len(drawn) == 72
    assert sum(len(np.unique(d.reshape(-1, 3), axis=0)) > 10 for d in drawn) > 40
