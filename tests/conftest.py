"""What several tests share: record files, a small trained run, and running the real commands."""

import pathlib
import subprocess
import sys

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parent.parent


@pytest.fixture(scope="session")
def command():
    """Runs `python -m gan.NAME` with flags in a process of its own."""

    def run(name, *flags, cwd=ROOT, **settings):
        line = [sys.executable, "-m", f"gan.{name}", *map(str, flags)]
        return subprocess.run(line, cwd=cwd, capture_output=True, text=True, check=False, timeout=300, **settings)

    return run


@pytest.fixture(scope="session", autouse=True)
def few_images_are_measured():
    """At each export of a run; a thousand would take most of the time of a run of three steps."""
    from gan import sample_quality

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sample_quality, "NUM_MEASURED", 100)
        yield


def sample_options(**settings):
    """Returns the `TrainOptions` of the sample models, which train in milliseconds."""
    from gan import train

    return train.TrainOptions.of_preset("sample", **settings)


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory):
    """A run of 6 steps of the sample models on the embedded digits: (train_dir, image_dir)."""
    from gan import train

    folder = tmp_path_factory.mktemp("tiny")
    train.train(
        sample_options(
            train_dir=str(folder / "run"),
            image_dir=str(folder / "pictures"),
            max_steps=6,
            export_model_steps=4,
            export_image_steps=3,
            batch_size=32,
            negatives="Grain,Ghost",
        )
    )
    return folder / "run", folder / "pictures"


@pytest.fixture
def random_pixels():
    """Makes uint8 [count, size]."""
    return lambda count, size, seed=0: np.random.default_rng(seed).integers(0, 256, (count, size)).astype(np.uint8)


@pytest.fixture(scope="session")
def sandbox_mode():
    """Returns "require" where bubblewrap works, else "off": what the tests need to run at all."""
    from gan.arena import sandbox

    return "off" if sandbox.obstacle() else "require"


@pytest.fixture(scope="session")
def bubblewrap():
    """Skips a test where bubblewrap does not work, and says why."""
    from gan.arena import sandbox

    if sandbox.obstacle():
        pytest.skip(sandbox.obstacle())


@pytest.fixture
def storage_server(monkeypatch):
    """An `emulator.Server` that stands for Google Cloud Storage, for this process and for commands."""
    import emulator

    from gan import gs

    server = emulator.Server()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
    gs.forget_client()
    yield server
    gs.forget_client()
    server.close()
    assert not server.unspent(), "a fault that was ordered never happened"
