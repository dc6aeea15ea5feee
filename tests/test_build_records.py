"""The command that makes record files: what comes of a build, and what its user sees."""

import fcntl
import hashlib
import json
import os
import pathlib
import pty
import struct
import subprocess
import sys
import termios

import data_files
import numpy as np
import pytest
from bad_images import BAD_IMAGES, encoded
from builds import CLASSES, TREE, build, content, examples, listed, options, picture, pixels_of, png, records_in, table
from builds import split_of as splits_of
from conftest import ROOT
from PIL import Image

from gan import build_records, pictures, records, storage
from gan.data import decoding, fingerprints, preparation, reports, runners, shards
from gan.errors import InputError

HALVES = "a:0.5,b:0.5"


@pytest.fixture
def photos(tmp_path):
    return data_files.folder(tmp_path / "photos", TREE)


@pytest.fixture
def classes(tmp_path):
    return data_files.folder(tmp_path / "classes", CLASSES)


@pytest.mark.parametrize("kind", shards.FORMATS)
def test_records_tables_and_manifest_say_the_same(kind, classes, tmp_path):
    """Each row of a table is compared with its record, with its picture, and with the manifest."""
    folder = tmp_path / "out"
    made = build(classes, folder, splits="train:0.6,test:0.4", shards=3, channels=3, format=kind)
    assert json.loads((folder / "manifest.json").read_text()) == made
    assert (made["images"], made["refused"]) == (60, {"count": 0, "files": []})
    assert made["labels"] == {"cat": 0, "dog": 1, "eel": 2}
    assert made["settings"]["transform"] == {"height": 8, "width": 8, "channels": 3, "resize": "crop"}
    assert (made["settings"]["seed"], made["settings"]["kind"]) == (0, kind)
    transform, places = decoding.Transform(8, 8, 3), []
    for name in ("train", "test"):
        split, rows = made["splits"][name], table(folder / f"{name}.csv")
        assert split["images"] == len(rows) == sum(file["records"] for file in split["files"])
        assert split["labels"] == {label: sum(row["label"] == label for row in rows) for label in made["labels"]}
        assert [file["name"] for file in split["files"]] == [f"{name}-0000{n}-of-00003.tfrecords" for n in range(3)]
        read = {file["name"]: examples(folder / file["name"]) for file in split["files"]}
        for file in split["files"]:
            data = (folder / file["name"]).read_bytes()
            assert (file["bytes"], file["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
            assert file["records"] == len(read[file["name"]])
        joined = "".join(file["sha256"] for file in split["files"])
        assert split["sha256"] == hashlib.sha256(joined.encode()).hexdigest()
        for row in rows:
            example = read[row["file"]][int(row["record"])]
            wanted = decoding.decode(CLASSES[row["place"]], transform)
            np.testing.assert_array_equal(pixels_of(example), wanted.ravel())
            assert row["sha256"] == fingerprints.content_hash(wanted).hex()
            assert row["label"] == row["place"].split("/")[0]
            assert list(example.features.feature["label"].int64_list.value) == [made["labels"][row["label"]]]
            assert (row["group"], row["same_as"], row["looks_like"]) == ("", "", "")
        assert len({(row["file"], row["record"]) for row in rows}) == len(rows)
        assert [row["place"] for row in rows] == sorted(row["place"] for row in rows)
        places += [row["place"] for row in rows]
    assert sorted(places) == sorted(CLASSES)
    assert len(content(folder)) == 2 * (3 + 1 + 1) + 1


@pytest.mark.parametrize("kind", shards.FORMATS)
def test_the_projects_own_reader_reads_them(kind, classes, tmp_path):
    build(classes, tmp_path / "out", height=32, width=32, channels=3, format=kind, shards=2)
    found = records.read(f"{tmp_path}/out/train-*.tfrecords", (32, 32, 3), with_labels=True)
    rows = sorted(table(tmp_path / "out" / "train.csv"), key=lambda row: (row["file"], int(row["record"])))
    assert found.labels.tolist() == [("cat", "dog", "eel").index(row["label"]) for row in rows]
    wanted = [decoding.decode(CLASSES[row["place"]], decoding.Transform(32, 32, 3)).ravel() for row in rows]
    np.testing.assert_array_equal(found.pixels.take(np.arange(len(found))), wanted)


@pytest.mark.parametrize("resize", decoding.RESIZES)
def test_every_way_to_resize_reaches_the_records(resize, photos, tmp_path):
    build(photos, tmp_path / "out", resize=resize, height=6, width=10, splits="all:1")
    row = table(tmp_path / "out" / "all.csv")[0]
    wanted = decoding.decode(TREE[row["place"]], decoding.Transform(6, 10, 1, resize))
    example = examples(tmp_path / "out" / row["file"])[int(row["record"])]
    np.testing.assert_array_equal(pixels_of(example), wanted.ravel())


def test_without_flags_comes_what_the_contest_reads(photos, tmp_path):
    made = build_records.build(build_records.BuildOptions(input=str(photos), output=str(tmp_path / "out")))
    assert {name: len(split["files"]) for name, split in made["splits"].items()} == {
        **{"train": 1, "validation": 1, "test": 1}
    }
    assert made["settings"]["shares"] == {"train": 0.9, "validation": 0.05, "test": 0.05}
    example = examples(tmp_path / "out" / "train-00000-of-00001.tfrecords")[0]
    assert list(example.features.feature) == ["image_raw"]
    assert len(example.features.feature["image_raw"].int64_list.value) == 50 * 50


@pytest.mark.parametrize("channels", [1, 3])
def test_a_contact_sheet_shows_the_first_records(channels, photos, tmp_path):
    made = build(photos, tmp_path / "out", height=9, width=7, channels=channels, splits="train:0.7,test:0.3")
    for name in ("train", "test"):
        count = made["splits"][name]["images"]
        sheet = np.asarray(Image.open(tmp_path / "out" / f"{name}.png"))
        columns = min(20, count)
        assert sheet.shape[:2] == (-(-count // columns) * 9, columns * 7)
        cells = pictures.cells(sheet.reshape(*sheet.shape[:2], channels), (9, 7, channels), columns, count)
        read = examples(tmp_path / "out" / f"{name}-00000-of-00001.tfrecords")
        np.testing.assert_array_equal(cells, [pixels_of(example) for example in read])


@pytest.mark.parametrize("limit, images", [(1 << 20, 60), (64 * 25 + 63, 25), (64, 1), (10, 1)])
def test_a_contact_sheet_of_large_images_shows_fewer(limit, images, photos, tmp_path, monkeypatch):
    """Two hundred of 4096 x 4096 pixels would be 10 GB."""
    monkeypatch.setattr(reports, "_SHEET_BYTES", limit)
    build(photos, tmp_path / "out", splits="all:1")
    columns = min(20, images)
    assert Image.open(tmp_path / "out" / "all.png").size == (columns * 8, -(-images // columns) * 8)


def test_duplicates_are_reported_and_on_one_side(tmp_path):
    """Of each of twenty pictures two copies in other files, and one that is a little brighter."""
    tree, near = {}, []
    transform = decoding.Transform(40, 40, 1)
    for number in range(20):
        pixels = picture(number, 40, 40)
        brighter = encoded(np.minimum(pixels, 254) + np.uint8(1), "PNG")
        tree |= {f"{number:02}/a.png": encoded(pixels, "PNG"), f"{number:02}/b.bmp": encoded(pixels, "BMP")}
        tree |= {f"{number:02}/c.png": encoded(pixels, "PNG") + b"other bytes", f"{number:02}/d.png": brighter}
        keys = {fingerprints.perceptual_key(decoding.decode(data, transform)) for data in list(tree.values())[-4:]}
        near += [number] if len(keys) == 1 else []
    assert len(near) >= 15
    source = data_files.folder(tmp_path / "in", tree)
    made = build(source, tmp_path / "out", height=40, width=40, splits=HALVES, labels="none")
    assert made["duplicates"] == {"exact": 40, "near": len(near)}
    found = splits_of(tmp_path / "out", "a", "b")
    for number in range(20):
        split, first = found[f"{number:02}/a.png"]
        assert (first["same_as"], first["looks_like"]) == ("", "")
        for name in ("b.bmp", "c.png"):
            other_split, copy = found[f"{number:02}/{name}"]
            assert (copy["same_as"], copy["looks_like"], other_split) == (first["place"], first["place"], split)
        other_split, brighter = found[f"{number:02}/d.png"]
        assert brighter["same_as"] == ""
        assert (brighter["looks_like"], other_split) == (first["place"], split) or number not in near
    assert {split for split, _ in found.values()} == {"a", "b"}


def test_a_group_is_in_one_split(tmp_path):
    lines = ["path,who", *(f"{number:03}.png,person {number % 12}" for number in range(60))]
    source = data_files.folder(tmp_path / "in", listed(lines))
    made = build(source / "list.csv", tmp_path / "out", labels="none", group_column="who", splits=HALVES)
    assert all(split["images"] and split["images"] % 5 == 0 for split in made["splits"].values())
    groups = [{row["group"] for row in table(tmp_path / "out" / f"{name}.csv")} for name in "ab"]
    assert not groups[0] & groups[1]
    assert groups[0] | groups[1] == {f"person {number}" for number in range(12)}


def test_a_group_may_be_part_of_a_name(photos, tmp_path):
    made = build(photos, tmp_path / "out", group_pattern=r"\d\d(\d)", splits=HALVES)
    assert all(split["images"] and split["images"] % 6 == 0 for split in made["splits"].values())


def test_an_image_stays_in_its_split_when_others_come(tmp_path):
    found = []
    for count in (40, 60):
        source = data_files.folder(tmp_path / f"in-{count}", dict(list(TREE.items())[:count]))
        build(source, tmp_path / f"out-{count}", splits=HALVES)
        found.append({place: split for place, (split, _) in splits_of(tmp_path / f"out-{count}", "a", "b").items()})
    assert len(found[0]) == 40
    assert found[0].items() <= found[1].items()


def test_labels_that_are_numbers_keep_their_value(tmp_path):
    lines = ["path,label", *(f"{number:03}.png,{number % 3 * 20 - 20}" for number in range(60))]
    source = data_files.folder(tmp_path / "in", listed(lines))
    made = build(source / "list.csv", tmp_path / "out", splits="all:1")
    assert made["labels"] == {"-20": -20, "0": 0, "20": 20}
    assert made["splits"]["all"]["labels"] == {"-20": 20, "0": 20, "20": 20}
    read = examples(tmp_path / "out" / "all-00000-of-00001.tfrecords")
    for row in table(tmp_path / "out" / "all.csv"):
        assert read[int(row["record"])].features.feature["label"].int64_list.value[0] == int(row["label"])


@pytest.mark.parametrize(
    "images, shares, wanted, empty",
    [
        (1, "train:0.9,validation:0.05,test:0.05", 1, 2),
        (60, "train:0.99999999,test:0.00000001", 60, 1),
        (60, "test:0.00000001,train:0.99999999", 60, 1),
    ],
)
def test_a_split_without_images_has_no_record_file(images, shares, wanted, empty, tmp_path):
    source = data_files.folder(tmp_path / "in", dict(list(TREE.items())[:images]))
    made = build(source, tmp_path / "out", splits=shares)
    without = [name for name, split in made["splits"].items() if not split["images"]]
    assert (made["images"], len(without)) == (wanted, empty)
    for name in without:
        assert made["splits"][name]["files"] == []
        assert table(tmp_path / "out" / f"{name}.csv") == []
        assert (tmp_path / "out" / f"{name}.csv").read_text().startswith("place,label,group,file,record,sha256,")
        assert not (tmp_path / "out" / f"{name}.png").exists()
    assert len(records_in(tmp_path / "out")) == len(made["splits"]) - empty


def test_images_that_are_all_equal_are_in_one_split(tmp_path):
    source = data_files.folder(tmp_path / "in", {f"{number}.png": png(1) for number in range(30)})
    made = build(source, tmp_path / "out", splits=HALVES, shards=4)
    assert sorted(split["images"] for split in made["splits"].values()) == [0, 30]
    assert made["duplicates"] == {"exact": 29, "near": 0}
    assert sorted(len(examples(tmp_path / "out" / name)) for name in records_in(tmp_path / "out")) == [7, 7, 8, 8]


def test_more_shards_than_images_are_as_many_as_images(photos, tmp_path):
    made = build(photos, tmp_path / "out", shards=1000, splits="all:1")
    assert [file["records"] for file in made["splits"]["all"]["files"]] == [1] * 60
    assert list(records_in(tmp_path / "out"))[-1] == "all-00059-of-00060.tfrecords"


def test_a_row_without_a_label_is_refused(tmp_path):
    lines = ["path,label", *(f"{number:03}.png,{number % 3}" for number in range(57)), "057.png,", "058.png"]
    source = data_files.folder(tmp_path / "in", listed(lines))
    made = build(source / "list.csv", tmp_path / "out")
    assert made["refused"] == {"count": 2, "files": [["057.png", "has no label"], ["058.png", "has no label"]]}
    assert made["labels"] == {"0": 0, "1": 1, "2": 2}


def test_every_bad_file_is_listed_with_its_reason(tmp_path):
    """By real workers: a file that ends one is not seen otherwise. A table names files whatever their suffix."""
    good = {f"good/{place}": data for place, data in TREE.items()}
    bad = {f"bad/{name}": data for name, (data, _) in BAD_IMAGES.items()}
    tree = {place: data for pair in zip(good.items(), bad.items(), strict=False) for place, data in pair} | good | bad
    source = data_files.folder(tmp_path / "in", listed(["path", *tree], tree))
    out = tmp_path / "out"
    made = build(source / "list.csv", out, runners.LocalRunner, labels="none", max_bad_fraction=0.5, workers=2)
    refused = dict(made["refused"]["files"])
    assert made["refused"]["count"] == len(refused) == len(bad)
    for name, (_, words) in BAD_IMAGES.items():
        assert words in refused[f"bad/{name}"]
    assert made["images"] == 60
    found = splits_of(out, "train", "validation", "test")
    assert {place.removeprefix("good/"): row["sha256"] for place, (_, row) in found.items()} == {
        place: fingerprints.content_hash(decoding.decode(data, decoding.Transform(8, 8, 1))).hex()
        for place, data in TREE.items()
    }


def test_the_same_bytes_for_any_number_of_workers_and_for_beam(tmp_path, monkeypatch):
    monkeypatch.setattr(preparation, "_MOST_IMAGES", 7)  # so that there are many chunks
    source = data_files.folder(tmp_path / "in", {**CLASSES, "cat/none.png": b"no image"})
    build(source, tmp_path / "wanted", shards=2)
    wanted = content(tmp_path / "wanted")
    assert len(wanted) == 3 * (2 + 1 + 1) + 1
    for workers in (1, 2, 3):
        build(source, tmp_path / f"{workers}", runners.LocalRunner, workers=workers, shards=2)
        assert content(tmp_path / f"{workers}") == wanted
    pytest.importorskip("apache_beam")
    build(source, tmp_path / "beam", runner="beam", shards=2)
    assert content(tmp_path / "beam") == wanted


def test_a_folder_and_archives_of_it_give_the_same_records(classes, tmp_path):
    build(classes, tmp_path / "folder", shards=2)
    for name, data in (
        ("a.zip", data_files.zipped(CLASSES)),
        ("a.tar", data_files.tarred(CLASSES)),
        ("a.tar.gz", data_files.tarred(dict(reversed(CLASSES.items())), "gz")),
    ):
        (tmp_path / name).write_bytes(data)
        made = build(tmp_path / name, tmp_path / f"of-{name}", shards=2)
        assert made["labels"] == {"cat": 0, "dog": 1, "eel": 2}
        assert records_in(tmp_path / f"of-{name}") == records_in(tmp_path / "folder")


def test_remote_input_and_output_are_as_local_ones(classes, tmp_path):
    remote = f"ram://build-{tmp_path.name}"
    data_files.folder(f"{remote}/in", CLASSES)
    build(classes, tmp_path / "out", shards=2)
    build(f"{remote}/in", f"{remote}/out", shards=2)
    there, here = content(f"{remote}/out"), content(tmp_path / "out")
    manifests = [json.loads(files.pop("manifest.json")) for files in (there, here)]
    assert there == here
    for made in manifests:  # times of files are not known there
        del made["source"]["fingerprint"], made["fingerprint"]
    assert manifests[0] == manifests[1]
    again = build(f"{remote}/in", f"{remote}/out", shards=2)
    assert again == {**json.loads(storage.path(f"{remote}/out/manifest.json").read_text())}


def test_the_seed_decides_splits_and_order(photos, tmp_path):
    made = [build(photos, tmp_path / f"{n}", seed=seed, splits=HALVES) for n, seed in enumerate((3, 3, 4))]
    hashes = [[split["sha256"] for split in each["splits"].values()] for each in made]
    assert hashes[0] == hashes[1]
    assert not set(hashes[0]) & set(hashes[2])


# At the terminal


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"output": ""}, "--output is missing: it says where the records go"),
        ({"input": ""}, "--input is missing: it says where the pictures are"),
        ({"splits": "train:0.5"}, "--splits=train:0.5: the shares add up to 0.5, not to 1"),
        ({"height": 0}, "--height=0: expected at least 1 and at most 4096"),
        ({"width": 5000}, "--width=5000: expected at least 1 and at most 4096"),
        ({"channels": 4}, "--channels=4: expected one of 1, 3"),
        ({"resize": "pad"}, "--resize=pad: expected one of crop, fit, stretch"),
        ({"format": "png"}, "--format=png: expected one of contest, bytes"),
        ({"max_bad_fraction": 1.5}, "--max_bad_fraction=1.5: expected at least 0 and at most 1"),
        ({"max_bad_fraction": float("nan")}, "--max_bad_fraction=nan: expected at least 0"),
        ({"shards": -1}, "--shards=-1: expected at least 0"),
        ({"seed": -1}, "--seed=-1: expected at least 0"),
        ({"runner": "spark"}, "--runner=spark: expected one of local, beam"),
        ({"workers": -2}, "--workers=-2: expected at least 0"),
        ({"beam_options": "--project=x"}, "--beam_options are for --runner=beam"),
        ({"runner": "beam", "workers": 2}, "--workers are for --runner=local"),
    ],
)
def test_flags_that_make_no_sense_are_refused(settings, words):
    with pytest.raises(InputError) as error:
        build_records.BuildOptions(**{"input": "in", "output": "out", **settings})
    assert str(error.value).startswith(words)


def test_a_build_is_told_in_a_few_lines(command, tmp_path):
    """Also by a damaged TIFF file, of which the library in C complains."""
    tree = {**CLASSES, "cat/copy.png": CLASSES["cat/000.png"] + b" ", "dog/notes.txt": b"no picture"}
    tree |= {f"dog/{name}": data for name, (data, _) in BAD_IMAGES.items() if name.endswith("in_pixels.tiff")}
    source = data_files.folder(tmp_path / "in", tree)
    line = [f"--input={source}", f"--output={tmp_path}/out", "--height=8", "--width=8", "--splits=train:1"]
    done = command("build_records", *line)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "train: 61 images in 1 file(s)",
        "refused: 1, the first: dog/noise_in_pixels.tiff cannot be decoded (decoder error -2)",
        "no pictures by their names: 1, for instance dog/notes.txt",
        "labels: 3, see manifest.json",
        "there more than once: 1; nearly equal: 0; each kept in one split",
        f"written: {tmp_path}/out/manifest.json, and for each split a CSV file and a picture",
    ]


def test_an_empty_split_is_a_warning(command, tmp_path):
    source = data_files.folder(tmp_path / "in", {"one.png": png(1)})
    done = command("build_records", f"--input={source}", f"--output={tmp_path}/out")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[:2] == [
        "train: 1 images in 1 file(s)",
        "warning: no image in validation, test: too small a share of so few different pictures or groups",
    ]


@pytest.mark.parametrize(
    "line, words",
    [
        (["--inptu=photos"], "Unknown command line flag 'inptu'. Did you mean: input"),
        (["--input=/no/such/folder", "--output=out"], "--input=/no/such/folder does not exist; expected a folder"),
        (["--input=setup.py", "--output=out"], "expected a folder, a zip or tar file, a .csv file or an IDX file"),
    ],
)
def test_a_mistake_is_one_line(line, words, command, tmp_path):
    done = command("build_records", *(word.replace("=out", f"={tmp_path}/out") for word in line))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize("flag", ["--input", pytest.param("--output", marks=pytest.mark.exhaustive)])
def test_a_bucket_that_is_not_there_is_one_line(flag, command, photos, tmp_path, storage_server):
    line = {"--input": photos, "--output": tmp_path / "out", flag: "gs://no-such-bucket-of-gan/folder"}
    done = command("build_records", *(f"{name}={value}" for name, value in line.items()))
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "gs://no-such-bucket-of-gan/folder" in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_script_builds_as_the_module_does(photos, tmp_path):
    line = [sys.executable, ROOT / "gan" / "build_records.py", "--input=photos", "--output=out", "--width=8"]
    done = subprocess.run([*line, "--height=8"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    build(photos, tmp_path / "wanted")
    assert content(tmp_path / "out") == content(tmp_path / "wanted")


def test_a_terminal_shows_progress(photos, tmp_path):
    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("4H", 24, 100, 0, 0))
    line = [sys.executable, "-m", "gan.build_records", f"--input={photos}", f"--output={tmp_path}/out"]
    with subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, stderr=child) as process:
        os.close(child)
        shown = b""
        while process.poll() is None or shown.count(b"100%") < 2:
            try:
                shown += os.read(parent, 1000)
            except OSError:  # the other end is closed
                break
    os.close(parent)
    assert process.returncode == 0
    bars = shown.decode().replace("\r", "\n").splitlines()
    assert any(line.startswith("images: 100%") and "60.0/60.0" in line and "files/s]" in line for line in bars)
    assert any(line.startswith("records: 100%") and "60.0/60.0" in line for line in bars)


def test_the_output_must_not_lie_in_the_input(photos, tmp_path):
    (tmp_path / "link").symlink_to(photos)
    for output in (photos, photos / "records", tmp_path / "link" / "records", photos / "x" / ".." / "records"):
        with pytest.raises(InputError, match="lies in --input: what is written there would count as input"):
            build(photos, output)
    assert content(photos) == TREE
    assert build(photos, pathlib.Path(f"{photos}-records"))["images"] == 60


def test_a_bucket_does_not_lie_in_the_folder_one_is_in(photos, monkeypatch):
    monkeypatch.chdir(photos)
    assert build(".", f"ram://out-of-{photos.parent.name}")["images"] == 60


def test_options_of_a_notebook_are_enough(photos, tmp_path, monkeypatch):
    """With relative paths, after the folder has been changed, and with real workers."""
    monkeypatch.chdir(tmp_path)
    made = build_records.build(options("photos", "out", workers=2))
    assert sorted(content("out")) == sorted(content(tmp_path / "out"))
    assert made["images"] == 60
