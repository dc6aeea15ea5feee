"""The notebook runs from end to end, shows what it says it shows, and is stored without outputs."""

import base64
import io
import re

import nbclient
import nbformat
import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

from gan import metrics

FILE = ROOT / "notebooks" / "model_testing.ipynb"
NUMBER = r"(-?[\d.]+(?:e[+-]\d+)?)"


def run(tmp_path, monkeypatch, **settings):
    """Executes the notebook in an empty folder, with environment variables; returns {cell id: outputs}."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for name, value in settings.items():
        monkeypatch.setenv(name, str(value))
    notebook = nbformat.read(FILE, as_version=4)
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


def test_the_notebook_is_stored_without_outputs():
    notebook = nbformat.read(FILE, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert "attachments" not in cell
        if cell.cell_type == "code":
            assert not cell.outputs, cell.id
            assert cell.execution_count is None, cell.id
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert notebook.metadata.kernelspec.name == "python3"


def test_the_notebook_uses_nothing_private():
    notebook = nbformat.read(FILE, as_version=4)
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    assert not re.findall(r"(?<!\w)\w+\._[a-z]\w*|import _\w+", code)


@pytest.mark.slow
def test_a_run_is_shown_in_pictures_and_numbers(tmp_path, monkeypatch, tiny_run):
    train_dir, _ = tiny_run
    outputs = run(tmp_path, monkeypatch, GAN_SUBMISSION=train_dir, GAN_NUM_IMAGES=120, GAN_SEED=3)
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


@pytest.mark.slow
def test_without_any_data_a_small_model_is_trained(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.delenv("GAN_SUBMISSION", raising=False)
    outputs = run(tmp_path, monkeypatch, GAN_DEMO_STEPS=8, GAN_NUM_IMAGES=80)
    assert re.search(r"export/step_8: DCGAN4Generator and .*, step 8, \(28, 28, 1\)$", printed(outputs["model"]))
    assert len(images(outputs["samples"])) == 2
    assert set(measures(printed(outputs["quality"]))) >= {"kid", "variety"}
