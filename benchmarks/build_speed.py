"""Measures `gan.build_records` against a plain loop over Pillow in one process.

    python benchmarks/build_speed.py --input=faces/raw_sample.zip --folder=/tmp/build_speed

The pictures of the input are repeated to `--images`, each with other bytes at its end, in one zip file. The loop
decodes with Pillow's usual calls, and does all else as the build does: hashes, splits by hash, records. Both are run in
turn, and the ratio of each pair is what counts, since machines are shared.
"""

import csv
import dataclasses
import io
import multiprocessing
import pathlib
import statistics
import subprocess
import sys
import time
import zipfile

import numpy as np
from PIL import Image, ImageOps

from gan import examples, flags, seeds, storage, tfrecords
from gan.data import fingerprints
from gan.flags import flag

SIDE = 50
SHARES = {"train": 0.9, "validation": 0.95, "test": 1.0}  # upper ends


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpeedOptions(flags.Options):
    """Flags of the measurement."""

    input: str = flag("", "zip file of pictures")
    folder: str = flag("/tmp/build_speed", "folder for what is made")
    images: int = flag(10_000, "pictures in all", lower=10)
    turns: int = flag(3, "runs of each", lower=1)
    workers: int = flag(0, "processes of the build; 0: one for each core", lower=0)


def repeat(source, target, count):
    """Writes a zip file with `count` pictures, those of a zip file again and again."""
    with zipfile.ZipFile(source) as found, zipfile.ZipFile(target, "w") as made:
        names = [name for name in found.namelist() if not name.endswith("/")]
        for number in range(count):
            name = names[number % len(names)]
            made.writestr(f"{number:06}.jpg", found.read(name) + number.to_bytes(4, "big"))


def loop(source, target):
    """Does the work of a build in the plain way."""
    target.mkdir()
    tables = {name: (target / f"{name}.csv").open("w") for name in SHARES}
    files = {name: (target / f"{name}.tfrecords").open("wb") for name in SHARES}
    with zipfile.ZipFile(source) as found:
        for name in found.namelist():
            image = ImageOps.exif_transpose(Image.open(io.BytesIO(found.read(name)))).convert("L")
            pixels = np.asarray(ImageOps.fit(image, (SIDE, SIDE), Image.Resampling.LANCZOS))[..., None]
            content, key = fingerprints.content_hash(pixels), fingerprints.perceptual_key(pixels)
            drawn = seeds.derive(0, "split", key) / 2**64
            split = next(split for split, end in SHARES.items() if drawn < end)
            files[split].write(tfrecords.frame(examples.serialize(pixels.reshape(-1), None, examples.INTEGERS)))
            csv.writer(tables[split]).writerow((name, content.hex()))
    for file in (*files.values(), *tables.values()):
        file.close()


def run_loop(source, target):
    """Returns the seconds of the loop in a process of its own."""
    process = multiprocessing.get_context("spawn").Process(target=loop, args=(source, target))
    begin = time.monotonic()
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit("the loop failed")
    return time.monotonic() - begin


def run_build(source, target, workers):
    """Returns (seconds of the build, the most memory of all its processes together in MB)."""
    line = [
        sys.executable,
        "-m",
        "gan.build_records",
        f"--input={source}",
        f"--output={target}",
        f"--workers={workers}",
    ]
    begin, most = time.monotonic(), {}
    with subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None:
            for pid in tree(process.pid):
                most[pid] = max(most.get(pid, 0), resident(pid))
            time.sleep(0.1)
        seconds = time.monotonic() - begin
    if process.returncode:
        raise SystemExit("the build failed")
    return seconds, sum(most.values()) / 1e6


def tree(pid):
    """Returns the numbers of a process and of those that it has started."""
    file = pathlib.Path(f"/proc/{pid}/task/{pid}/children")
    children = file.read_text().split() if file.exists() else []
    return [pid, *(other for child in children for other in tree(int(child)))]


def resident(pid):
    """Returns the bytes of a process that are its own, in memory."""
    try:
        pages, shared = pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1:3]
    except OSError:  # it has ended
        return 0
    return 4096 * (int(pages) - int(shared))


def measure(options):
    """Runs both in turn and prints what each took."""
    folder = storage.path(options.folder)
    folder.rmtree(missing_ok=True)
    folder.mkdir(parents=True)
    source = pathlib.Path(str(folder / "pictures.zip"))
    repeat(options.input, source, options.images)
    ratios = []
    for turn in range(options.turns):
        seconds_loop = run_loop(source, pathlib.Path(str(folder / f"loop_{turn}")))
        seconds_build, megabytes = run_build(source, folder / f"build_{turn}", options.workers)
        ratios.append(seconds_loop / seconds_build)
        rates = ", ".join(
            f"{name} {seconds:.1f} s ({options.images / seconds:,.0f} images/s)"
            for name, seconds in (("loop", seconds_loop), ("build", seconds_build))
        )
        print(f"{rates}, ratio {ratios[-1]:.2f}, memory of the build {megabytes:,.0f} MB", flush=True)
    print(f"ratio, median of {len(ratios)}: {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    flags.run(measure, SpeedOptions, with_tensorflow=False)
