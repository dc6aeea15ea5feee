import graphs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from gan import linear_interpolation as interpolation
from gan.errors import InputError

CORNERS = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])


@pytest.mark.parametrize("kind", ["linear", "slerp"])
def test_the_corners_are_the_corners(kind):
    grid = interpolation.latent_grid(CORNERS, kind, 10)
    assert grid.shape == (100, 2)
    np.testing.assert_allclose(grid[[0, 9, 90, 99]], CORNERS, atol=1e-6)


def test_a_line_has_even_steps():
    grid = interpolation.latent_grid(CORNERS, "linear", 5)
    np.testing.assert_allclose(np.diff(grid[:5], axis=0), np.tile([-0.25, 0.25], (4, 1)), atol=1e-6)


@given(st.floats(0, 1))
def test_an_arc_keeps_the_length_and_the_speed(t):
    point = interpolation.slerp(CORNERS[0], CORNERS[1], t)
    np.testing.assert_allclose(point, [np.cos(t * np.pi / 2), np.sin(t * np.pi / 2)], atol=1e-9)


def test_an_arc_between_opposite_or_equal_latents_is_a_line():
    np.testing.assert_allclose(interpolation.slerp(CORNERS[0], CORNERS[2], 0.25), [0.5, 0.0])
    np.testing.assert_allclose(interpolation.slerp(CORNERS[0], CORNERS[0], 0.25), CORNERS[0])


def test_the_command_draws_a_grid_of_ten_by_ten(command, tiny_run, tmp_path):
    flags = (f"--train_dir={tiny_run[0]}", f"--output_file={tmp_path / 'grid.png'}", "--interpolation=slerp")
    done = command("linear_interpolation", *flags, "--use_mnist")
    assert done.returncode == 0, done.stderr
    assert Image.open(tmp_path / "grid.png").size == (280, 280)


def test_images_of_another_size_than_the_flags_say_are_refused(tmp_path):
    with graphs.tf1_checkpoint(tmp_path):
        graphs.generator_of(lambda z: graphs.linear(z, 18))
    settings = {"train_dir": str(tmp_path), "output_file": str(tmp_path / "x.png")}
    with pytest.raises(InputError, match=r"shape \[100, 18\], not \[100, 784\]"):
        interpolation.linear_interpolation(interpolation.InterpolationOptions(use_mnist=True, **settings))
    with pytest.raises(InputError, match="set --image_height"):
        interpolation.linear_interpolation(interpolation.InterpolationOptions(**settings))
    size = {"image_height": 2, "image_width": 3, "image_channels": 3}
    interpolation.linear_interpolation(interpolation.InterpolationOptions(**size, **settings))
    assert Image.open(tmp_path / "x.png").size == (30, 20)


def test_the_shape_that_a_submission_states_is_used(tmp_path):
    with graphs.tf1_checkpoint(tmp_path):
        graphs.generator_of(lambda z: graphs.linear(z, 18))
    (tmp_path / "submission.json").write_text('{"image_shape": [2, 3, 3]}')
    settings = {"train_dir": str(tmp_path), "output_file": str(tmp_path / "x.png")}
    interpolation.linear_interpolation(interpolation.InterpolationOptions(**settings))
    assert Image.open(tmp_path / "x.png").size == (30, 20)
