"""What `gan.describe_records` says of record files, and what it refuses."""

import json

import numpy as np
import pytest
import record_files
from PIL import Image

from gan import build_records, describe_records, flags, pictures, storage
from gan.data import built, description, heads, statistics, survey
from gan.errors import InputError, RunError

GRAY = (6, 6, 1)


def images(count, shape=GRAY, seed=0):
    """Returns random images, uint8 [count, height * width * channels]."""
    return np.random.default_rng(seed).integers(0, 256, (count, int(np.prod(shape)))).astype(np.uint8)


def photograph(seed, side=50):
    """Returns a random smooth image, uint8 [side * side]."""
    rough = np.random.default_rng(seed).integers(50, 200, (16, 16)).astype(np.uint8)
    return np.asarray(Image.fromarray(rough).resize((side, side), Image.Resampling.BICUBIC)).ravel()


def write(folder, **files):
    """Writes arrays as record files `NAME.tfrecords`; returns the folder's pattern."""
    for name, pixels in files.items():
        record_files.write_images(folder / f"{name}.tfrecords", pixels)
    return f"{folder}/*.tfrecords"


def run(*arguments):
    """Runs the command in this process; returns its exit code."""
    with pytest.raises(SystemExit) as end:
        flags.run(describe_records.main, describe_records.DescribeOptions, ["gan", *map(str, arguments)])
    return end.value.code


@pytest.fixture(scope="module")
def built_folder(tmp_path_factory):
    """What the builder makes of 12 generated pictures in two class folders: images of 8x6, RGB."""
    folder = tmp_path_factory.mktemp("built")
    for number, pixels in enumerate(images(12, (8, 6, 3))):
        place = folder / "raw" / ("discs", "squares")[number % 2] / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.reshape(8, 6, 3)).save(place)
    build_records.build(
        build_records.BuildOptions(
            input=str(folder / "raw"),
            output=str(folder / "records"),
            height=8,
            width=6,
            channels=3,
            splits="train:0.6,test:0.4",
            shards=2,
            workers=1,
        )
    )
    return folder / "records"


@pytest.fixture
def copied(built_folder, tmp_path):
    """A copy of that folder to be spoilt."""
    for file in built_folder.glob("*.*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


@pytest.mark.parametrize("shape", [(6, 6, 1), (4, 4, 3)])
def test_values_are_counted_over_all_files(shape, tmp_path, monkeypatch):
    monkeypatch.setattr(survey, "_CHUNK_BYTES", 4 * int(np.prod(shape)))
    pixels = images(30, shape)
    pixels[3], pixels[20], pixels[7, :9] = 0, 255, 0
    found = description.describe(write(tmp_path, a=pixels[:17], b=pixels[17:]))

    channels = pixels.reshape(-1, shape[2]).astype(float)
    counted = found.statistics
    assert found.survey.shape == shape
    assert counted.count == len(found.survey) == 30
    expected = [np.bincount(channel.astype(int), minlength=256) for channel in channels.T]
    np.testing.assert_array_equal(counted.histogram, expected)
    np.testing.assert_allclose(counted.mean, channels.mean(axis=0))
    np.testing.assert_allclose(counted.standard_deviation, channels.std(axis=0))
    np.testing.assert_array_equal(counted.mean_image, np.rint(pixels.mean(axis=0)).reshape(shape))
    assert counted.black == (channels == 0).all(axis=1).sum() > 0
    assert counted.white == (channels == 255).all(axis=1).sum() > 0
    assert counted.single_colour == [3, 20]
    facts = found.facts()
    assert facts["black_pixels"] == counted.black / len(channels)
    assert facts["single_colour"] == {
        "count": 2,
        "images": [f"{tmp_path}/a.tfrecords record 3", f"{tmp_path}/b.tfrecords record 3"],
    }


def test_one_colour_all_over_need_not_be_gray(tmp_path):
    pixels = np.array([[200, 10, 10] * 4, [200, 10, 10] * 3 + [10, 10, 200]], np.uint8)
    assert description.describe(write(tmp_path, a=pixels)).statistics.single_colour == [0]


def test_copies_are_named_across_patterns(tmp_path):
    pixels = images(6)
    write(tmp_path, a=pixels[:4], b=pixels[[4, 1, 5, 1]])
    found = description.describe(f"{tmp_path}/a.tf*, {tmp_path}/b.tf*")
    assert found.same.tolist() == [[5, 1], [7, 1]]
    assert found.similar.tolist() == []
    assert found.facts()["same"] == {
        "count": 2,
        "pairs": [[f"{tmp_path}/b.tfrecords record {n}", f"{tmp_path}/a.tfrecords record 1"] for n in (1, 3)],
    }


def test_images_that_look_alike_are_no_copies(tmp_path):
    first, other = photograph(0), photograph(1)
    found = description.describe(write(tmp_path, a=np.stack([first, other, first + 3, first])))
    assert found.same.tolist() == [[3, 0]]
    assert found.similar.tolist() == [[2, 0]]


def test_broken_records_are_told_and_do_not_shift_the_numbers(tmp_path):
    good = [record_files.example(row) for row in images(3)]
    short = record_files.example([1, 2, 3])
    file = record_files.write(tmp_path / "a", [short, good[0], b"\xff garbage", good[1], good[1], good[2]])
    with open(file, "ab") as opened:
        opened.write(b"\x09\x00\x00")
    empty = record_files.write(tmp_path / "b", [])
    found = description.describe(f"{tmp_path}/*", GRAY)
    assert len(found.survey) == 4
    assert [found.survey.place(number) for number in range(4)] == [f"{file} record {n}" for n in (1, 3, 4, 5)]
    assert found.same.tolist() == [[2, 1]]
    wrong_size, no_example, cut, nothing = found.faults
    assert wrong_size == f"{file}: record 0 has 3 pixel values, expected 36 (6x6x1)"
    assert no_example.startswith(f"{file}: record 2 is not a tf.train.Example")
    assert cut.startswith(f"{file}: record 6 ") and "truncated" in cut
    assert nothing.startswith(f"{empty}: ") and "no usable record" in nothing
    assert found.facts()["not_usable"] == {"count": 4, "reasons": found.faults}


def test_an_image_that_is_not_there_has_no_place(tmp_path):
    with pytest.raises(IndexError):
        description.describe(write(tmp_path, a=images(2))).survey.place(2)


def test_labels_are_counted_and_those_without(tmp_path):
    record_files.write_images(tmp_path / "a", images(4), labels=[7, -1, 7, 3])
    record_files.write_images(tmp_path / "b", images(2, seed=1))
    seen = description.describe(f"{tmp_path}/*").survey
    assert seen.label_counts() == ({-1: 1, 3: 1, 7: 2}, 2)
    assert seen.label_names() == {}


def test_a_record_without_the_label_of_the_others_is_broken(tmp_path):
    labelled = [record_files.example(row, 5) for row in images(heads._LOOKED_AT)]
    record_files.write(tmp_path / "a", [*labelled, record_files.example(images(1)[0])])
    found = description.describe(str(tmp_path / "a"))
    assert found.survey.label_counts() == ({5: len(labelled)}, 0)
    assert "has no feature 'label'" in found.faults[0]


@pytest.mark.parametrize("compression", ["", "GZIP"])
def test_formats_and_sizes_of_files(compression, tmp_path):
    pixels = images(2)
    record_files.write_images(tmp_path / "a", pixels, compression=compression)
    record_files.write(tmp_path / "b", [record_files.bytes_example(bytes(row)) for row in pixels], compression)
    found = description.describe(f"{tmp_path}/*")
    assert [(file["format"], file["images"], file["bytes"]) for file in found.facts()["files"]] == [
        ("integers", 2, (tmp_path / "a").stat().st_size),
        ("bytes", 2, (tmp_path / "b").stat().st_size),
    ]
    assert found.same.tolist() == [[2, 0], [3, 1]]


@pytest.mark.parametrize("shape", [(50, 50, 1), (28, 28, 1), (32, 32, 3), (64, 64, 3), (1, 1, 1), (1, 1, 3)])
def test_squares_are_recognised(shape, tmp_path):
    found = heads.look_at(write(tmp_path, a=images(2, shape)))
    assert (found.shape, found.shape_found) == (shape, f"by the number of pixel values, {np.prod(shape)}")


def test_flags_and_manifests_settle_the_size(built_folder):
    pattern = f"{built_folder}/*.tfrecords"
    assert (heads.look_at(pattern).shape, heads.look_at(pattern).shape_found) == ((8, 6, 3), "by manifest.json")
    assert heads.look_at(pattern, (12, 12, 1)).shape_found == "as the flags say"
    assert description.describe(pattern, (12, 12, 1)).survey.shape == (12, 12, 1)


def test_a_manifest_that_does_not_fit_is_not_believed(copied):
    for file in copied.glob("*.tfrecords"):
        file.unlink()
    assert heads.look_at(write(copied, a=images(1))).shape == (6, 6, 1)


def test_label_names_are_those_of_the_manifest(built_folder):
    seen = description.describe(f"{built_folder}/*.tfrecords").survey
    assert seen.label_counts() == ({0: 6, 1: 6}, 0)
    assert seen.label_names() == {0: "discs", 1: "squares"}
    assert describe_records._labels_text(seen) == "2 (discs: 6, squares: 6)"


def test_label_names_that_manifests_disagree_on_are_not_told(built_folder, copied, tmp_path):
    manifest = json.loads((copied / "manifest.json").read_text())
    manifest["labels"] = {"cats": 0, "dogs": 1}
    (copied / "manifest.json").write_text(json.dumps(manifest))
    seen = description.describe(f"{built_folder}/train*.tfrecords,{copied}/train*.tfrecords").survey
    assert seen.label_names() == {}


def test_images_in_other_files_are_found(tmp_path):
    pixels = np.stack([photograph(seed) for seed in range(6)])
    one, two = (str(tmp_path / name) for name in ("one", "two"))
    record_files.write_images(one, pixels[:4])
    record_files.write_images(two, np.stack([pixels[4], pixels[2], pixels[0] + 3, pixels[2]]))
    found = description.describe(one, against=two)
    assert found.overlap.same.tolist() == [[2, 1]]
    assert found.overlap.similar.tolist() == [[0, 2]]
    facts = found.facts()["against"]
    assert (facts["patterns"], facts["images"]) == (two, 4)
    assert facts["same"] == {"count": 1, "pairs": [[f"{one} record 2", f"{two} record 1"]]}
    nothing = description.describe(one, against=record_files.write_images(tmp_path / "three", pixels[5:]))
    assert nothing.facts()["against"]["same"] == nothing.facts()["against"]["similar"] == {"count": 0, "pairs": []}


def test_what_is_broken_in_other_files_counts_too(tmp_path):
    one = record_files.write_images(tmp_path / "one", images(2))
    two = record_files.write(tmp_path / "two", [record_files.example(images(1)[0]), b"\xff"])
    assert "two: record 1 is not a tf.train.Example" in description.describe(one, against=two).faults[0]
    assert run(one, f"--against={two}") == 1


def test_the_sheet_shows_the_same_images_in_whatever_order(tmp_path, monkeypatch):
    monkeypatch.setattr(statistics, "_SHEET", (4, 2))
    monkeypatch.setattr(survey, "_CHUNK_BYTES", 5 * 36)
    pixels = np.concatenate([images(30), images(30)])
    shown = []
    for name, order in (("a", np.arange(60)), ("b", np.random.default_rng(1).permutation(60))):
        file = record_files.write_images(tmp_path / name, pixels[order])
        found = description.describe(file)
        sheet = pictures.cells(describe_records.contact_sheet(found), GRAY, 4, 8)
        numbers, chosen = found.statistics.sample
        np.testing.assert_array_equal(pixels[order][numbers], chosen)
        np.testing.assert_array_equal(sheet, chosen[np.argsort(numbers)])
        shown.append({image.tobytes() for image in sheet})
    assert shown[0] == shown[1]
    assert len(shown[0]) == 8  # no copies


def test_the_sheet_is_in_the_order_of_labels(tmp_path):
    pixels = images(3)
    file = record_files.write_images(tmp_path / "a", pixels, labels=[2, 0, 1])
    sheet = describe_records.contact_sheet(description.describe(file))
    np.testing.assert_array_equal(pictures.cells(sheet, GRAY, 3, 3), pixels[[1, 2, 0]])


@pytest.mark.parametrize("shape, size", [((50, 50, 1), (20, 10)), ((256, 128, 3), (12, 3)), ((4096, 4096, 3), (1, 1))])
def test_a_sheet_of_large_images_has_fewer(shape, size):
    assert statistics.sheet_size(shape) == size


def test_the_histogram_is_logarithmic_where_a_bar_hides_the_others(tmp_path):
    scales = []
    for name, pixels in (("even", images(4, (8, 8, 3))), ("dark", images(4) // 200 * 100)):
        found = description.describe(record_files.write_images(tmp_path / name, pixels))
        (axes,) = describe_records.value_histogram(found.statistics).axes
        scales.append((axes.get_yscale(), len(axes.patches)))
    assert scales == [("linear", 3), ("log", 1)]


def test_the_command(tmp_path, command):
    pixels = np.repeat(np.array([0, 0, 0, 100, 255], np.uint8), 36).reshape(5, 36)
    files = write(tmp_path, a=pixels[:2], b=pixels[2:])
    done = command("describe_records", files, f"--output_dir={tmp_path / 'out'}")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("files: 2, 0.0 MB, format of the pixels: integers")
    assert lines[1:5] == [
        "images: 5 of 6x6x1 (by the number of pixel values, 36)",
        "labels: none",
        "gray values, 0 to 255: mean 71.0; standard deviation 99.8",
        "pixels: 60.00% black, 20.00% white",
    ]
    assert lines[5] == "    0 to  15  60.00% " + "#" * 40
    assert lines[11] == "   96 to 111  20.00% " + "#" * 13
    assert lines[12] == "  112 to 127   0.00%"
    assert lines[21] == f"of a single colour: 5 image(s), the first: {tmp_path}/a.tfrecords record 0"
    assert lines[22:24] == [
        "copies of an image before: 2",
        f"  {tmp_path}/a.tfrecords record 1 equals {tmp_path}/a.tfrecords record 0",
    ]
    assert "not usable: 0" in lines
    assert {file.name for file in (tmp_path / "out").iterdir()} == {
        *("description.json", "contact_sheet.png", "mean_image.png", "value_histogram.png")
    }
    facts = json.loads((tmp_path / "out" / "description.json").read_text())
    assert facts == json.loads(json.dumps(description.describe(files).facts()))
    mean_image = pictures.decode((tmp_path / "out" / "mean_image.png").read_bytes())
    assert mean_image.shape == (396, 396) and (mean_image == 71).all()
    assert pictures.decode((tmp_path / "out" / "contact_sheet.png").read_bytes()).shape == (6, 18)


def test_nothing_is_written_unless_a_folder_is_named(tmp_path, monkeypatch, capsys):
    files = write(tmp_path, a=images(2))
    monkeypatch.chdir(tmp_path)
    assert run(files) == 0
    assert [file.name for file in tmp_path.iterdir()] == ["a.tfrecords"]
    assert "written" not in capsys.readouterr().out


def test_files_and_output_need_not_be_local():
    record_files.write_images("ram://described/in/a", images(3))
    assert run("ram://described/in/*", "--output_dir=ram://described/out") == 0
    facts = storage.read_json(storage.path("ram://described/out/description.json"))
    assert facts["images"] == 3


def test_broken_data_is_described_and_ends_with_1(tmp_path, capsys):
    bad = record_files.example(range(36), name="\x1b[31mimage")
    file = record_files.write(tmp_path / "a", [record_files.example(images(1)[0]), *[bad] * 12])
    assert run(file, f"--output_dir={tmp_path / 'out'}") == 1
    printed = capsys.readouterr()
    assert "images: 1 of 6x6x1" in printed.out
    assert "not usable: 12\n" in printed.out
    assert f"  {file}: record 1 has no feature 'image_raw' (it has: \\x1b[31mimage)" in printed.out
    assert "  and 2 more" in printed.out
    assert printed.err == "error: 12 record(s) or file(s) are not usable, see above\n"
    assert json.loads((tmp_path / "out" / "description.json").read_text())["not_usable"]["count"] == 12


def test_a_file_that_begins_with_broken_records_is_read_where_flags_tell_the_size(tmp_path, capsys):
    records = [b"\xff"] * heads._LOOKED_AT + [record_files.example(images(1)[0])]
    file = record_files.write(tmp_path / "a", records)
    assert run(file) == 2
    assert "there is no image to find the size by: " in capsys.readouterr().err
    assert run(file, "--image_height=6", "--image_width=6") == 1
    printed = capsys.readouterr().out
    assert "format of the pixels: unknown\nimages: 1 of 6x6x1 (as the flags say)\n" in printed


def test_many_labels_and_pairs_are_cut_short(tmp_path, capsys):
    labels = np.arange(30)
    record_files.write_images(tmp_path / "a", np.repeat(images(1), 30, axis=0), labels)
    assert run(tmp_path / "a") == 0
    printed = capsys.readouterr().out
    assert "labels: 30 (0: 1, 1: 1, " in printed and "19: 1, ...)" in printed
    assert "copies of an image before: 29\n" in printed and "  and 19 more\n" in printed


def refused_files(kind, folder):
    """Writes record files of a kind that cannot be described; returns the flags of the command."""
    one, two = folder / "one", folder / "two"
    if kind == "not there":
        return [one]
    if kind == "one of two sizes":
        record_files.write_images(one, images(1))
        record_files.write_images(two, images(1, (5, 5, 1)))
        return [f"{one},{two}"]
    if kind == "compared with itself":
        record_files.write_images(one, images(1))
        return [one, f"--against={folder}/o*"]
    if kind == "compared with another size":
        record_files.write_images(one, images(1))
        record_files.write_images(two, images(1, (5, 5, 1)))
        return [one, f"--against={two}"]
    if kind == "no size":
        record_files.write_images(one, images(1, (80, 100, 1)))
    elif kind == "encoded":
        record_files.write(one, [record_files.bytes_example(b"\xff\xd8\xff" + bytes(33))])
    elif kind == "other feature":
        record_files.write(one, [record_files.example(range(36), name="image/encoded")])
    elif kind == "no TFRecord file":
        one.write_text("path,label\n" * 9)
    elif kind == "empty":
        record_files.write(one, [])
    elif kind == "wrong size":
        record_files.write_images(one, images(1))
        return [one, "--use_mnist"]
    return [one]


@pytest.mark.parametrize(
    "kind, words",
    {
        "not there": "no file matches",
        "one of two sizes": "one has images of 36 pixel values, {folder}/two of 25: look at them one after the other",
        "compared with itself": "one would be compared with itself",
        "compared with another size": "two: no usable image in 1 file(s); the first fault: ",
        "no size": "images of 8000 pixel values may have several sizes; say by --image_height, --image_width and "
        "--image_channels which, for instance 80x100x1 or 100x80x1, ",
        "encoded": "holds JPEG or PNG files and no pixels",
        "other feature": "record 0 has no feature 'image_raw' (it has: image/encoded)",
        "no TFRecord file": "is no TFRecord file",
        "empty": "no usable record",
        "wrong size": "record 0 has 36 pixel values, expected 784 (28x28x1)",
    }.items(),
)
def test_what_cannot_be_described_is_refused(kind, words, tmp_path, capsys):
    assert run(*refused_files(kind, tmp_path)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words.format(folder=tmp_path) in line


def test_a_prime_number_of_values_has_no_examples(tmp_path):
    with pytest.raises(InputError, match=r"--image_channels which$"):
        heads.look_at(write(tmp_path, a=images(1, (7, 1, 1))))


def test_manifests_of_two_sizes_with_as_many_values_settle_nothing(built_folder, copied):
    manifest = json.loads((copied / "manifest.json").read_text())
    manifest["settings"]["transform"] |= {"height": 6, "width": 8}
    (copied / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="may have several sizes"):
        heads.look_at(f"{built_folder}/*.tfrecords,{copied}/*.tfrecords")


@pytest.mark.parametrize(
    "other", ["--against=b", "--output_dir=out", "--use_mnist", "--image_height=2 --image_width=2"]
)
def test_flags_that_verify_has_no_use_for_are_refused(other, capsys):
    assert run("a", "--verify", *other.split()) == 2
    assert "--verify only compares files with their manifest.json" in capsys.readouterr().err


def test_what_the_builder_made_is_as_its_manifest_says(built_folder, capsys):
    assert run(f"{built_folder}/*.tfrecords", "--verify") == 0
    lines = capsys.readouterr().out.splitlines()
    manifest = json.loads((built_folder / "manifest.json").read_text())
    files = [file for split in manifest["splits"].values() for file in split["files"]]
    assert lines == [
        *sorted(f"same: {built_folder / file['name']}: {file['records']} records" for file in files),
        f"all is as manifest.json says: {len(files)} file(s)",
    ]


def test_each_way_to_differ_from_a_manifest_is_told(copied, capsys):
    one, two, other, _ = sorted(copied.glob("*.tfrecords"))
    data = one.read_bytes()
    one.write_bytes(data[: len(data) - 5])  # the last record is cut short
    two.unlink()
    record_files.write_images(copied / "test-extra.tfrecords", images(1))
    text = (copied / "manifest.json").read_text()
    records = next(file for file in json.loads(text)["splits"]["train"]["files"] if file["name"] == other.name)
    assert run(f"{copied}/*.tfrecords", "--verify") == 1
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    before = json.loads(text)["splits"]["test"]["files"][0]
    assert lines[0] == (
        f"differs: {one}: {before['records'] - 1} whole records, manifest.json says {before['records']}; "
        f"SHA-256 {storage.sha256(storage.path(one))}, manifest.json says {before['sha256']}"
    )
    assert lines[1] == f"surplus: {copied}/test-extra.tfrecords: manifest.json does not name it"
    assert lines[2] == f"same: {other}: {records['records']} records"
    assert lines[4].startswith(f"missing: {two}: manifest.json names it, with ")
    assert printed.err == "error: 3 of 5 file(s) are not as manifest.json says\n"


def test_a_changed_byte_differs_though_the_records_are_as_many(copied):
    file = next(copied.glob("train*.tfrecords"))
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    findings = {str(finding.file): finding for finding in built.verify(f"{copied}/train*")}
    assert findings[str(file)].verdict == "differs"
    manifest = json.loads((copied / "manifest.json").read_text())
    for split in manifest["splits"].values():
        for entry in split["files"]:
            entry["sha256"] = storage.sha256(storage.path(copied / entry["name"]))
            entry["records"] += entry["name"] != file.name
    (copied / "manifest.json").write_text(json.dumps(manifest))
    assert {finding.verdict for finding in built.verify(f"{copied}/t*.tfrecords")} == {"differs"}


def test_only_what_the_pattern_fits_can_be_missing(copied):
    for file in copied.glob("test*.tfrecords"):
        file.unlink()
    train = [finding.verdict for finding in built.verify(f"{copied}/train*.tfrecords")]
    every = [finding.verdict for finding in built.verify(f"{copied}/*.tfrecords")]
    assert train == ["same", "same"]
    assert every == ["same", "same", "missing", "missing"]


@pytest.mark.parametrize("text", [None, "{", '{"name": "app"}', "[1]", '{"settings": {"transform": 3}}', "\xff"])
def test_without_a_manifest_of_the_builder_there_is_nothing_to_compare_with(text, tmp_path):
    pattern = write(tmp_path, a=images(1))
    if text is not None:
        (tmp_path / "manifest.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=r"has no manifest\.json of gan\.build_records to compare with"):
        list(built.verify(pattern))
    assert heads.look_at(pattern).shape == GRAY
    assert description.describe(pattern).survey.label_names() == {}


def test_verify_is_a_run_error_for_those_who_call_it(copied):
    next(copied.glob("train*.tfrecords")).unlink()
    with pytest.raises(RunError, match=r"1 of 4 file\(s\)"):
        describe_records.verify(describe_records.DescribeOptions(pattern=f"{copied}/*.tfrecords", verify=True))
