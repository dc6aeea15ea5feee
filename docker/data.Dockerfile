# The image that turns pictures into record files: Python, the libraries with Apache Beam, and the project as it is now.
#   docker build --file docker/data.Dockerfile --tag REGION-docker.pkg.dev/PROJECT/gan/data:latest .
#   docker run --user="$(id -u)" --volume="$PWD/photos:/photos:ro" --volume="$PWD/faces:/home/gan/faces" IMAGE \
#       python3 -m gan.build_records --input=/photos --output=faces
# Secrets never go into an image: give them as files (--volume=key.json:/run/secrets/key.json:ro) or as environment
# variables (--env-file), when it runs.
FROM python:3.11.14-slim-bookworm@sha256:65a93d69fa75478d554f4ad27c85c1e69fa184956261b4301ebaf6dbb0a3543d AS build
WORKDIR /build
COPY setup.py pyproject.toml README.md LICENSE ./
COPY gan gan
RUN python3 -m pip wheel --no-cache-dir --no-deps --wheel-dir=wheels .

FROM python:3.11.14-slim-bookworm@sha256:65a93d69fa75478d554f4ad27c85c1e69fa184956261b4301ebaf6dbb0a3543d
ENV PYTHONUNBUFFERED=1
COPY --from=build /build/wheels /wheels
RUN python3 -m pip install --no-cache-dir "$(echo /wheels/gan-*.whl)[beam]"
RUN useradd --create-home --uid=1000 gan
USER 1000
WORKDIR /home/gan
CMD ["python3", "-m", "gan.build_records", "--help"]
