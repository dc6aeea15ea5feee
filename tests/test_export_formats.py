"""What is exported answers as the run does, in each format's own runtime; the extra `export` has two of these."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import sample_options

from gan import battle_pair, export_formats, guard, model_builder, spec, storage, training_state
from gan.errors import InputError, RunError
from gan.export import ExportOptions, export

PAIRS = {
    "dcgan": ("DCGAN4Generator", "DCGAN4Discriminator"),
    "sngan": ("SNGANGenerator", "SNGANDiscriminator"),
    "r3gan": ("R3GANGenerator", "R3GANDiscriminator"),
    "conditional": ("ConditionalDCGANGenerator", "ConditionalDCGANDiscriminator"),
    "own": ("export_models.GatedGenerator", "my_models.DropoutDiscriminator"),
}
RGB = spec.ContestSpec(12, 14, 3, latent_size=10)

# A program that has Keras alone.
KERAS_CLIENT = """
import sys
import numpy as np
import keras

folder, noise_file, out_file = sys.argv[1:]
generator = keras.saving.load_model(folder + "/generator.keras")
discriminator = keras.saving.load_model(folder + "/discriminator.keras")
images = generator.predict({"noise_input_placeholder": np.load(noise_file)}, verbose=0)["generated_images"]
p = discriminator.predict({"input_batch_raw": images}, verbose=0)["p_for_data"]
assert not [name for name in sys.modules if name.split(".")[0] in ("gan", "my_models", "export_models")]
np.savez(out_file, images=images, p=p)
"""


@pytest.fixture(scope="module", params=PAIRS)
def pair(request):
    """A pair with weights, batch statistics and a fitted p that are not the initial ones."""
    networks = model_builder.build_pair(*PAIRS[request.param], RGB, 4, 3, num_classes=3)
    rng = np.random.default_rng(0)
    for variable in (v for network in networks for v in network.trainable_variables):
        variable.assign(variable + rng.normal(0, 0.1, variable.shape).astype(np.float32))
    for _ in range(5):
        images = networks[0](rng.uniform(-1, 1, (8, RGB.latent_size)).astype(np.float32), training=True)["output"]
        networks[1](images, training=True)
    guard_network = guard.build_network(RGB, 3)
    for variable in guard_network.trainable_variables:
        variable.assign(variable + rng.normal(0, 0.1, variable.shape).astype(np.float32))
    made = battle_pair.BattlePair(*networks, True, guard_network)
    for variable, value in zip(made.calibration.values(), (1.5, -0.25, 0.1), strict=True):
        variable.assign(value)
    return made


def compare(name, pair, folder):
    """Exports, and compares for several batch sizes."""
    rng = np.random.default_rng(1)
    batches = {role: rng.uniform(-1, 1, (7, RGB.input_size(role))).astype(np.float32) for role in spec.ROLES}
    batches[spec.DISCRIMINATOR] = np.abs(batches[spec.DISCRIMINATOR])
    wanted = {role: np.asarray(pair.answer(role, batch)) for role, batch in batches.items()}
    assert wanted[spec.GENERATOR].std(axis=0).max() > 1e-3 and np.ptp(wanted[spec.DISCRIMINATOR]) > 1e-4
    answers = export_formats.write(name, pair, RGB, folder)
    for role, batch in batches.items():
        for count in (7, 1, 2):
            answer = answers[role](batch[:count])
            assert answer.shape == (count, RGB.output_size(role)) and answer.dtype == np.float32
            np.testing.assert_allclose(answer, wanted[role][:count], atol=1e-5, rtol=0)


def test_every_architecture_answers_the_same_in_keras(pair, tmp_path):
    compare("keras", pair, storage.path(str(tmp_path)))


@pytest.mark.extras
@pytest.mark.parametrize("name", ["onnx", "litert"])
def test_every_architecture_answers_the_same_elsewhere(name, pair, tmp_path):
    compare(name, pair, storage.path(str(tmp_path)))


def exported(run, name, output="", **settings):
    return export(ExportOptions(train_dir=str(run), format=name, output=str(output), **settings))


@pytest.fixture
def wanted(tiny_run):
    """(noise, images, p) of the run's networks at step 6."""
    folder = training_state.RunFolder(storage.path(str(tiny_run[0])))
    pair = battle_pair.of_run(folder.options())
    pair.restore(folder.load(6))
    noise = np.random.default_rng(2).uniform(-1, 1, (5, 100)).astype(np.float32)
    images = np.asarray(pair.generate(noise))
    return noise, images, np.asarray(pair.discriminate(images)["p"])


def test_a_run_becomes_a_saved_model(tiny_run, wanted, tmp_path, capsys):
    noise, images, p = wanted
    manifest = exported(tiny_run[0], "saved_model", tmp_path / "out")
    loaded = tf.saved_model.load(str(tmp_path / "out"))
    made = loaded.signatures["generate"](noise_input_placeholder=tf.constant(noise))["generated_images"]
    np.testing.assert_allclose(made, images, atol=1e-5, rtol=0)
    np.testing.assert_allclose(
        loaded.signatures["discriminate"](input_batch_raw=made)["p_for_data"], p, atol=1e-5, rtol=0
    )
    assert json.loads((tmp_path / "out" / "export.json").read_text()) == manifest
    assert (manifest["format"], manifest["step"], manifest["image_shape"]) == ("saved_model", 6, [28, 28, 1])
    files = {str(file.relative_to(tmp_path / "out")) for file in (tmp_path / "out").rglob("*") if file.is_file()}
    assert set(manifest["sha256"]) == files - {"export.json"}
    printed = capsys.readouterr().out
    assert "generator: noise_input_placeholder [N, 100] -> generated_images [N, 784], largest difference " in printed
    assert f"step 6 written to {tmp_path / 'out'}: " in printed and " kB), export.json\n" in printed


@pytest.mark.slow
def test_the_command_and_a_program_that_has_keras_alone_give_the_same_numbers(command, tiny_run, wanted, tmp_path):
    noise, images, p = wanted
    done = command("export", f"--train_dir={tiny_run[0]}", "--format=keras", f"--output={tmp_path / 'out'}")
    assert (done.returncode, done.stderr) == (0, "")
    np.save(tmp_path / "noise.npy", noise)
    files = [tmp_path / name for name in ("out", "noise.npy", "x.npz")]
    line = [sys.executable, "-c", KERAS_CLIENT, *map(str, files)]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    made = np.load(tmp_path / "x.npz")
    np.testing.assert_allclose(made["images"], images, atol=1e-5, rtol=0)
    np.testing.assert_allclose(made["p"], p, atol=1e-5, rtol=0)


@pytest.mark.extras
def test_onnx_has_the_names_of_the_contract(tiny_run, wanted, tmp_path):
    import onnxruntime

    noise, images, p = wanted
    exported(tiny_run[0], "onnx", tmp_path / "out")
    generator, discriminator = (
        onnxruntime.InferenceSession(str(tmp_path / "out" / f"{role.name}.onnx")) for role in spec.ROLES
    )
    (made,) = generator.run(["generated_images"], {"noise_input_placeholder": noise})
    np.testing.assert_allclose(made, images, atol=1e-5, rtol=0)
    np.testing.assert_allclose(discriminator.run(["p_for_data"], {"input_batch_raw": made})[0], p, atol=1e-5, rtol=0)
    assert [generator.get_inputs()[0].shape, generator.get_outputs()[0].shape] == [["N", 100], ["N", 784]]


@pytest.mark.extras
def test_litert_has_the_names_of_the_contract(tiny_run, wanted, tmp_path):
    from ai_edge_litert.interpreter import Interpreter

    noise, images, p = wanted
    exported(tiny_run[0], "litert", tmp_path / "out")
    generate, discriminate = (
        Interpreter(str(tmp_path / "out" / f"{role.name}.tflite")).get_signature_runner(role.signature)
        for role in spec.ROLES
    )
    made = generate(noise_input_placeholder=noise)["generated_images"]
    np.testing.assert_allclose(made, images, atol=1e-5, rtol=0)
    np.testing.assert_allclose(discriminate(input_batch_raw=made)["p_for_data"], p, atol=1e-5, rtol=0)


def test_another_step_goes_to_a_remote_folder_and_the_newest_beside_the_run(tmp_path):
    from gan import train

    run = tmp_path / "run"
    train.train(sample_options(train_dir=str(run), max_steps=2, batch_size=8, save_secs=0))
    assert exported(run, "keras", "ram://exports/keras", step=1)["step"] == 1
    remote = storage.path("ram://exports/keras")
    assert {file.name for file in remote.iterdir()} == {"generator.keras", "discriminator.keras", "export.json"}
    assert exported(run, "keras")["step"] == 2
    beside = run / "export" / "keras_step_2"
    assert (beside / "generator.keras").read_bytes() != (remote / "generator.keras").read_bytes()
    exported(run, "keras")
    assert {file.name for file in beside.iterdir()} == {"generator.keras", "discriminator.keras", "export.json"}


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"step": 5}, "--step=5: .* holds saves of the steps 4, 6|holds saves of the steps 6"),
        ({"train_dir": "/nowhere"}, "--train_dir=/nowhere holds no saved step; train with gan.train first"),
        ({"format": "onnxx"}, "--format=onnxx: expected one of saved_model, onnx, litert, keras"),
        ({"output": "s3://bucket/x"}, "paths of the kind s3:// are not supported"),
    ],
)
def test_what_cannot_be_exported_is_refused(settings, words, tiny_run):
    with pytest.raises(InputError, match=words):
        export(ExportOptions(**{"train_dir": str(tiny_run[0]), **settings}))


def test_nothing_but_an_export_is_replaced(tiny_run, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match=r"holds 'thesis.txt', which no export has written: name a new folder"):
        exported(tiny_run[0], "keras", tmp_path)
    with pytest.raises(InputError, match="is a file; name a folder"):
        exported(tiny_run[0], "keras", tmp_path / "thesis.txt")
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_what_was_put_beside_an_export_is_kept(tiny_run, tmp_path):
    exported(tiny_run[0], "keras", tmp_path / "web")
    (tmp_path / "web" / "app").mkdir()
    (tmp_path / "web" / "app" / "index.html").write_text("mine")
    with pytest.raises(InputError, match=r"holds 'app/index.html', which no export has written: name a new folder"):
        exported(tiny_run[0], "saved_model", tmp_path / "web")
    (tmp_path / "web" / "app" / "index.html").unlink()
    (tmp_path / "web" / "export.json").write_text("{}")
    with pytest.raises(InputError, match=r"export\.json is damaged \('sha256'\); name a new folder"):
        exported(tiny_run[0], "saved_model", tmp_path / "web")
    assert (tmp_path / "web" / "generator.keras").exists()


@pytest.mark.parametrize("name, package", [("onnx", "tf2onnx"), ("litert", "ai_edge_litert")])
def test_without_its_package_a_format_is_refused(name, package, tiny_run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError) as error:
        exported(tiny_run[0], name, tmp_path / "out")
    assert str(error.value) == f"--format={name} needs {package}: pip install 'gan[export]'"
    assert not (tmp_path / "out").exists()


def test_other_numbers_are_not_written(tiny_run, tmp_path, monkeypatch):
    form = export_formats.FORMATS["keras"]
    monkeypatch.setattr(form, "open", lambda folder, role: lambda batch: np.full((len(batch), 784), 0.5, np.float32))
    with pytest.raises(RunError, match=r"generator in --format=keras answers with numbers that differ by 0\..*at most"):
        exported(tiny_run[0], "keras", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def fourier_pair():
    return battle_pair.BattlePair(
        *model_builder.build_pair("export_models.FourierGenerator", "SampleDiscriminator", RGB, 4, 0), calibrated=False
    )


def test_keras_names_the_line_that_is_not_keras(tmp_path):
    call = keras.layers.Layer.__call__
    with pytest.raises(InputError, match=r"--format=keras of FourierGenerator and .*: .*KerasTensor.*models\.py"):
        export_formats.write("keras", fourier_pair(), RGB, storage.path(str(tmp_path)))
    assert keras.layers.Layer.__call__ is call


@pytest.mark.extras
@pytest.mark.parametrize("name", ["onnx", "litert"])
def test_an_operation_that_a_format_does_not_have_is_named(name, tmp_path):
    with pytest.raises(InputError) as error:
        export_formats.write(name, fourier_pair(), RGB, storage.path(str(tmp_path)))
    assert f"--format={name} has no operation like TensorFlow's FFT2D, which a network needs" in str(error.value)
