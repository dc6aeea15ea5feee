import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from conftest import ROOT

from gan import battle_pair, export_model, model_builder, spec, storage
from gan.errors import RunError

PAIRS = [
    ("SampleGenerator", "SampleDiscriminator"),
    ("DCGANGenerator", "DCGANDiscriminator"),
    ("my_models.NoisyGenerator", "my_models.DropoutDiscriminator"),
]
CONTEST = spec.ContestSpec(28, 30, 1)

# A harness that knows TF1's interface alone, as the first contest's did.
TF1_CLIENT = """
import sys
import numpy as np
import tensorflow.compat.v1 as tf

tf.disable_v2_behavior()
folder, noise_file, out_file = sys.argv[1:]
latest = tf.train.latest_checkpoint(folder)
saver = tf.train.import_meta_graph(latest + ".meta", clear_devices=True)
tensors = [tf.get_collection(name) for name in (
    "noise_input_placeholder", "generated_images", "input_batch_raw", "p_for_data")]
assert [len(found) for found in tensors] == [1, 1, 1, 1]
noise, images, raw, p = (found[0] for found in tensors)
with tf.Session() as session:
    saver.restore(session, latest)
    z = np.load(noise_file).astype(np.float64)
    made = session.run(images, {noise: z})
    beliefs = session.run(p, {raw: made.astype(np.float64)})
    one = session.run(images, {noise: z[:1]})
graph = tf.get_default_graph()
assert not tf.get_collection(tf.GraphKeys.QUEUE_RUNNERS)
np.savez(out_file, made=made, p=beliefs, one=one)
"""


def pair(generator, discriminator):
    return battle_pair.BattlePair(generator, discriminator, calibrated=False)


@pytest.fixture(scope="module", params=PAIRS, ids=lambda pair: pair[0].split(".")[-1])
def exported(request, tmp_path_factory):
    """(folder, generator, discriminator), with batch statistics that are not the initial ones."""
    generator, discriminator = model_builder.build_pair(*request.param, CONTEST, feature_size=4, seed=3)
    rng = np.random.default_rng(0)
    for variable in [*generator.non_trainable_variables, *discriminator.non_trainable_variables]:
        if "moving" in variable.name:
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
    folder = storage.path(str(tmp_path_factory.mktemp("export")))
    export_model.Exporter(pair(generator, discriminator), CONTEST, {"seed": 3}).write(folder, 12)
    return folder, generator, discriminator


@pytest.fixture(scope="module")
def expected(exported):
    _, generator, discriminator = exported
    noise = np.random.default_rng(1).uniform(-1, 1, (7, 100)).astype(np.float32)
    images = np.asarray(generator(noise, training=False)["output"])
    return noise, images, np.asarray(discriminator(images, training=False)["predictions"])


def test_a_client_that_knows_only_tf1_gets_the_same_numbers(exported, expected, tmp_path):
    noise, images, p = expected
    np.save(tmp_path / "noise.npy", noise)
    line = [sys.executable, "-c", TF1_CLIENT, str(exported[0]), str(tmp_path / "noise.npy"), str(tmp_path / "out.npz")]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    made = np.load(tmp_path / "out.npz")
    np.testing.assert_allclose(made["made"], images, atol=1e-6, rtol=0)
    np.testing.assert_allclose(made["p"], p, atol=1e-6, rtol=0)
    np.testing.assert_allclose(made["one"], images[:1], atol=1e-6, rtol=0)


def test_the_saved_model_gives_the_same_numbers(exported, expected):
    noise, images, p = expected
    loaded = tf.saved_model.load(str(exported[0] / "export" / "step_12"))
    generate, discriminate = loaded.signatures["generate"], loaded.signatures["discriminate"]
    made = generate(noise_input_placeholder=tf.constant(noise))["generated_images"]
    np.testing.assert_allclose(made, images, atol=1e-6, rtol=0)
    np.testing.assert_allclose(discriminate(input_batch_raw=made)["p_for_data"], p, atol=1e-6, rtol=0)
    for count in (1, 30, 64):
        assert generate(noise_input_placeholder=tf.zeros([count, 100]))["generated_images"].shape == (count, 840)
        assert discriminate(input_batch_raw=tf.zeros([count, 840]))["p_for_data"].shape == (count, 1)


def test_the_graph_holds_inference_alone(exported):
    meta = tf.compat.v1.MetaGraphDef.FromString((exported[0] / "model.ckpt-12.meta").read_bytes())
    nodes = [*meta.graph_def.node, *(node for f in meta.graph_def.library.function for node in f.node_def)]
    ops = {node.op for node in nodes}
    assert not [op for op in ops if "Queue" in op or "Iterator" in op or "Dataset" in op or "Apply" in op]
    assert not [node for node in nodes if node.op.startswith("FusedBatchNorm") and node.attr["is_training"].b]
    assert not [op for op in ops if op.startswith(("Random", "StatelessRandom"))], "dropout and noise are off"
    assert {node.device for node in nodes} <= {"", "/device:CPU:0"}


def test_no_file_holds_a_path_of_this_machine(exported):
    for file in storage.files_below(exported[0]):
        content = file.read_bytes()
        assert str(exported[0]).encode() not in content, file
        assert b"/tmp" not in content, file
        assert str(ROOT).encode() not in content, file
    assert (exported[0] / "checkpoint").read_text().startswith('model_checkpoint_path: "model.ckpt-12"\n')


def test_submission_json_vouches_for_the_files(exported):
    for folder in (exported[0], exported[0] / "export" / "step_12"):
        facts = json.loads((folder / "submission.json").read_text())
        assert (facts["format"], facts["step"], facts["seed"]) == (1, 12, 3)
        assert set(facts["versions"]) == {"gan", "tensorflow", "keras"}
        for name, digest in facts["sha256"].items():
            assert storage.sha256(folder / name) == digest
    assert export_model.is_complete(exported[0], 12)
    assert not export_model.is_complete(exported[0], 13)


def test_a_second_export_follows_the_weights(tmp_path):
    generator, discriminator = model_builder.build_pair("SampleGenerator", "SampleDiscriminator", CONTEST, 4, 0)
    folder = storage.path("ram://second_export")
    exporter = export_model.Exporter(pair(generator, discriminator), CONTEST, {})
    exporter.write(folder, 1)
    for variable in generator.variables:
        variable.assign(variable * 0)
    exporter.write(folder, 2)
    names = {file.name for file in folder.iterdir()}
    assert {"checkpoint", "submission.json", "model.ckpt-1.meta", "model.ckpt-2.meta", "export"} <= names
    assert storage.read_json(folder / "submission.json")["step"] == 2
    for step, wanted in ((1, False), (2, True)):
        loaded = tf.saved_model.load(str(folder / "export" / f"step_{step}"))
        images = loaded.signatures["generate"](tf.ones([1, 100]))["generated_images"].numpy()
        assert np.array_equal(images, np.full_like(images, 0.5)) == wanted


def test_a_later_export_is_what_a_first_one_would_be(tmp_path):
    """A session that is resumed writes its graphs anew; nobody sees in the files that there was a pause."""
    folders = [storage.path(str(tmp_path / name)) for name in ("later", "first")]
    generator, discriminator = model_builder.build_pair("DCGANGenerator", "DCGANDiscriminator", CONTEST, 4, 0)
    battling = battle_pair.BattlePair(generator, discriminator, calibrated=True)
    later = export_model.Exporter(battling, CONTEST, {})
    later.write(folders[0], 1)
    for variable in [*generator.variables, *discriminator.variables, *battling.calibration.values()]:
        variable.assign(variable * 0.5)
    later.write(folders[0], 2)
    export_model.Exporter(battling, CONTEST, {}).write(folders[1], 2)
    below = [
        {str(file.relative_to(folder)): file.read_bytes() for file in storage.files_below(folder)} for folder in folders
    ]
    of_step_1 = ("model.ckpt-1.", "export/step_1/")
    below[0] = {name: content for name, content in below[0].items() if not name.startswith(of_step_1)}
    assert below[0].keys() == below[1].keys()
    for name in below[0].keys() - {"export/step_2/saved_model.pb", "export/step_2/submission.json"}:  # numbered names
        assert below[0][name] == below[1][name], name


def test_weights_that_are_no_numbers_are_not_exported(tmp_path):
    generator, discriminator = model_builder.build_pair("SampleGenerator", "SampleDiscriminator", CONTEST, 4, 0)
    generator.variables[0].assign(generator.variables[0] * np.nan)
    folder = storage.path(str(tmp_path / "run"))
    with pytest.raises(RunError, match="step 5: a weight is not a finite number"):
        export_model.Exporter(pair(generator, discriminator), CONTEST, {}).write(folder, 5)
    assert not folder.exists()
