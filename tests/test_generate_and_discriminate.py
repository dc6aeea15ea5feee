import csv
import json

import graphs
import numpy as np
import pytest
import record_files
from PIL import Image

from gan import digits, flags, storage
from gan.errors import InputError
from gan.generate_and_discriminate import BattleOptions, generate_and_discriminate


def battle(tiny_run, output, **settings):
    settings = {"G_train_dir": str(tiny_run[0]), "D_train_dir": str(tiny_run[0]), **settings}
    return generate_and_discriminate(BattleOptions(output_dir=str(output), **settings))


def categories(file):
    with file.open() as lines:
        rows = list(csv.reader(lines))
    assert rows[0] == ["Id", "Category"]
    assert [int(number) for number, _ in rows[1:]] == list(range(len(rows) - 1))
    return [int(category) for _, category in rows[1:]]


def test_the_files_of_the_first_contest(tiny_run, tmp_path):
    result = battle(tiny_run, tmp_path / "out")
    names = sorted(file.name for file in (tmp_path / "out" / "images").iterdir())
    assert names == [f"{i:02}.png" for i in range(30)]
    assert Image.open(tmp_path / "out" / "images" / "00.png").mode == "L"
    truth, predictions = (categories(tmp_path / "out" / f"{name}.csv") for name in ("ground_truth", "predictions"))
    assert sorted(truth) == [0] * 15 + [1] * 15
    assert result["score"] == sum(a == b for a, b in zip(truth, predictions, strict=True))
    assert result == json.loads((tmp_path / "out" / "result.json").read_text())
    assert [image["verdict"] for image in result["images"]] == predictions
    assert all((image["p"] > 0.5) == image["verdict"] for image in result["images"])
    assert (tmp_path / "out" / "verdicts.png").exists()


def test_the_images_marked_real_are_real(tiny_run, tmp_path):
    battle(tiny_run, tmp_path)
    known = {row.tobytes() for row in digits.load("validation").pixels.take(np.arange(360))}
    for i, real in enumerate(categories(tmp_path / "ground_truth.csv")):
        pixels = np.asarray(Image.open(tmp_path / "images" / f"{i:02}.png"))
        assert (pixels.tobytes() in known) == bool(real)


def test_the_seed_decides_everything_but_the_time(tiny_run, tmp_path):
    found = {}
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        result = battle(tiny_run, tmp_path / name, seed=seed)
        del result["timing"], result["flags"]
        found[name] = result
    assert found["a"] == found["b"] != found["c"]
    images = [(tmp_path / name / "images" / "07.png").read_bytes() for name in "abc"]
    assert images[0] == images[1] != images[2]


def test_fifty_images_alone_are_the_check_of_a_submission(tiny_run, tmp_path):
    result = battle(tiny_run, tmp_path, num_generate=50)
    assert (result["out_of"], len(list((tmp_path / "images").iterdir()))) == (100, 100)


def test_a_smaller_battle_leaves_no_image_of_a_larger_one(tiny_run, tmp_path):
    battle(tiny_run, tmp_path, num_generate=20)
    (tmp_path / "images" / "notes.txt").write_text("mine")
    battle(tiny_run, tmp_path, num_generate=3, num_total_images=5)
    names = sorted(file.name for file in (tmp_path / "images").iterdir())
    assert names == ["00.png", "01.png", "02.png", "03.png", "04.png", "notes.txt"]


def test_images_that_no_battle_wrote_are_left_alone(tiny_run, tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "99.png").write_text("mine")
    battle(tiny_run, tmp_path)
    assert (tmp_path / "images" / "99.png").read_text() == "mine"


@pytest.mark.parametrize("folder", ["ram://battle", "ram://battle_slash/"])
def test_the_output_may_lie_on_a_remote_file_system(folder, tiny_run):
    battle(tiny_run, folder)
    assert (storage.path(folder) / "ground_truth.csv").read_text().startswith("Id,Category\n0,")
    assert len(list((storage.path(folder) / "images").iterdir())) == 30


def test_a_slash_at_the_end_makes_no_difference(tiny_run, tmp_path):
    battle(tiny_run, f"{tmp_path}/res/")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["res"]


def test_real_images_come_from_record_files(tiny_run, tmp_path, random_pixels):
    pixels = random_pixels(40, 784)
    file = record_files.write_images(tmp_path / "f", pixels)
    battle(tiny_run, tmp_path, input_data_pattern=file)
    reals = [i for i, real in enumerate(categories(tmp_path / "ground_truth.csv")) if real]
    shown = {np.asarray(Image.open(tmp_path / "images" / f"{i:02}.png")).tobytes() for i in reals}
    assert len(shown) == 15
    assert shown <= {row.tobytes() for row in pixels}
    with pytest.raises(InputError, match="50 real images are needed, the data holds 40"):
        battle(tiny_run, tmp_path, input_data_pattern=file, num_generate=50)


def test_other_sizes_than_the_data_are_refused(tiny_run, tmp_path, random_pixels):
    file = record_files.write_images(tmp_path / "f", random_pixels(40, 2500))
    with pytest.raises(InputError, match=r"record 0 has 2500 pixel values, expected 784 \(28x28x1\)"):
        battle(tiny_run, tmp_path, input_data_pattern=file)


def test_a_stranger_without_a_folder_of_ours_battles_too(tiny_run, tmp_path):
    """A generator from a TF1 graph against a discriminator of ours."""
    with graphs.tf1_checkpoint(tmp_path / "team"):
        noise = graphs.v1.placeholder(graphs.tf.float32, [None, 100])
        graphs.collect(noise_input_placeholder=noise, generated_images=graphs.linear(noise, 784))
    assert battle(tiny_run, tmp_path / "out", G_train_dir=str(tmp_path / "team"))["out_of"] == 30


def test_faces_need_a_pattern(tmp_path):
    with graphs.tf1_checkpoint(tmp_path):
        graphs.generator_of(lambda z: graphs.linear(z, 2500), (None, 100))
        graphs.discriminator_of(lambda x: graphs.tf.reduce_mean(x, 1, keepdims=True), (None, 2500))
    with pytest.raises(InputError, match=r"images of 50x50x1 are not the embedded digits .*give --input_data_pattern"):
        battle((tmp_path,), tmp_path / "out")


def test_there_must_be_real_images():
    with pytest.raises(InputError, match="--num_total_images=15: expected more than --num_generate=15"):
        flags.parse(BattleOptions, ["x", "--num_total_images=15"])


def test_the_command(command, tiny_run, tmp_path):
    flags_ = [f"--G_train_dir={tiny_run[0]}", f"--D_train_dir={tiny_run[0]}", f"--output_dir={tmp_path}/out"]
    done = command("generate_and_discriminate", *flags_)
    assert done.returncode == 0, done.stderr
    assert "score of D: " in done.stdout
    assert "running time of the generator: " in done.stdout
    done = command("generate_and_discriminate", *flags_, f"--G_train_dir={tmp_path}")
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {tmp_path} holds no submission")


def test_a_discriminator_of_another_size_is_named(tiny_run, tmp_path):
    with pytest.raises(
        InputError, match="the discriminator takes images of 784 numbers, those of this battle have 2500"
    ):
        battle(tiny_run, tmp_path, image_height=50, image_width=50)


def test_the_result_says_which_files_played(tiny_run, tmp_path):
    played = battle(tiny_run, tmp_path)["submissions"]["generator"]
    assert played["checkpoint"] == "model.ckpt-6"
    meta = storage.path(str(tiny_run[0] / "model.ckpt-6.meta"))
    assert played["sha256"]["model.ckpt-6.meta"] == storage.sha256(meta)
