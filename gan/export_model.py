"""Writes a submission: the trained networks in both forms of the battle contract.

`train_dir/model.ckpt-N.*` with `train_dir/checkpoint` is the TF1 form, `train_dir/export/step_N/` the SavedModel. Both
hold the same numbers, in inference mode, for any batch size, without training ops, input pipeline or absolute path.
"""

import functools
import tempfile

import keras
import numpy as np
import tensorflow as tf
from etils import epath

from gan import __version__, spec, storage, training_state
from gan.errors import RunError

v1 = tf.compat.v1

_LIST = "variables_of_inference"  # under which a SavedModel holds its variables


class Exporter:
    """Traces the networks once and writes their graphs once; every `write` after that only writes their variables.

    Args:
      pair: the `battle_pair.BattlePair`.
      contest: the `spec.ContestSpec`.
      facts: plain data for `submission.json` (class names, seed, data fingerprint, ...).
    """

    def __init__(self, pair, contest, facts):
        self._facts = facts
        self._inference = Inference(pair, contest)
        self._tf1_graph = _Tf1Graph(self._inference.functions, self._inference.variables)
        self._saved_model = _SavedModel(self._inference)

    def write(self, train_dir, step, facts=None):
        """Writes the export of `step`; `facts` go into `submission.json` beside those of the exporter.

        A kill leaves in `train_dir` the checkpoint of the step before or of this one, never a mixture, and never a
        `submission.json` of another; a step that is written again is without a checkpoint for a moment.

        Raises:
          RunError: a weight is not a finite number.
        """
        if not all(np.all(np.isfinite(v.numpy())) for v in self._inference.variables if v.dtype.is_floating):
            raise RunError(f"step {step}: a weight is not a finite number, so nothing is exported")
        with tempfile.TemporaryDirectory() as temporary:
            saved_model = epath.Path(temporary) / "saved_model"
            self._saved_model.write(saved_model)
            self._describe(saved_model, step, facts)
            storage.publish_folder(saved_model, training_state.export_folder(train_dir, step), last="submission.json")

            checkpoint = epath.Path(temporary) / "checkpoint_files"
            self._tf1_graph.write(checkpoint, step)
            files = self._describe(checkpoint, step, facts)
            (train_dir / "submission.json").unlink(missing_ok=True)
            if _names_step(train_dir / "checkpoint", step):
                (train_dir / "checkpoint").unlink()
            # `checkpoint` names the files, so it goes after them; `submission.json` vouches for all.
            for name in sorted(files, key=lambda name: name == "checkpoint"):
                storage.copy_file(checkpoint / name, train_dir / name)
            storage.copy_file(checkpoint / "submission.json", train_dir / "submission.json")

    def _describe(self, folder, step, facts):
        """Writes `submission.json` into a finished folder and returns its files' hashes."""
        hashes = {str(file.relative_to(folder)): storage.sha256(file) for file in storage.files_below(folder)}
        described = {
            "format": 1,
            "step": step,
            **self._facts,
            **(facts or {}),
            "versions": {"gan": __version__, "tensorflow": tf.__version__, "keras": keras.__version__},
            "sha256": hashes,
        }
        storage.write_json(folder / "submission.json", described)
        return hashes


def _names_step(file, step):
    return file.exists() and f'"model.ckpt-{step}"' in file.read_text()


def is_complete(train_dir, step):
    """Whether `train_dir` is the submission of exactly this step, in both forms."""
    markers = [train_dir / "submission.json", training_state.export_folder(train_dir, step) / "submission.json"]
    described = all(marker.exists() and storage.read_json(marker)["step"] == step for marker in markers)
    return described and _names_step(train_dir / "checkpoint", step)


class Inference:
    """The two functions of the contract, traced once, for any batch size.

    Args:
      pair: the `battle_pair.BattlePair`.
      contest: the `spec.ContestSpec`.

    Attributes:
      functions: {role: concrete function}.
      variables: what they read, in the order of their first use.
    """

    def __init__(self, pair, contest):
        self.functions = {role: inference_function(pair, role, contest).get_concrete_function() for role in spec.ROLES}
        captured = [v for function in self.functions.values() for v in captured_variables(function.graph)]
        self.variables = list({id(variable): variable for variable in captured}.values())
        self._module = tf.Module()
        setattr(self._module, _LIST, self.variables)

    def save(self, folder):
        """Writes the SavedModel into a local folder."""
        signatures = {role.signature: function for role, function in self.functions.items()}
        tf.saved_model.save(self._module, str(folder), signatures=signatures)

    def values(self):
        """Returns {name in the SavedModel's checkpoint: variable}."""
        return {f"{_LIST}/{i}/.ATTRIBUTES/VARIABLE_VALUE": variable for i, variable in enumerate(self.variables)}


def inference_function(pair, role, contest):
    """Returns the `tf.function` of a role: float32 [N, input size] to {role.output: float32 [N, output size]}."""
    signature = [tf.TensorSpec([None, contest.input_size(role)], tf.float32, name=role.input)]

    def run(model_input):
        return {role.output: tf.ensure_shape(pair.answer(role, model_input), [None, contest.output_size(role)])}

    return tf.function(run, input_signature=signature, autograph=False)


def captured_variables(graph):
    """Returns the variables that a traced function touches, in the order of their first use.

    `graph.variables` alone has no order that a second process would repeat.
    """
    by_handle = {id(variable.handle): variable for variable in graph.variables}
    return [by_handle[id(outer)] for outer, _ in graph.captures if id(outer) in by_handle]


class _SavedModel:
    """The SavedModel; TensorFlow makes it once, and after that only the values of the variables are new."""

    def __init__(self, inference):
        self._inference = inference
        self._graph = None
        self._unchanging = {}

    def write(self, folder):
        """Writes it into a local folder that is not there."""
        prefix, values = folder / "variables" / "variables", self._inference.values()
        if self._graph is None:
            self._inference.save(folder)
            (folder / "fingerprint.pb").unlink()  # it is of the values as well, and nothing needs it
            self._graph = (folder / "saved_model.pb").read_bytes()
            reader = tf.train.load_checkpoint(str(prefix))
            others = reader.get_variable_to_shape_map().keys() - values
            self._unchanging = {name: reader.get_tensor(name) for name in others}
        prefix.parent.mkdir(parents=True, exist_ok=True)
        (folder / "saved_model.pb").write_bytes(self._graph)
        _write_values(prefix, self._unchanging | values)


class _Tf1Graph:
    """The two inference functions in one TF1 graph, with the four collections of the contract."""

    def __init__(self, functions, variables):
        graph = tf.Graph()
        with graph.as_default():
            targets = [
                v1.get_variable(
                    f"v{i:03}_{_plain(v.name)}", v.shape, v.dtype, v1.zeros_initializer(), use_resource=True
                )
                for i, v in enumerate(variables)
            ]
            handles = {id(v.handle): target.handle for v, target in zip(variables, targets, strict=True)}
            for role, function in functions.items():
                self._import(role, function, handles)
            self._saver = v1.train.Saver(targets)
        self._graph = graph
        self._sources = {target.op.name: source for target, source in zip(targets, variables, strict=True)}

    @functools.cached_property
    def _meta(self):
        """The graph as a file, which takes longer to make than the graph."""
        with self._graph.as_default():
            return self._saver.export_meta_graph().SerializeToString(deterministic=True)

    def _import(self, role, function, handles):
        model_input = v1.placeholder(tf.float32, function.inputs[0].shape, name=role.input)
        replaced = {function.inputs[0].name: model_input}
        for outer, inner in function.graph.captures:
            replaced[inner.name] = handles[id(outer)] if id(outer) in handles else tf.constant(outer.numpy())
        (output,) = tf.import_graph_def(
            function.graph.as_graph_def(), replaced, [function.outputs[0].name], name=role.name
        )
        v1.add_to_collection(role.input, model_input)
        v1.add_to_collection(role.output, tf.identity(output, name=role.output))

    def write(self, folder, step):
        """Writes `model.ckpt-STEP.*` and `checkpoint`, which names them without any folder, into a new local one."""
        folder.mkdir()
        name = f"model.ckpt-{step}"
        (folder / f"{name}.meta").write_bytes(self._meta)
        _write_values(folder / name, self._sources)
        storage.write_text(
            folder / "checkpoint", f'model_checkpoint_path: "{name}"\nall_model_checkpoint_paths: "{name}"\n'
        )


def _write_values(prefix, tensors):
    """Writes PREFIX.index and PREFIX.data-00000-of-00001, as TensorFlow's savers do, of {name: tensor or variable}."""
    names = sorted(tensors)
    values = [tf.convert_to_tensor(tensors[name]) for name in names]
    tf.raw_ops.SaveV2(prefix=str(prefix), tensor_names=names, shape_and_slices=[""] * len(names), tensors=values)


def _plain(name):
    """A variable's name as TF1 allows it: letters, digits and underscores."""
    return "".join(c if c.isascii() and c.isalnum() else "_" for c in name.split(":")[0])
