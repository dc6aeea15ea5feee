"""How near are the images of a generator to real ones, and how near are other real images?"""

import functools

from benchmarks.zoo.jobs.job import Job
from gan import pictures, storage

ROW_IMAGES = 8


def job(point):
    work = functools.partial(measure, point=point)
    return Job("measure", point.name, (point.preset,), work, (("train", point.name),), minutes=2.0)


def measure(comparison, point):
    """Measures the images of a point's generator, and keeps a row of them as a picture."""
    judge = comparison.judge
    pixels = judge.generate(comparison.submission(point))
    row = pictures.grid(pixels[:ROW_IMAGES], comparison.shape, ROW_IMAGES)
    pictures.save_png(comparison.folder / "rows" / f"{point.name}.png", row)
    return {
        "training": judge.against_training(pixels),
        "validation": judge.against_validation(pixels),
        "distinctness": judge.distinctness(pixels),
        "copies": judge.copies(pixels),
        "calibration": storage.read_json(comparison.submission(point) / "submission.json")["calibration"],
    }


def reference_job():
    return Job("reference", "reals", (), measure_reals)


def measure_reals(comparison):
    """Measures the validation images as if they were generated: what nobody is expected to beat."""
    judge = comparison.judge
    counts = {split: len(data) for split, data in judge.data.items()}
    return {"training": judge.against_training(judge.pixels["validation"]), "images": counts}
