"""A job's specification: a CustomJobSpec of Vertex AI in a file as `gcloud ai custom-jobs create --config` takes it."""

import re

import yaml

from gan.errors import InputError

_PLACEHOLDER = re.compile(r"\b(REGION|PROJECT|BUCKET)\b")


def read(file):
    """Reads a specification.

    Args:
      file: path of a YAML file.

    Returns:
      The specification as plain data.

    Raises:
      InputError: it is missing, no YAML, not spelled as gcloud wants it, or has no container to run.
    """
    if not file.exists():
        raise InputError(f"--config={file}: there is no such file; expected one like cloudml-gpu.yaml")
    try:
        spec = yaml.safe_load(file.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"--config={file} is no YAML: {' '.join(str(error).split())}") from None
    try:
        _check_spelling(spec)
        pools = spec.get("workerPoolSpecs") if isinstance(spec, dict) else None
        if not isinstance(pools, list) or not all(isinstance(pool, dict) for pool in pools) or not any(pools[:1]):
            raise InputError("workerPoolSpecs is missing: a list, whose first entry is the chief's machine")
        for number, pool in enumerate(pools):
            container = pool.get("containerSpec")
            if pool and not isinstance(container, dict):
                raise InputError(f"workerPoolSpecs[{number}] has no containerSpec: jobs run in an image of one's own")
            if pool and not isinstance(container.get("args", []), list):
                raise InputError(f"workerPoolSpecs[{number}]: args={container['args']}: expected a list of texts")
    except InputError as error:
        raise InputError(f"--config={file}: {error}; see cloudml-gpu.yaml") from None
    return spec


def _check_spelling(value):
    """Insists on camelCase in all keys; the service's schema takes snake_case as well, gcloud does not."""
    if isinstance(value, list):
        for entry in value:
            _check_spelling(entry)
    elif isinstance(value, dict):
        for key, entry in value.items():
            if not isinstance(key, str) or "_" in key or key[:1].isupper():
                words = str(key).split("_")
                camel = words[0][:1].lower() + words[0][1:] + "".join(word.title() for word in words[1:])
                raise InputError(f"{key} is not spelled as gcloud wants it: {camel}")
            _check_spelling(entry)


def complete(spec, *, region, project, bucket, output, image, command, arguments):
    """Returns a specification that is ready to be submitted.

    Args:
      spec: plain data as from `read`; the words REGION, PROJECT and BUCKET in its values are filled in.
      region, project: where the job runs.
      bucket: name of the bucket.
      output: `gs://` folder of the job; the service names folders in it to the job (AIP_MODEL_DIR and others).
      image: URI of the image, or "" for the file's own.
      command: the program, a list; it replaces the file's.
      arguments: the program's arguments; they follow those of the file.

    Raises:
      InputError: neither `image` nor the file names an image.
    """
    words = {"REGION": region, "PROJECT": project, "BUCKET": bucket}
    filled = _filled(spec, words)
    for pool in filter(None, filled["workerPoolSpecs"]):
        container = pool["containerSpec"]
        container["imageUri"] = image or container.get("imageUri", "")
        if not container["imageUri"]:
            raise InputError("--image is missing, and the --config file names no imageUri either")
        container["command"] = list(command)
        container["args"] = [*container.get("args", ()), *arguments]
    return {**filled, "baseOutputDirectory": {"outputUriPrefix": str(output)}}


def _filled(value, words):
    if isinstance(value, dict):
        return {key: _filled(entry, words) for key, entry in value.items()}
    if isinstance(value, list):
        return [_filled(entry, words) for entry in value]
    return _PLACEHOLDER.sub(lambda match: words[match[0]], value) if isinstance(value, str) else value


def as_yaml(spec):
    """Returns a specification as the text of a file that `read` and gcloud take."""
    return yaml.safe_dump(spec, sort_keys=False, width=120)
