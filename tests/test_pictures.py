import io

import numpy as np
from PIL import Image

from gan import pictures, storage


def test_a_grid_is_filled_row_by_row():
    images = np.array([[0.0, 1.0], [0.2, 0.2], [2.0, -1.0]])  # three images, 1 high and 2 wide
    np.testing.assert_array_equal(pictures.grid(images, (1, 2, 1), 2), [[0, 255, 51, 51], [255, 0, 0, 0]])


def test_rgb_keeps_its_channels(tmp_path):
    images = np.zeros((4, 12))
    images[0, :3] = (1.0, 0.2, 0.0)  # the first pixel
    grid = pictures.grid(images, (2, 2, 3), 2)
    assert grid.shape == (4, 4, 3)
    pictures.save_png(storage.path(str(tmp_path / "g.png")), grid)
    assert Image.open(tmp_path / "g.png").getpixel((0, 0)) == (255, 51, 0)


def test_png_keeps_every_gray_value():
    picture = np.arange(256, dtype=np.uint8).reshape(16, 16)
    np.testing.assert_array_equal(pictures.decode(pictures.encode(picture, "PNG")), picture)


def test_a_gif_shows_the_files_in_order():
    folder = storage.path("ram://pictures")
    files = [folder / f"{i}.png" for i in range(3)]
    for i, file in enumerate(files):
        pictures.save_png(file, np.full((2, 2), 100 * i, np.uint8))
    pictures.save_gif(folder / "x.gif", files)
    film = Image.open(io.BytesIO((folder / "x.gif").read_bytes()))
    grays = []
    for i in range(film.n_frames):
        film.seek(i)
        grays.append(film.convert("L").getpixel((0, 0)))
    assert grays == [0, 100, 200]
    assert (film.info["loop"], film.info["duration"]) == (0, 2000)


def test_verdicts_are_framed_green_or_red():
    sheet = pictures.verdict_sheet(np.zeros((2, 5, 5, 1), np.uint8), truth=[1, 0], p=[0.5, 0.5])
    red, green = (int(value) for value in sheet[8, 8][:2])
    assert red > green, "0.5 on a real image is wrong"
    second = sheet[8, 8 + 100 + 8 + 6]
    assert second[1] > second[0], "0.5 on a generated image is right"
