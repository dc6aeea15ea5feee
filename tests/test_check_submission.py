"""The check as its users run it."""

import json

import corpus
import numpy as np
import pytest
import record_files
import tensorflow as tf

from gan import pictures
from gan.check_submission import CheckSubmissionOptions, check_submission
from gan.errors import InputError, RunError

SIZE_FLAGS = ("--image_height=4", "--image_width=3", f"--latent_size={corpus.CONTEST.latent_size}")


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    """(real images, training images) as record files."""
    folder = tmp_path_factory.mktemp("faces")
    rows = [[record_files.example(row) for row in corpus.real_images(300, seed)] for seed in (0, 1)]
    return [record_files.write(folder / f"{i}.tfrecords", records) for i, records in enumerate(rows)]


def options(folder, **settings):
    size = {"image_height": 4, "image_width": 3, "latent_size": corpus.CONTEST.latent_size}
    return CheckSubmissionOptions(train_dir=str(folder), **{**size, **settings})


def replay_of(training):
    """A generator that shows training images, a little darker or brighter."""

    def body(z):
        place = tf.cast((z[:, 0] + 1) / 2 * (len(training) - 1), tf.int32)
        return tf.gather(training.astype(np.float32) / 255, place) + 0.05 * tf.abs(z[:, 1:2])

    return body


def knows_by_heart(training):
    """A discriminator that calls real what it has seen."""

    def body(x):
        distances = tf.reduce_sum((x[:, None] - training.astype(np.float32) / 255) ** 2, axis=2)
        return tf.sigmoid(1e5 * (1e-4 - tf.reduce_min(distances, axis=1, keepdims=True)))

    return body


def by_rule(data):
    return {finding["rule"]: finding for finding in data["findings"]}


def test_a_good_submission_passes_every_rule(tmp_path, faces, capsys):
    corpus.team(tmp_path / "team", corpus.GOLD)
    data = check_submission(
        options(
            tmp_path / "team",
            input_data_pattern=faces[0],
            train_data_pattern=faces[1],
            output_dir=str(tmp_path / "out"),
        )
    )
    findings = by_rule(data)
    assert {finding["status"] for finding in findings.values()} <= {"PASS", "WARN"}
    assert set(findings) >= {
        *("files", "size", "time"),
        *(f"generator: {rule}" for rule in ("contract", "output", "determinism", "one by one", "variety", "collapse")),
        *(f"discriminator: {rule}" for rule in ("contract", "output", "determinism", "one by one", "constant", "AUC")),
        *("discriminator: training gap", "generator: memorisation"),
    }
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(findings) + 1 and "may battle" in lines[-1]
    assert json.loads((tmp_path / "out" / "check.json").read_text()) == data
    assert pictures.decode((tmp_path / "out" / "samples.png").read_bytes()).shape == (32, 24)
    assert (tmp_path / "out" / "memorisation.png").exists()


def test_without_images_what_needs_them_is_skipped(tmp_path, faces):
    corpus.team(tmp_path / "team", corpus.GOLD)
    findings = by_rule(check_submission(options(tmp_path / "team", train_data_pattern=faces[1])))
    assert {rule for rule, finding in findings.items() if finding["status"] == "SKIP"} == {
        *("discriminator: AUC", "generator: memorisation"),
        "discriminator: training gap",
    }


def test_a_generator_that_replays_is_flagged_and_a_d_that_knows_its_images_is_warned_of(tmp_path, faces):
    training = corpus.real_images(300, 1)
    corpus.model(tmp_path / "team", replay_of(training), knows_by_heart(training))
    findings = by_rule(
        check_submission(options(tmp_path / "team", input_data_pattern=faces[0], train_data_pattern=faces[1]))
    )
    assert findings["generator: memorisation"]["status"] == "WARN"
    assert "copies?" in findings["generator: memorisation"]["message"]
    assert findings["discriminator: training gap"]["status"] == "WARN"
    assert "by heart" in findings["discriminator: training gap"]["message"]


def test_the_command_ends_with_1_for_a_submission_that_may_not_battle(tmp_path, command):
    corpus.model(tmp_path / "team", discriminate=lambda x: corpus.good_d(x) * 7)
    with pytest.raises(InputError, match="--input_data_pattern"):
        check_submission(options(tmp_path / "team"))  # 4x3 images are no digits
    with pytest.raises(InputError):
        check_submission(options(tmp_path / "team", input_data_pattern=record_files.write(tmp_path / "r", [])))
    real = record_files.write(tmp_path / "real", [record_files.example(row) for row in corpus.real_images(40)])
    flags = (*SIZE_FLAGS, f"--input_data_pattern={real}", "--json")
    done = command("check_submission", f"--train_dir={tmp_path / 'team'}", *flags)
    assert done.returncode == 1
    assert "may not battle: discriminator: output: p lies in" in done.stderr
    assert by_rule(json.loads(done.stdout))["discriminator: output"]["status"] == "FAIL"
    corpus.team(tmp_path / "good", corpus.GOLD)
    assert command("check_submission", f"--train_dir={tmp_path / 'good'}", *flags).returncode == 0


def test_a_folder_without_a_submission(tmp_path, faces, capsys):
    with pytest.raises(RunError, match="holds no submission"):
        check_submission(options(tmp_path, input_data_pattern=faces[0]))
    assert capsys.readouterr().out.startswith("FAIL  files: ")
