"""Which presets are compared, and what is known of one before it is trained."""

import functools

from etils import epy

from benchmarks.zoo import parts, plans
from gan import flags, presets, train
from gan.errors import InputError

with epy.lazy_imports():
    from gan import model_builder


_OF_OTHER_IMAGES = ("imagenet32",)  # meant for images that are not compared here


@functools.cache
def settings_of(preset):
    """Returns the `train.TrainOptions` of a preset."""
    return flags.parse(train.TrainOptions, ["gan", f"--preset={preset}"])


def needs_labels(preset):
    options = settings_of(preset)
    return model_builder.uses_labels(options.generator_model, options.discriminator_model)


def chosen(only, data):
    """Returns the presets to work on.

    Args:
      only: their names, comma-separated; "" means all that fit the data.
      data: "faces" or "digits".

    Raises:
      InputError: one that is named does not exist, or cannot learn from these data.
    """
    named = [name.strip() for name in only.split(",") if name.strip()]
    own = [name for name in presets.own_names() if name not in _OF_OTHER_IMAGES]
    wanted = list(dict.fromkeys(named)) or [*own, *(parts.names() if plans.PLANS[data].parts else [])]
    unfit = [name for name in wanted if needs_labels(name) and data != "digits"]
    if named and unfit:
        raise InputError(f"--only={','.join(unfit)}: learns from labels, and {data} have none")
    return [name for name in wanted if name not in unfit]


def league_field(chosen_names, results):
    """Returns the presets of the league: the chosen ones but for parts, and the package's that were trained before."""
    trained = {name for value in results.of_kind("train").values() for name in value["presets"]}
    return sorted({*chosen_names, *trained.intersection(presets.own_names())}.difference(parts.names()))
