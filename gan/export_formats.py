"""Writes a pair of networks in the formats of other programs, and opens what was written with the format's runtime.

A format keeps the contract's names (`gan.spec`), takes any batch size, and holds the networks as they battle: averages,
a fitted p, inference mode.
"""

import contextlib
import importlib.util
import inspect
import re

import numpy as np
from etils import epy

from gan import class_lookup, flags, spec
from gan.errors import InputError

with epy.lazy_imports():
    import keras
    import onnxruntime
    import tensorflow as tf
    import tf2onnx
    from ai_edge_litert import interpreter as litert

    from gan import export_model, fused_layers, models


class _Format:
    """One kind of files; `packages` are needed, `missing` finds in an error's text the operations that it has not."""

    packages = ()
    missing = None


class _SavedModel(_Format):
    """TensorFlow's: the signatures `generate` and `discriminate` in one folder."""

    def write(self, pair, contest, folder):
        export_model.Inference(pair, contest).save(folder)

    def open(self, folder, role):
        signature = tf.saved_model.load(str(folder)).signatures[role.signature]
        return lambda batch: signature(**{role.input: tf.constant(batch)})[role.output].numpy()


class _Onnx(_Format):
    """Open Neural Network Exchange: for web pages, .NET, Java, C++ and most else."""

    packages = ("tf2onnx", "onnxruntime")
    missing = r"No Op registered for (\w+)"

    def write(self, pair, contest, folder):
        for role in spec.ROLES:
            function = export_model.inference_function(pair, role, contest)
            model, _ = tf2onnx.convert.from_function(function, function.input_signature)
            for tensor in (*model.graph.input, *model.graph.output):
                tensor.type.tensor_type.shape.dim[0].dim_param = "N"
            (folder / f"{role.name}.onnx").write_bytes(model.SerializeToString())

    def open(self, folder, role):
        session = onnxruntime.InferenceSession(str(folder / f"{role.name}.onnx"))
        return lambda batch: session.run([role.output], {role.input: batch})[0]


class _LiteRt(_Format):
    """LiteRT, once TensorFlow Lite: for phones and small devices. Its own operations alone, so it runs everywhere."""

    packages = ("ai_edge_litert",)
    missing = r"'tf\.(\w+)' op is neither"

    def write(self, pair, contest, folder):
        with _upsampling_of_known_shape():
            export_model.Inference(pair, contest).save(folder / "saved_model")
        for role in spec.ROLES:
            converter = tf.lite.TFLiteConverter.from_saved_model(str(folder / "saved_model"), [role.signature])
            (folder / f"{role.name}.tflite").write_bytes(converter.convert())
        (folder / "saved_model").rmtree()

    def open(self, folder, role):
        interpreter = litert.Interpreter(str(folder / f"{role.name}.tflite"))
        interpreter.allocate_tensors()
        runner = interpreter.get_signature_runner(role.signature)
        return lambda batch: runner(**{role.input: batch})[role.output]


class _Keras(_Format):
    """Keras's own: to look at, to train further, with any of its backends. Needs neither this package nor a team's."""

    def write(self, pair, contest, folder):
        for role in spec.ROLES:
            batch = keras.Input([contest.input_size(role)], name=role.input)
            with _layers_of_keras_alone():
                answer = pair.answer(role, batch)
            keras.Model(batch, {role.output: answer}, name=role.name).save(str(folder / f"{role.name}.keras"))

    def open(self, folder, role):
        model = keras.saving.load_model(str(folder / f"{role.name}.keras"))
        return lambda batch: np.asarray(model(batch)[role.output])


FORMATS = {"saved_model": _SavedModel(), "onnx": _Onnx(), "litert": _LiteRt(), "keras": _Keras()}


def require_packages(name):
    """Makes sure that a format can be written and opened here.

    Raises:
      InputError: a package is missing.
    """
    for package in FORMATS[name].packages:
        if importlib.util.find_spec(package) is None:
            raise InputError(f"--format={name} needs {package}: pip install 'gan[export]'")


def write(name, pair, contest, folder):
    """Writes both networks in a format.

    Args:
      name: one of `FORMATS`.
      pair: the `battle_pair.BattlePair`; what it answers stays as it is, but its weights may be folded together.
      contest: the `spec.ContestSpec`.
      folder: an `epath.Path`, local and empty.

    Returns:
      {role: function}: what the format's runtime makes of the files; float32 [N, input size] to [N, output size].

    Raises:
      InputError: the format cannot express a network.
    """
    names = " and ".join(type(network).__name__ for network in (pair.generator, pair.discriminator))
    with flags.quiet_stderr(), class_lookup.blaming(f"--format={name} of {names}"), _naming_what_is_missing(name):
        FORMATS[name].write(pair, contest, folder)
        return {role: FORMATS[name].open(folder, role) for role in spec.ROLES}


@contextlib.contextmanager
def _naming_what_is_missing(name):
    try:
        yield
    except Exception as error:
        pattern = FORMATS[name].missing
        if pattern and (missing := sorted(set(re.findall(pattern, str(error))))):
            raise InputError(
                f"--format={name} has no operation like TensorFlow's {', '.join(missing)}, which a network needs: "
                "change the model, or take another --format"
            ) from None
        raise


@contextlib.contextmanager
def _replaced(owner, name, function):
    before = getattr(owner, name)
    setattr(owner, name, function)
    try:
        yield
    finally:
        setattr(owner, name, before)


def _upsampling_of_known_shape():
    """LiteRT's converter loses sight of the size of an upsampled image, which its convolutions need."""
    call = keras.layers.UpSampling2D.call

    def with_shape(layer, images):
        upsampled = call(layer, images)
        return keras.ops.reshape(upsampled, (-1, *upsampled.shape[1:]))

    return _replaced(keras.layers.UpSampling2D, "call", with_shape)


def _layers_of_keras_alone():
    """Traces through all other layers, so that their parts stand in the file and nobody needs the code around them."""
    call = keras.layers.Layer.__call__

    def traced(layer, *inputs, **settings):
        if isinstance(layer, models.SpectralNormalization):
            return call(layer.fold(), *inputs)
        if type(layer).__module__ == fused_layers.__name__:
            for part in fused_layers.in_keras(layer, inputs[0].shape):
                inputs = [call(part, *inputs)]
            return inputs[0]
        if type(layer).__module__.split(".")[0] == "keras":
            return call(layer, *inputs, **settings)
        taken = inspect.signature(layer.call).parameters
        return layer.call(*inputs, **{name: value for name, value in settings.items() if name in taken})

    return _replaced(keras.layers.Layer, "__call__", traced)
