"""The notebooks run from end to end, show what they say they show, and are stored without outputs."""

import base64
import io
import json
import os
import re
import subprocess
import zipfile

import nbclient
import nbformat
import numpy as np
import pytest
import record_files
from builds import picture
from conftest import ROOT
from environments import empty_environment
from PIL import Image

from gan import metrics

FOLDER = ROOT / "notebooks"
FILES = sorted(FOLDER.glob("*.ipynb"))
NUMBER = r"(-?[\d.]+(?:e[+-]\d+)?)"


def run(name, tmp_path, monkeypatch, **settings):
    """Executes a notebook in an empty folder, with environment variables; returns {cell id: outputs}."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for variable, value in settings.items():
        monkeypatch.setenv(variable, str(value))
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    resources = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=200, kernel_name="python3", resources=resources).execute()
    return {cell.id: cell.outputs for cell in notebook.cells if cell.cell_type == "code"}


def printed(outputs):
    return "".join(output.text for output in outputs if output.output_type == "stream" and output.name == "stdout")


def images(outputs):
    shown = (output.data for output in outputs if output.output_type == "display_data")
    files = (base64.b64decode(data["image/png"]) for data in shown if "image/png" in data)
    return [np.asarray(Image.open(io.BytesIO(file)).convert("L"), float) for file in files]


def measures(text):
    """{name: [(value, low, high) of each column]} of the table that the notebook prints."""
    estimate = rf"{NUMBER} \({NUMBER} to {NUMBER}\)"
    rows = re.findall(rf"^(\w+) +({estimate}.*)$", text, re.MULTILINE)
    return {row[0]: [tuple(map(float, found)) for found in re.findall(estimate, row[1])] for row in rows}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_notebook_is_stored_without_outputs(file):
    notebook = nbformat.read(file, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert "attachments" not in cell
        if cell.cell_type == "code":
            assert not cell.outputs, cell.id
            assert cell.execution_count is None, cell.id
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert notebook.metadata.kernelspec.name == "python3"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_notebook_uses_nothing_private(file):
    notebook = nbformat.read(file, as_version=4)
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    assert not re.findall(r"(?<!\w)\w+\._[a-z]\w*|import _\w+", code)


@pytest.mark.slow
def test_a_run_is_shown_in_pictures_and_numbers(tmp_path, monkeypatch, tiny_run):
    train_dir, _ = tiny_run
    outputs = run("model_testing", tmp_path, monkeypatch, GAN_SUBMISSION=train_dir, GAN_NUM_IMAGES=120, GAN_SEED=3)
    assert f"{train_dir}/export/step_6: SampleGenerator and SampleDiscriminator, step 6" in printed(outputs["model"])
    assert "1437 training images, 120 real images that were not trained on, 120 generated" in printed(outputs["data"])

    pictures = {"samples": 2, "interpolation": 1, "one-number": 1, "neighbours": 1, "beliefs": 4, "histogram": 1}
    for cell, count in pictures.items():
        shown = images(outputs[cell])
        assert len(shown) == count, cell
        assert all(min(image.shape) > 100 and image.std() > 10 for image in shown), cell

    assert re.search(r"^\d+ of 120 images are too near to a training image .* no flag$", printed(outputs["neighbours"]))
    rights = re.findall(rf"right on {NUMBER}% of (\w+) images", printed(outputs["histogram"]))
    assert [kind for _, kind in rights] == ["generated", "real", "training"]
    assert all(0 <= float(right) <= 100 for right, _ in rights)

    found = measures(printed(outputs["quality"]))
    some = np.random.default_rng(0).normal(size=(40, 2))
    assert list(found) == list(metrics.report(some, some, some))
    for name, (generated, *others) in found.items():
        for value, low, high in (generated, *others):
            assert low <= value <= high, name
    untrained, perfect = found["kid"]
    assert untrained[1] > perfect[2]  # 6 steps are worse than training images in G's place, by more than chance
    assert found["two_sample_accuracy"][0][0] > 0.9
    assert 0.3 < found["two_sample_accuracy"][1][0] < 0.7
    assert list(tmp_path.iterdir()) == []  # the folder that it runs in is left as it was


@pytest.mark.exhaustive
def test_without_any_data_a_small_model_is_trained(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.delenv("GAN_SUBMISSION", raising=False)
    outputs = run("model_testing", tmp_path, monkeypatch, GAN_DEMO_STEPS=8, GAN_NUM_IMAGES=80)
    assert re.search(r"export/step_8: DCGAN4Generator and .*, step 8, \(28, 28, 1\)$", printed(outputs["model"]))
    assert len(images(outputs["samples"])) == 2
    assert set(measures(printed(outputs["quality"]))) >= {"kid", "variety"}


@pytest.mark.exhaustive
def test_without_any_pictures_some_are_drawn_and_explored(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    for name in ("GAN_TRAIN_DATA_PATTERN", "GAN_INPUT"):
        monkeypatch.delenv(name, raising=False)
    outputs = run("explore_data", tmp_path, monkeypatch, GAN_NUM_PICTURES=60, GAN_IMAGE_SIDE=20)
    assert printed(outputs["pictures"]).startswith("drawn: 70 files in ")
    refused = re.findall(r"no usable picture: (\S+) (.*)", printed(outputs["build"]))
    assert [place for place, _ in refused] == ["squares/cut_short.png", "squares/notes.png"]
    assert [reason.split(" (")[0] for _, reason in refused] == ["is truncated", "is no image of a known kind"]

    numbers = printed(outputs["numbers"])
    assert "images: 68 of 20x20x3 (by manifest.json)" in numbers
    assert "labels: 2 (discs: 36, squares: 32)" in numbers
    assert "of a single colour: 2 image(s)" in numbers
    assert "not usable: 0" in numbers
    assert "copies: 4\n" in printed(outputs["copies"])  # three discs and a blank picture
    assert re.search("looking alike: [123]\n", printed(outputs["copies"]))

    splits = printed(outputs["splits"])
    assert sum(map(int, re.findall(r"(\d+) images;", splits))) == 68
    overlaps = re.findall(r"(\w+) images that are in train: (\d+); that look like one there: (\d+)", splits)
    assert overlaps == [("validation", "0", "0"), ("test", "0", "0")]
    assert "image_raw: int64_list of 1,200 values: " in printed(outputs["record"])
    assert "float32 (16, 1200), 0." in printed(outputs["reader"])
    assert "their labels: [0, 1]" in printed(outputs["reader"])
    assert re.findall(r"^(\w+): (\w+)-", printed(outputs["verify"]), re.MULTILINE) == [
        ("same", split) for split in ("train", "validation", "test")
    ]
    for cell, count in {"sheet": 1, "mean": 2, "copies": 2, "reader": 2}.items():
        shown = images(outputs[cell])
        assert len(shown) == count, cell
        assert all(min(image.shape) > 60 and image.std() > 5 for image in shown), cell


@pytest.mark.slow
def test_records_of_ones_own_are_explored(tmp_path, monkeypatch, random_pixels):
    pixels = random_pixels(30, 64)
    pixels[4] = pixels[2]
    folder = tmp_path / "data"
    folder.mkdir()
    train = [record_files.example(row) for row in pixels[:20]]
    patterns = {
        "GAN_TRAIN_DATA_PATTERN": record_files.write(folder / "train", [train[0], b"\xff", *train[1:]]),
        "GAN_VALIDATION_DATA_PATTERN": record_files.write_images(folder / "validation", pixels[[25, 7, 2]]),
    }
    (tmp_path / "empty").mkdir()
    outputs = run("explore_data", tmp_path / "empty", monkeypatch, **patterns)
    assert printed(outputs["pictures"]) == printed(outputs["verify"]) == ""
    numbers = printed(outputs["numbers"])
    assert "images: 23 of 8x8x1" in numbers and "labels: none" in numbers and "not usable: 1\n" in numbers
    assert f"copies: 3\nfor instance {folder}/train record 5 and {folder}/train record 3" in printed(outputs["copies"])
    assert "train: 20 images; no labels\nvalidation: 3 images; no labels\n" in printed(outputs["splits"])
    assert "validation images that are in train: 2; that look like one there: 0" in printed(outputs["splits"])
    assert f"image_raw: int64_list of 64 values: {', '.join(map(str, pixels[0, :8]))} ..." in printed(outputs["record"])
    assert "20 records; the first batch: float32 (16, 64)" in printed(outputs["reader"])
    assert list((tmp_path / "empty").iterdir()) == []


def package(target):
    """Writes the package as a wheel that asks for nothing."""
    code = [file for file in sorted((ROOT / "gan").rglob("*")) if file.is_file() and "__pycache__" not in file.parts]
    with zipfile.ZipFile(target / "gan-1.0-py3-none-any.whl", "w") as wheel:
        for file in code:
            wheel.write(file, file.relative_to(ROOT))
        wheel.writestr("gan-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: gan\nVersion: 1.0\n")
        tags = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        wheel.writestr("gan-1.0.dist-info/WHEEL", tags)
        wheel.writestr("gan-1.0.dist-info/RECORD", "")
    return wheel.filename


@pytest.mark.exhaustive
def test_on_a_hosted_machine_the_package_is_installed_trained_with_and_handed_over(tmp_path):
    """In an environment without the package, as a hosted machine is, but for the libraries, which take minutes."""
    python = empty_environment(tmp_path / "environment")
    (tmp_path / "host").mkdir()
    settings = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    settings |= {"GAN_PRESET": "sample", "GAN_MAX_STEPS": "40", "PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1"}
    line = [python, ROOT / "gan" / "cloud" / "notebook_runner.py", FOLDER / "train_on_free_gpu.ipynb", "executed.ipynb"]
    host = {"cwd": tmp_path / "host", "capture_output": True, "text": True, "timeout": 300}
    alone = subprocess.run(line, env=settings, check=False, **host)
    assert alone.returncode == 1 and "Upload the package and write its name into the cell above" in alone.stderr

    done = subprocess.run(line, env={**settings, "GAN_PACKAGE": package(tmp_path)}, check=False, **host)
    assert done.returncode == 0, done.stdout + done.stderr
    executed = nbformat.read(tmp_path / "host" / "executed.ipynb", as_version=4)
    outputs = {cell.id: cell.outputs for cell in executed.cells if cell.cell_type == "code"}
    assert "to step 40 (--max_steps)" in printed(outputs["train"])
    assert [next(iter(output.data)) for output in outputs["pictures"]] == ["image/gif", "image/png"]
    (curves,) = images(outputs["curves"])
    assert curves.std() > 10
    assert re.search(r"step 40: variety \d+%, KID \d", printed(outputs["curves"]))
    assert "PASS  generator: determinism" in printed(outputs["check"])
    export = tmp_path / "host" / "my_run" / "export" / "step_40"
    with zipfile.ZipFile(tmp_path / "host" / "submission.zip") as archive:
        there = {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}
    assert there == {str(f.relative_to(export)): f.read_bytes() for f in export.rglob("*") if f.is_file()}
    assert len(list((tmp_path / "host" / "my_run" / "images").glob("*.png"))) == 21


@pytest.mark.exhaustive
def test_a_hosted_notebook_builds_records_of_pictures(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    for number in range(40):
        Image.fromarray(picture(number)).save(tmp_path / "mine" / f"{number}.png")
    settings = {"GAN_IMAGE_SIDE": 12, "GAN_IMAGE_CHANNELS": 3, "GAN_PRESET": "sample", "GAN_MAX_STEPS": 10}
    outputs = run("train_on_free_gpu", tmp_path, monkeypatch, GAN_PACKAGE="", GAN_INPUT="mine", **settings)
    assert "trains on records/train-*.tfrecords" in printed(outputs["data"])
    manifest = json.loads((tmp_path / "records" / "manifest.json").read_text())
    count = manifest["splits"]["train"]["images"]
    assert f"on {count} images of 12x12x3, to step 10" in printed(outputs["train"])
    assert "discriminator: training gap" in printed(outputs["check"])
    assert (tmp_path / "submission.zip").exists()
