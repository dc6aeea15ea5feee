"""Writes the tables into the README and the pictures beside it."""

from benchmarks import marked
from benchmarks.zoo import plans, results, tables
from gan import storage
from gan.errors import InputError


def write(folder, readme):
    """Writes the tables between the README's markers, and copies their pictures; without markers, prints the tables.

    Args:
      folder: of everything that is finished, an `epath.Path`.
      readme: the README, an `epath.Path`.

    Raises:
      InputError: nothing is finished yet.
    """
    found = {data: results.Results(folder, data) for data in plans.PLANS}
    pages = {data: tables.Tables(data, kept) for data, kept in found.items() if kept.get(*results.SETTINGS)}
    if not pages:
        raise InputError(f"--folder={folder} holds no results; give the folder of an earlier run")
    text = "\n\n".join(page.text() for page in pages.values())
    if not marked.replace(readme, "zoo", text):
        return
    for data, page in pages.items():
        for preset in page.pictured:
            row = folder / data / "rows" / f"{plans.first_point(preset).name}.png"
            storage.copy_file(row, readme.parent / tables.picture(data, preset))
    print(f"written: {readme}, {readme.parent / tables.PICTURES}")
