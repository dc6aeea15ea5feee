import dataclasses
import subprocess
import sys

import pytest

from gan import flags, train
from gan.errors import InputError, Interrupted, RunError

COMMANDS = ("train", "eval", "generate_and_discriminate", "linear_interpolation")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(flags.SizeOptions):
    """For the tests."""

    steps: int | None = flags.flag(None, "steps", lower=1)
    rate: float = flags.flag(0.5, "rate", above=0, upper=1)
    kind: str = flags.flag("a", "kind", choices=("a", "b"))
    fast: bool = flags.flag(True, "fast")


def parse(*arguments):
    return flags.parse(Options, ["command", *arguments])


def test_values_have_their_types_and_defaults():
    assert parse() == Options()
    assert parse("--steps=3", "--rate=1", "--kind", "b", "--nofast") == Options(steps=3, rate=1.0, kind="b", fast=False)


@pytest.mark.parametrize(
    "argument, words",
    [
        ("--image_hight=3", "Did you mean: image_height"),
        ("--steps=many", "many"),
        ("--steps=0", "--steps=0: expected at least 1"),
        ("--rate=0", "--rate=0.0: expected more than 0 and at most 1"),
        ("--rate=nan", "--rate=nan: expected more than 0"),
        ("--rate=inf", "--rate=inf: expected more than 0"),
        ("--kind=c", "expected one of a, b"),
        ("steps=3", "unexpected argument 'steps=3'"),
        ("--flagfile=/no/such/file", "/no/such/file"),
        ("--image_channels=1", "needs --image_height"),
        ("--image_height=8", "go together"),
    ],
)
def test_a_mistake_is_named(argument, words):
    with pytest.raises(InputError, match=words.replace("(", r"\(")):
        parse(argument)


def test_mnist_has_its_own_size():
    assert parse("--use_mnist").image_shape == (28, 28, 1)
    assert parse("--image_height=20", "--image_width=30", "--image_channels=3").image_shape == (20, 30, 3)
    assert parse().image_shape is None
    with pytest.raises(InputError, match="28x28x1"):
        parse("--use_mnist", "--image_height=20", "--image_width=30")


def test_flags_come_from_a_file_too(tmp_path):
    file = tmp_path / "flags.txt"
    file.write_text("--steps=7\n# a comment\n--kind=b\n")
    assert parse(f"--flagfile={file}", "--kind=a") == Options(steps=7, kind="a")


@pytest.mark.parametrize(
    "error, code",
    [(None, 0), (InputError("x"), 2), (RunError("x"), 1), (OSError("x"), 1), (Interrupted("x", 15), 143)],
)
def test_exit_codes(error, code, capsys):
    def command(_):
        if error:
            raise error

    with pytest.raises(SystemExit) as end:
        flags.run(command, Options, ["command"])
    assert end.value.code == code
    assert (capsys.readouterr().err == "") == (error is None)


def test_what_fails_on_the_way_out_does_not_hide_the_signal(capsys):
    def command(_):
        try:
            raise Interrupted("stopped", 15)
        finally:
            raise RunError("a worker is gone")

    with pytest.raises(SystemExit) as end:
        flags.run(command, Options, ["command"])
    assert end.value.code == 143 and capsys.readouterr().err == "stopped\n"


def test_a_remote_path_that_cannot_be_reached_is_one_line(capsys):
    import tensorflow as tf

    def command(_):
        raise tf.errors.UnavailableError(None, None, "no route to\n gs://x")

    with pytest.raises(SystemExit, match="1"):
        flags.run(command, Options, ["command"])
    assert capsys.readouterr().err == "error: no route to gs://x\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_help_and_mistakes_answer_without_tensorflow(name):
    """Importing TensorFlow takes seconds, so neither answer may wait for it."""
    for argument, code in (("--help", 0), ("--no_such_flag=1", 2)):
        script = f"""
import runpy, sys
sys.argv = ["gan.{name}", "{argument}"]
try:
    runpy.run_module("gan.{name}", run_name="__main__", alter_sys=True)
except SystemExit as end:
    assert end.code == {code}, end.code
assert not {{"tensorflow", "keras", "sklearn", "matplotlib"}} & set(sys.modules)
"""
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_runs_as_a_script_from_the_folder_above(name, tmp_path):
    from conftest import ROOT

    (tmp_path / "gan").symlink_to(ROOT / "gan")
    line = [sys.executable, f"gan/{name}.py", "--help"]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--seed=0" in done.stdout


def test_every_flag_of_the_first_contest_is_still_there():
    known = {name.removeprefix("--") for name, _, _ in flags.describe(train.TrainOptions)}
    assert known >= {
        *("train_dir", "train_data_pattern", "generator_model", "discriminator_model", "start_new_model", "batch_size"),
        *(
            "label_loss",
            "regularization_penalty",
            "base_learning_rate",
            "learning_rate_decay",
            "num_epochs",
            "max_steps",
        ),
        *("learning_rate_decay_examples", "export_model_steps", "num_readers", "optimizer", "clip_gradient_norm"),
        *("log_device_placement", "export_generated_images", "export_image_steps", "image_dir", "use_mnist"),
    }
