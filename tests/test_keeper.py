"""What is done beside the steps of a run: they do not wait for it, and it does not see them."""

import contextlib
import threading

import numpy as np
import pytest
from conftest import sample_options

from gan import digits, export_model, keeper, random_noise_generator, storage, train, trainer, training_log
from gan import training_state as state
from gan.errors import RunError

SECONDS = 300  # after which a test gives up
AVERAGED = {"average_half_life": 1000, "average_discriminator": True}


class Run:
    """A run of the sample models whose parts are called one by one."""

    def __init__(self, path, **settings):
        options = sample_options(train_dir=str(path), batch_size=16, **settings)
        data = digits.load("train")
        self.folder = state.RunFolder(storage.path(str(path)))
        self.networks = trainer.Trainer(options, data.shape)
        self.exporter = export_model.Exporter(self.networks.current_pair(), self.networks.contest, {})
        self.log = training_log.TrainingLog(self.folder.path, self.folder.path / "images", data.shape, 0, 9, 16, 0)
        self.keeper = keeper.Keeper(
            options, self.folder, data, self.networks, self.exporter, self.log, lambda: np.zeros([0, 784]), 0
        )
        self._rng = np.random.default_rng(0)

    @contextlib.contextmanager
    def going(self):
        with self.log, self.keeper:
            yield self

    def step(self, number):
        noise = random_noise_generator.generate_noise(16, rng=self._rng)
        self.networks.step(number, self._rng.random((16, 784), np.float32), noise, 0.01)

    def weights(self):
        return {name: variable.numpy() for name, variable in self.networks.variables().items()}


@pytest.fixture
def holding(monkeypatch):
    """Makes a method wait, wherever it is called, for the event that is returned."""

    def hold(owner, name):
        release, original = threading.Event(), getattr(owner, name)

        def method(*args, **kwargs):
            assert release.wait(SECONDS)
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, name, method)
        return release

    return hold


def test_a_save_holds_the_weights_of_its_step(tmp_path, holding):
    release = holding(state.RunFolder, "save")
    with Run(tmp_path, **AVERAGED).going() as run:
        run.step(0)
        expected = run.weights()
        run.keeper.save(1)
        run.keeper.tell()
        run.step(1)
        assert not np.array_equal(run.weights()["generator/000/kernel"], expected["generator/000/kernel"])
        release.set()
        run.keeper.finish()
        saved = run.folder.load(1)
    assert saved.pop("pictures_written") == 0
    assert list(saved) == list(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(saved[name], array, err_msg=name)


@pytest.mark.parametrize("settings, owner", [(AVERAGED, "generator_average"), ({}, "generator")])
def test_an_export_holds_the_weights_of_its_step(settings, owner, tmp_path, holding):
    import tensorflow as tf

    release = holding(export_model.Exporter, "write")
    with Run(tmp_path, **settings).going() as run:
        run.step(0)
        expected = run.weights()
        run.keeper.export(1)
        run.keeper.tell()
        run.step(1)
        release.set()
    reader = tf.train.load_checkpoint(str(tmp_path / "model.ckpt-1"))
    values = [reader.get_tensor(name) for name in reader.get_variable_to_shape_map()]
    kernel = expected[f"{owner}/000/kernel"]
    assert any(value.shape == kernel.shape and np.array_equal(value, kernel) for value in values)


def test_a_save_is_kept_when_it_is_written_and_not_before(tmp_path, holding):
    release = holding(state.RunFolder, "save")
    with Run(tmp_path).going() as run:
        run.keeper.save(7)
        run.keeper.tell()
        assert run.keeper.kept() == "nothing was saved yet"
        release.set()
        run.keeper.finish()
        assert run.keeper.kept() == "the save of step 7 is kept"
        assert run.folder.saved_steps() == [7]


def test_a_step_is_saved_and_exported_once(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(state.RunFolder, "save", lambda self, step, arrays, keep: written.append(("save", step)))
    monkeypatch.setattr(export_model.Exporter, "write", lambda self, folder, step, facts: written.append(step))
    with Run(tmp_path).going() as run:
        for _ in range(2):
            run.keeper.save(3)
            run.keeper.export(3)
    assert written == [("save", 3), 3]


def test_weights_that_are_no_numbers_are_not_saved(tmp_path):
    with pytest.raises(RunError, match="step 5: generator/000/kernel holds values that are not finite"):  # noqa: SIM117
        with Run(tmp_path).going() as run:
            run.networks.generator.variables[0].assign(run.networks.generator.variables[0] * np.nan)
            run.keeper.save(5)
    assert run.folder.saved_steps() == []


def test_the_steps_go_on_while_an_export_is_written(tmp_path, monkeypatch, holding):
    """It waits for the fifth step, which is never made if the steps wait for it."""
    release = holding(export_model.Exporter, "write")
    original, numbers = trainer.Trainer.step, []

    def step(self, number, *args):
        numbers.append(number)
        if len(numbers) == 5:
            release.set()
        return original(self, number, *args)

    monkeypatch.setattr(trainer.Trainer, "step", step)
    settings = {"export_model_steps": 3, "max_steps": 5, "batch_size": 16}
    train.train(sample_options(train_dir=str(tmp_path / "run"), **settings))
    assert sorted(entry.name for entry in (tmp_path / "run" / "export").iterdir()) == ["step_3", "step_5"]


def test_an_error_in_writing_a_save_ends_the_run_without_an_export(tmp_path, monkeypatch):
    def save(self, step, arrays, keep):
        raise OSError(28, "No space left on device", "resume/step_2.npz")

    monkeypatch.setattr(state.RunFolder, "save", save)
    with pytest.raises(OSError, match="No space left on device"):
        train.train(
            sample_options(train_dir=str(tmp_path / "run"), export_model_steps=2, max_steps=100000, batch_size=16)
        )
    assert not (tmp_path / "run" / "checkpoint").exists()
    assert not (tmp_path / "run" / "export").exists()
