"""Executes a notebook: `python run_notebook.py NOTEBOOK TARGET`.

The target is the notebook with what its cells have shown, also where a cell has failed; what they print is printed.
"""

import pathlib
import sys

import nbclient
import nbformat


def main(source, target):
    notebook = nbformat.read(source, as_version=4)
    client = nbclient.NotebookClient(
        notebook,
        timeout=None,
        kernel_name="python3",
        resources={"metadata": {"path": str(pathlib.Path.cwd())}},
        on_cell_executed=show,
    )
    try:
        client.execute()
    except nbclient.exceptions.CellExecutionError as error:
        return f"error: a cell failed: {error.ename}: {error.evalue}"
    finally:
        nbformat.write(notebook, target)
    return 0


def show(cell, **_):
    for output in cell.get("outputs", ()):
        if output.output_type == "stream":
            print(output.text, end="", flush=True)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
