"""A fresh Python environment in which this project is not installed."""

import pathlib
import sysconfig
import venv


def empty_environment(folder):
    """Makes one that sees the installed libraries, which take minutes to install; returns its Python."""
    venv.create(folder, with_pip=False, symlinks=True)
    packages = pathlib.Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    libraries = {sysconfig.get_path(name) for name in ("purelib", "platlib")}
    # A .pth file of a folder that a .pth file names is not read: so no editable install leads back to the checkout.
    (packages / "libraries.pth").write_text("\n".join(sorted(libraries)))
    return folder / "bin" / "python"
