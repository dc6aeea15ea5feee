"""What travels to a job: the project's package, own modules, and nothing that is secret."""

import shutil
import sys
import tarfile
import zipfile

import pytest
from conftest import ROOT

import gan
from gan import storage
from gan.cloud import keys, package, start, task
from gan.errors import InputError, RunError

SENTINEL = "kept-to-myself-4711"
# Where people keep keys, in and beside the code.
HIDING_PLACES = (
    *(".env", "credentials.json", ".netrc", "id_rsa", "wandb/settings", ".git/config", "service_account.json"),
    *("gan/.env", "gan/key.pem", "gan/service_account.json", "gan/cloud/credentials.json", "gan/arena/.netrc"),
)
# In two parts, so that nobody takes this file for one that holds keys.
KEYS = {
    "private": ("-----BEGIN OPENSSH PRIV", "ATE KEY-----"),
    "amazon": ("AK", "IA" + 16 * "A"),
    "amazon_session": ("AS", "IA" + 16 * "A"),
    "google_api": ("AI", "za" + 35 * "a"),
    "google_token": ("ya2", "9." + 60 * "a"),
    "google_secret": ("GOC", "SPX-" + 28 * "a"),
    "google_refresh": ('"refresh_token": "1', "//0g" + 60 * "a"),
    "github": ("gh", "p_" + 36 * "a"),
    "github_fine": ("github", "_pat_" + 82 * "a"),
    "hugging_face": ("h", "f_" + 34 * "a"),
    "wandb": ("WANDB_API", "_KEY=" + 40 * "0"),
    "wandb_in_python": ("wandb.login(api_k", 'ey="' + 40 * "0" + '")'),
    "slack": ("xo", "xb-123456789012-123456789012-" + 24 * "a"),
    "openai": ("sk-pr", "oj-" + 40 * "a"),
    "address": ("https://user:", "passw0rd@host/simple"),
}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of what the package is built from, with secrets strewn in it."""
    root = tmp_path_factory.mktemp("checkout")
    for name in package.SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, root / name)
    for place in HIDING_PLACES:
        (root / place).parent.mkdir(exist_ok=True)
        (root / place).write_text(SENTINEL)
    return root


@pytest.fixture(scope="module")
def wheel(checkout, tmp_path_factory):
    return package.build(checkout, tmp_path_factory.mktemp("wheel"))


def members(archive):
    """Returns {name: bytes} of a wheel or an sdist."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as file:
            return {name: file.read(name) for name in file.namelist()}
    with tarfile.open(archive) as file:
        return {entry.name: file.extractfile(entry).read() for entry in file if entry.isfile()}


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_no_secret_gets_into_the_package(kind, checkout, wheel, tmp_path):
    archive = wheel if kind == "wheel" else package.build(checkout, tmp_path, kind)
    held = members(archive)
    assert len(held) > 50
    assert not [name for name in held if name.endswith(HIDING_PLACES)]
    assert not [name for name, content in held.items() if SENTINEL.encode() in content]
    keys.refuse(held)


@pytest.mark.parametrize("kind", KEYS)
def test_what_looks_like_a_key_is_refused(kind):
    with pytest.raises(InputError, match="here holds what looks like a key"):
        keys.refuse({"here": f"x = '{''.join(KEYS[kind])}'".encode()})


def test_what_only_resembles_a_key_passes():
    harmless = (
        "https://host:443/a@b https://{user}:{password}@host api_key=None task-" + 40 * "a" + " sha1 = " + 40 * "0"
    )
    keys.refuse({"here": harmless.encode()})


def test_the_package_is_whole_and_the_checkout_untouched(checkout, wheel):
    held = members(wheel)
    code = {file.relative_to(checkout).as_posix() for file in (checkout / "gan").rglob("*.py")}
    assert code <= set(held)
    assert held["gan/feature_weights/faces.npz"] == (ROOT / "gan/feature_weights/faces.npz").read_bytes()
    assert wheel.name == f"gan-{gan.__version__}-py3-none-any.whl"
    built = {file.name for file in checkout.iterdir()} & {"build", "dist", "gan.egg-info"}
    assert built == set()


def test_a_task_holds_what_the_package_holds(checkout, wheel, monkeypatch):
    monkeypatch.setattr(gan, "__file__", str(checkout / "gan" / "__init__.py"))
    held = {name: content for name, content in members(wheel).items() if name.startswith("gan/")}
    assert {place.removeprefix("code/"): content for place, content in task._own_code().items()} == held


def test_newer_code_does_not_meet_older_code(checkout, wheel, own, storage_server, tmp_path):
    """The same name of a job, before and after a new version, and after a module was renamed."""
    names, folders = ("my_models.py", "my_losses"), []
    output = storage.path(storage_server.bucket("team")) / "run" / "package"
    for number, modules in enumerate(names):
        found = package.own_modules(modules, "gan.train", ())
        newer = shutil.copy(wheel, tmp_path / f"gan-1.{number}-py3-none-any.whl")
        folders.append(output / package.digest(checkout, found))
        package.upload(newer, found, folders[-1])
    for number, folder in enumerate(folders):
        start.unpack(folder, tmp_path / str(number))
        assert [name for name in names if (tmp_path / str(number) / name).exists()] == [names[number]]


def test_a_package_is_named_by_its_content(checkout, own):
    found = package.own_modules("my_models.py", "gan.train", ())
    first = package.digest(checkout, found)
    assert first == package.digest(checkout, found) != package.digest(checkout, {})
    (own / "my_models.py").write_text("NAME = 'another'")
    assert package.digest(checkout, found) != first


def test_a_package_that_cannot_be_built_says_why(checkout, tmp_path):
    broken = shutil.copytree(checkout, tmp_path / "broken")
    (broken / "setup.py").write_text("raise ValueError('the moon is full')")
    with pytest.raises(RunError, match="cannot be built: ValueError: the moon is full"):
        package.build(broken, tmp_path)


def test_without_the_library_that_builds_it_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "build", None)
    with pytest.raises(InputError, match=r"needs: pip install 'gan\[cloud\]'"):
        package.build(ROOT, tmp_path)


def test_there_is_no_checkout_where_it_was_installed(monkeypatch, tmp_path):
    assert package.checkout() == ROOT
    monkeypatch.setattr(gan, "__file__", str(tmp_path / "gan" / "__init__.py"))
    with pytest.raises(InputError, match=r"is none \(no setup.py\): run this command in the folder of a checkout"):
        package.checkout()


@pytest.fixture
def own(tmp_path, monkeypatch):
    """The current folder, with modules of one's own in it."""
    (tmp_path / "my_models.py").write_text("NAME = 'mine'")
    (tmp_path / "my_losses" / "deep").mkdir(parents=True)
    (tmp_path / "my_losses" / "__init__.py").write_text("")
    (tmp_path / "my_losses" / "deep" / "one.py").write_text("")
    (tmp_path / "my_losses" / "key.pem").write_text(SENTINEL)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_own_modules_go_along_as_code_alone(own):
    found = package.own_modules("my_models.py, my_losses/", "gan.train", ())
    assert sorted(found) == ["my_losses/__init__.py", "my_losses/deep/one.py", "my_models.py"]


@pytest.mark.parametrize(
    ("module", "arguments", "missing"),
    [
        ("gan.train", ["--generator_model=my_models.G"], "my_models.py"),
        ("gan.train", ["--gradient_penalties=R1Penalty,my_losses.deep.one.P"], "my_losses"),
        ("gan.train", ["my_models.G"], "my_models.py"),  # the second word of two
        ("my_models", [], "my_models.py"),
    ],
)
def test_own_modules_that_will_be_missed_are_asked_for(own, module, arguments, missing):
    with pytest.raises(InputError, match=f"{missing} is named by what will run, .*: add --own_modules={missing}$"):
        package.own_modules("", module, arguments)
    assert package.own_modules(missing, module, arguments)


def test_other_words_with_points_are_no_modules(own):
    arguments = ["--train_data_pattern=gs://b/my_models.tfrecords", "--base_learning_rate=0.1", "--preset=gan.x"]
    assert package.own_modules("", "gan.train", arguments) == {}


@pytest.mark.parametrize("name", ["absent.py", "../my_models.py", "my_losses/key.pem", "."])
def test_own_modules_that_are_none_are_refused(own, name):
    with pytest.raises(InputError, match="is no Python file and no package folder in the current folder"):
        package.own_modules(name, "gan.train", ())


def test_what_was_uploaded_is_unpacked_in_the_job(checkout, wheel, own, storage_server, tmp_path):
    folder = storage.path(storage_server.bucket("team")) / "run" / "package"
    package.upload(wheel, package.own_modules("my_models.py,my_losses", "gan.train", ()), folder)
    start.unpack(folder, tmp_path / "code")
    assert (tmp_path / "code" / "my_models.py").read_text() == "NAME = 'mine'"
    assert (tmp_path / "code" / "my_losses" / "deep" / "one.py").exists()
    assert (tmp_path / "code" / "gan" / "train.py").read_text() == (checkout / "gan" / "train.py").read_text()


def test_own_modules_with_a_key_stay_here(wheel, own):
    (own / "my_models.py").write_text(f"KEY = 'AKIA{16 * 'A'}'")
    modules = package.own_modules("my_models.py", "gan.train", ())
    with pytest.raises(InputError, match=r"my_models.py holds what looks like a key"):
        package.upload(wheel, modules, storage.path(own / "package"))
    assert not (own / "package").exists()


@pytest.mark.parametrize("wheels", [0, 2])
def test_a_folder_without_the_package_is_refused(wheels, tmp_path):
    for number in range(wheels):
        (tmp_path / f"{number}.whl").write_text("")
    with pytest.raises(InputError, match=f"holds {wheels} wheels; expected the folder that gan.submit has uploaded"):
        start.unpack(storage.path(tmp_path), tmp_path / "code")


def test_an_image_that_lacks_a_library_is_told(wheel, tmp_path, command):
    demanding = tmp_path / "package" / wheel.name
    demanding.parent.mkdir()
    with zipfile.ZipFile(demanding, "w") as archive:
        for name, content in members(wheel).items():
            archive.writestr(name, content.replace(b"Requires-Dist: tqdm", b"Requires-Dist: a-library-of-tomorrow"))
    done = command("cloud.start", demanding.parent, "gan.train", "--", "--dry_run")
    assert done.returncode == 2
    assert "the image does not fit the package: gan" in done.stderr
    assert "requires a-library-of-tomorrow, which is not installed.: build the image anew" in done.stderr


@pytest.mark.exhaustive
def test_a_job_runs_the_package_and_leaves_its_results_where_the_service_wants_them(wheel, own, tmp_path, command):
    (own / "my_models.py").write_text("from gan.models import SampleGenerator\n\nclass Mine(SampleGenerator): pass\n")
    folder = storage.path(tmp_path / "package")
    package.upload(wheel, package.own_modules("my_models.py", "gan.train", ()), folder)
    places = {
        "AIP_MODEL_DIR": tmp_path / "job" / "model",
        "AIP_CHECKPOINT_DIR": tmp_path / "job" / "checkpoints",
        "AIP_TENSORBOARD_LOG_DIR": tmp_path / "job" / "logs",
    }
    done = command(
        *("cloud.start", folder, "gan.train", "--", "--preset=sample", "--generator_model=my_models.Mine"),
        *("--max_steps=2", "--batch_size=16", "--export_image_steps=1"),
        env={"PATH": "/usr/bin:/bin", **{name: f"{place}/" for name, place in places.items()}},
    )
    assert done.returncode == 0, done.stderr
    assert (places["AIP_MODEL_DIR"] / "saved_model.pb").exists()
    assert storage.read_json(storage.path(places["AIP_MODEL_DIR"] / "submission.json"))["step"] == 2
    assert (places["AIP_CHECKPOINT_DIR"] / "model.ckpt-2.index").exists()
    assert list(places["AIP_TENSORBOARD_LOG_DIR"].glob("events.*"))
    assert not list(places["AIP_CHECKPOINT_DIR"].glob("events.*"))
    run = storage.read_json(storage.path(places["AIP_CHECKPOINT_DIR"] / "run.json"))
    assert run["options"]["generator_model"] == "my_models.Mine"
