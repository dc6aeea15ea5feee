"""The check of one snapshot as files: findings, generated images, nearest training images."""

import dataclasses

import numpy as np

from gan import pictures, storage
from gan.arena import check

_COLUMNS = 8


def of_snapshot(files, player, examples):
    """Checks a snapshot.

    Args:
      files: the `snapshot.Snapshot`.
      player: its `player.Player`.
      examples: the `check.Examples`.

    Returns:
      A `check.Report`.
    """
    report = check.files_report(files, sum((files.path / name).stat().length for name in files.sha256))
    check.run(player, examples, report)
    return report


def of_failure(words):
    """Returns the `check.Report` of a submission that could not be copied."""
    return check.Report([check.Finding("files", check.FAIL, words)])


def as_data(team, files, report):
    """Returns a report as plain data, as the page and `--json` show it.

    Args:
      team: the `teams.Team`.
      files: the `snapshot.Snapshot`, or None where there is none.
      report: the `check.Report`.
    """
    return {
        "format": 1,
        "name": team.name,
        "slug": team.slug,
        "snapshot": files.digest if files else "",
        "may_battle": report.may_battle,
        "findings": [dataclasses.asdict(finding) for finding in report.findings],
        "files": files.sha256 if files else {},
        "generations": files.generations if files else {},
        "source": [name for name in files.sha256 if name.startswith("source/")] if files else [],
    }


def write(folder, team, files, report, examples):
    """Writes check.json and, where there are images, memorisation.json and pictures; earlier ones go.

    Args:
      folder: an `epath.Path`.
      team, files, report: as for `as_data`.
      examples: the `check.Examples`.
    """
    for name in ("memorisation.json", "memorisation.png", "samples.png"):
        (folder / name).unlink(missing_ok=True)
    if report.samples is not None:
        shape = examples.contest.image_shape
        pictures.save_png(folder / "samples.png", pictures.grid(report.samples, shape, _COLUMNS))
    if report.memorisation:
        pictures.save_png(folder / "memorisation.png", _nearest(report, examples))
        storage.write_json(folder / "memorisation.json", _memorisation_as_data(report.memorisation))
    storage.write_json(folder / "check.json", as_data(team, files, report))


def _nearest(report, examples):
    """The generated images that are most like a training image, above that image."""
    found = report.memorisation
    worst = np.argsort(found.neighbours.isolation)[: 2 * _COLUMNS]
    shape = examples.contest.image_shape
    return pictures.neighbours_sheet(
        report.samples[worst].reshape(-1, *shape),
        examples.training_images(found.neighbours.index[worst]).reshape(-1, *shape),
        found.neighbours.distance[worst],
        found.close[worst],
    )


def _memorisation_as_data(found):
    neighbours = found.neighbours
    return {
        "format": 1,
        "sentence": check.memorisation_sentence(found),
        "sheet": "memorisation.png",
        "threshold": found.thresholds[0],
        "isolation_threshold": found.thresholds[1],
        "flagged": found.flagged,
        "close": int(found.close.sum()),
        "of": len(found.close),
        "p_value": found.p_value,
        "nearest": [
            {"index": int(index), "distance": float(distance), "isolation": float(isolation), "close": bool(close)}
            for index, distance, isolation, close in zip(
                neighbours.index, neighbours.distance, neighbours.isolation, found.close, strict=True
            )
        ],
    }
