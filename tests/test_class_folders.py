"""From class folders of RGB pictures to a battle, as an organiser of such a contest would go."""

import json

import numpy as np
import pytest
from PIL import Image

from gan import readers, records, train

SIZE = ("--image_height=32", "--image_width=32", "--image_channels=3")
COLOURS = {"apples": (200, 40, 30), "leaves": (40, 160, 60), "plums": (90, 40, 140)}


@pytest.fixture(scope="module")
def class_folders(tmp_path_factory):
    """A folder for each class, of 80 discs of its colour on gray, 48 pixels wide and 40 high."""
    folder = tmp_path_factory.mktemp("classes")
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:40, :48]
    for name, colour in COLOURS.items():
        (folder / name).mkdir()
        for number in range(80):
            pixels = np.full((40, 48, 3), rng.integers(100, 140), np.uint8)
            disc = np.hypot(x - rng.integers(18, 30), y - rng.integers(15, 25)) < rng.integers(6, 14)
            pixels[disc] = np.clip(np.array(colour) + rng.integers(-30, 30, 3), 0, 255)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def built(class_folders, command, tmp_path_factory):
    output = tmp_path_factory.mktemp("records") / "out"
    splits = "--splits=train:0.6,validation:0.4"
    done = command(
        "build_records",
        f"--input={class_folders}",
        f"--output={output}",
        *("--height=32", "--width=32"),
        "--channels=3",
        splits,
    )
    assert done.returncode == 0, done.stderr
    return output


def test_the_folders_are_the_labels(built):
    data = records.read(f"{built}/*.tfrecords", (32, 32, 3), with_labels=True)
    assert len(data) == 240
    middles = data.pixels.take(np.arange(240)).reshape(-1, 32, 32, 3)[:, 14:18, 14:18].mean((1, 2))
    for label, colour in enumerate(COLOURS.values()):
        np.testing.assert_allclose(np.median(middles[data.labels == label], axis=0), colour, atol=35)
    manifest = json.loads((built / "manifest.json").read_text())
    assert manifest["labels"] == {"apples": 0, "leaves": 1, "plums": 2}


def test_the_reader_takes_them_by_size(built):
    options = train.TrainOptions(image_height=32, image_width=32, image_channels=3)
    data = readers.read(options, f"{built}/train*.tfrecords", "train")
    assert data.shape == (32, 32, 3)


@pytest.mark.exhaustive
def test_from_records_to_a_battle(built, command, tmp_path):
    def run(name, *flags):
        done = command(name, *SIZE, *flags)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    validation, run_folder = f"{built}/validation*.tfrecords", tmp_path / "run"
    small = ("--feature_size=8", "--batch_size=16", "--max_steps=30", "--base_learning_rate=0.002")
    run(
        "train",
        "--preset=imagenet32",
        f"--train_data_pattern={built}/train*.tfrecords",
        f"--train_dir={run_folder}",
        *small,
    )
    run("eval", f"--train_dir={run_folder}", f"--eval_data_pattern={validation}", "--num_generate=90")
    grid = np.asarray(Image.open(run_folder / "eval" / "generate.png"))
    assert grid.shape == (256, 256, 3)
    assert np.std(grid) > 1
    checked = run(
        "check_submission", f"--train_dir={run_folder}", f"--input_data_pattern={validation}", "--sandbox=off"
    )
    assert "FAIL" not in checked
    teams = (f"--team_a=Ours={run_folder}", f"--team_b=Theirs={run_folder}")
    run(
        "battle",
        *teams,
        f"--input_data_pattern={validation}",
        f"--output_dir={tmp_path}/battle",
        "--sandbox=off",
        "--tie_break=seed",
    )
    assert (tmp_path / "battle" / "index.html").exists()
