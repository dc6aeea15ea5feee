"""Training on many devices: all GPUs of a machine, or several machines.

Every device holds the same weights and works on its rows of each batch. Gradients, and whatever looks across the
batch, are summed over all devices (`tf.distribute`), so that a step is the one that a single device would make. In a
cluster every process runs the same command; one of them, the chief, writes what the run leaves behind.
"""

import contextlib
import dataclasses
import signal

import numpy as np
from etils import epy

from gan import cluster as clusters
from gan import errors
from gan.errors import InputError, RunError, first_line

with epy.lazy_imports():
    import tensorflow as tf
    from keras.src.backend.common import global_state
    from keras.src.random import seed_generator

KINDS = ("auto", "none", "mirrored", "multi_worker")
_TRIAL_CPUS = 2  # on a machine without GPUs, where nothing says how many
# What a collective operation raises in the other processes when one is gone.
_GONE = (
    *("AbortedError", "CancelledError", "DeadlineExceededError", "FailedPreconditionError", "InternalError"),
    *("UnavailableError", "UnknownError"),
)


@dataclasses.dataclass(frozen=True)
class Plan:
    """Which devices a run trains on, before any of them is touched.

    Attributes:
      kind: "none", "mirrored" or "multi_worker".
      device_type: "GPU" or "CPU".
      num_devices: of each process.
      cluster: the `cluster.Cluster`.
    """

    kind: str = "none"
    device_type: str = "CPU"
    num_devices: int = 1
    cluster: clusters.Cluster = dataclasses.field(default_factory=clusters.Cluster)

    @property
    def replicas(self):
        """Devices of all processes: parts of a batch."""
        return self.num_devices * self.processes

    @property
    def processes(self):
        return len(self.cluster.addresses)

    def __str__(self):
        of_each = self.device_type if self.num_devices == 1 else f"{self.num_devices} {self.device_type}s"
        return f"the {of_each} of each of {self.processes} processes" if self.processes > 1 else f"the {of_each}"


def plan(options):
    """Returns the `Plan` of `--distribution` and `--num_devices` for this machine and its TF_CONFIG.

    Raises:
      InputError: there are not so many devices, TF_CONFIG cannot be used, or the batch cannot be divided.
    """
    gpus = len(tf.config.list_physical_devices("GPU"))
    cluster = clusters.of_environment(options.distribution)
    if len(cluster.addresses) > 1:
        found = Plan("multi_worker", *_devices(options, gpus), cluster)
    elif options.distribution == "mirrored" and not gpus:
        found = Plan("mirrored", "CPU", options.num_devices or _TRIAL_CPUS)
    elif options.distribution == "none":
        found = Plan("none", *_devices(dataclasses.replace(options, num_devices=options.num_devices or 1), gpus))
        if found.num_devices > 1:
            raise InputError(
                f"--num_devices={options.num_devices}: --distribution=none means 1; mirrored takes several"
            )
    else:
        device_type, count = _devices(options, gpus)
        found = Plan("mirrored" if count > 1 else "none", device_type, count)
    _refuse_odd_batch(options.batch_size, found.replicas)
    return found


def _devices(options, gpus):
    """Returns (type, number) of the devices of this process: its GPUs, or its CPU as one device."""
    wanted = options.num_devices
    if wanted is not None and wanted > max(gpus, 1):
        there = f"{gpus} GPU{'s' if gpus > 1 else ''}" if gpus else "no GPU"
        trial = "" if gpus else ", and its CPU is one device; --distribution=mirrored tries several on the CPU"
        raise InputError(f"--num_devices={wanted}: this machine has {there}{trial}")
    return ("GPU", wanted or gpus) if gpus else ("CPU", 1)


def _refuse_odd_batch(batch_size, replicas):
    if batch_size % replicas:
        below, above = batch_size // replicas * replicas, -(-batch_size // replicas) * replicas
        right = f"{below} or {above}" if below else str(above)
        raise InputError(f"--batch_size={batch_size} cannot be divided among {replicas} devices; {right} can")


def connect(plan):
    """Makes the devices of a `Plan` ready, once the whole cluster is there; before TensorFlow has done anything else.

    Raises:
      InputError: TensorFlow has begun with other devices.
      RunError: the processes cannot reach each other.
    """
    if plan.kind == "multi_worker":
        return Devices(plan, _join(plan))
    if plan.replicas == 1:
        return Devices(plan, tf.distribute.get_strategy())
    names = [f"{plan.device_type}:{number}" for number in range(plan.num_devices)]
    operations = None  # TensorFlow's choice
    if plan.device_type == "CPU":
        _make_logical_cpus(plan.num_devices)
        operations = tf.distribute.ReductionToOneDevice()  # where all share one memory there is nothing to send
    return Devices(plan, tf.distribute.MirroredStrategy(names, operations))


def _make_logical_cpus(count):
    (cpu,) = tf.config.list_physical_devices("CPU")
    with contextlib.suppress(RuntimeError):  # it has begun; what there is then has to do
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * count)
    there = len(tf.config.list_logical_devices("CPU"))
    if there < count:
        raise InputError(
            f"--num_devices={count}: TensorFlow has begun with {there} logical CPU{'s' if there > 1 else ''} in this "
            "process, and cannot make more"
        )


def _join(plan):
    cluster = plan.cluster
    place = f"process {cluster.index + 1} of {len(cluster.addresses)} ({cluster.job} {cluster.task})"
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({job: list(addresses) for job, addresses in cluster.jobs.items()}),
        task_type=cluster.job,
        task_id=cluster.task,
        rpc_layer="grpc",
        num_accelerators={plan.device_type: plan.num_devices},
    )
    try:
        clusters.await_the_others(cluster, place)
        strategy = tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver)
    except (OSError, RuntimeError, tf.errors.OpError) as error:
        raise RunError(f"{place} cannot join the cluster of TF_CONFIG: {first_line(error)}") from None
    # TensorFlow has taken SIGTERM, to ask others about it; here it keeps its meaning.
    signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))
    return strategy


class Devices:
    """The devices that train together; without arguments the one that TensorFlow chooses.

    Args:
      plan: the `Plan`.
      strategy: the `tf.distribute.Strategy`.

    Attributes:
      plan: as given.
      replicas: devices of all processes.
      processes: of the cluster.
      is_chief: whether this process writes what the run leaves behind.
    """

    def __init__(self, plan=None, strategy=None):
        self.plan = plan or Plan()
        self.replicas = self.plan.replicas
        self.processes = self.plan.processes
        self.is_chief = self.plan.cluster.index == 0
        self._strategy = strategy or tf.distribute.get_strategy()
        self._keras_random = None
        numbers = tf.TensorSpec([None], tf.float64)
        self._add_up = tf.function(self._sum_of_processes, input_signature=[numbers], autograph=False)

    # Asked by every process at the same moment, outside of `run`.

    @contextlib.contextmanager
    def scope(self):
        """Variables that are made within exist on every device, with the same values."""
        with self._watched(), self._strategy.scope():
            yield
            if self.replicas > 1:
                self._keras_random = seed_generator.global_seed_generator()

    @contextlib.contextmanager
    def unanimous(self):
        """What one process refuses within, all refuse.

        Of what is no mistake of the user's (a disk or a network that fails) the others learn that the process is gone.

        Raises:
          InputError: the own one, or one that quotes that of another process.
        """
        refusal = None
        try:
            yield
        except InputError as error:
            refusal = error
        reasons = self.exchange(str(refusal or ""))
        if refusal:
            raise refusal
        for index, reason in enumerate(reasons):
            if reason:
                raise InputError(f"process {index + 1} of {self.processes} refuses: {reason}")

    def exchange(self, text):
        """Returns the texts that all processes give, the chief's first."""
        data = np.frombuffer(text.encode(), np.uint8)
        lengths = self.everyones(len(data))
        table = np.zeros([self.processes, max(lengths)])
        table[self.plan.cluster.index, : len(data)] = data
        rows = self._total(table).astype(np.uint8)
        return [row[:length].tobytes().decode() for row, length in zip(rows, lengths, strict=True)]

    def everyones(self, number):
        """Returns the whole numbers that all processes give, the chief's first."""
        numbers = np.zeros(self.processes)
        numbers[self.plan.cluster.index] = number
        return [int(each) for each in self._total(numbers)]

    def of_chief(self, arrays):
        """Returns the chief's {name: array of numbers}; the others give arrays of the same names, shapes and types."""
        return {name: self._total(array * self.is_chief).astype(array.dtype) for name, array in arrays.items()}

    def call(self, step, **tensors):
        """Returns what a traced step returns, as floats."""
        with self._watched():
            return {name: float(value) for name, value in step(**tensors).items()}

    def _total(self, array):
        """Returns the sum of an array over the processes; whole numbers up to 2**53 stay exact."""
        if self.processes == 1 or not array.size:  # TensorFlow crashes on the sum of nothing
            return array
        with self._watched():
            return self._add_up(np.ravel(array).astype(np.float64)).numpy().reshape(array.shape)

    def _sum_of_processes(self, numbers):
        def on_device(numbers):
            is_first = self._place() % self.plan.num_devices == 0
            return self.sum(tf.identity(numbers) if is_first else tf.zeros_like(numbers))

        return self.run(on_device, numbers=numbers)

    @contextlib.contextmanager
    def _watched(self):
        """Turns what TensorFlow says of a process that is gone into one line."""
        try:
            yield
        except errors.of_tensorflow(_GONE) as error:
            if self.processes == 1:
                raise
            raise RunError(
                f"another process of the cluster is gone or cannot be reached ({first_line(error)}): see what it says; "
                "the same commands in all processes go on from the last save"
            ) from None

    # Traced, on every device or around them.

    def run(self, function, **arguments):
        """Runs a function on every device and returns what the first of this process returns."""

        def on_device(**arguments):
            if self.replicas > 1:  # it runs in a thread of its own, where Keras would begin with another generator
                global_state.set_global_attribute(seed_generator.GLOBAL_SEED_GENERATOR, self._keras_random)
            return function(**arguments)

        results = self._strategy.run(on_device, kwargs=arguments)
        return tf.nest.map_structure(lambda result: self._strategy.experimental_local_results(result)[0], results)

    # Traced, within a function that `run` runs.

    def rows(self, batch):
        """Returns the rows of a batch that are this device's: every device has as many."""
        if self.replicas == 1:
            return batch
        count = batch.shape[0] // self.replicas
        return batch[self._place() * count : (self._place() + 1) * count]

    def in_place(self, rows):
        """Returns a batch with this device's rows in their place and zeros elsewhere."""
        if self.replicas == 1:
            return rows
        before, after = self._place() * rows.shape[0], (self.replicas - 1 - self._place()) * rows.shape[0]
        return tf.pad(rows, [[before, after]] + [[0, 0]] * (rows.shape.rank - 1))

    def gather(self, rows):
        """Returns the batch of all devices' rows, through which gradients flow back to each of them."""
        if self.replicas == 1:
            return rows
        if rows.op.type == "Sigmoid":  # comes last, because Keras's cross entropy looks for the logits in front of it
            return tf.sigmoid(self.gather(rows.op.inputs[0]))
        return self.sum(self.in_place(rows))

    def sum(self, tensors):
        """Returns the sum of each tensor over all devices; None stays None."""
        if self.replicas == 1:
            return tensors
        return _all_but_none(
            lambda found: tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, found), tensors
        )

    def part(self, tensors):
        """Returns this device's part of tensors that all devices have, for a sum over them; None stays None."""
        if self.replicas == 1:
            return tensors
        return _all_but_none(lambda found: [tensor / self.replicas for tensor in found], tensors)

    def _place(self):
        """The number of this device among all."""
        return int(tf.get_static_value(tf.distribute.get_replica_context().replica_id_in_sync_group))

    # Variables.

    def whole(self, variable):
        """Returns the variable of all devices of which a traced function has touched one device's copy."""
        return getattr(variable.handle, "_distributed_container", lambda: variable)()

    def part_seeds(self, variables):
        """Gives each device random numbers of its own: in Keras's generators, whose state is [seed, count]."""
        for variable in variables:
            if self.replicas > 1 and "seed_generator_state" in variable.name:
                seed, count = variable.numpy()
                first = self.plan.cluster.index * self.plan.num_devices
                for place, copy in enumerate(self._strategy.experimental_local_results(variable), first):
                    copy.assign(np.asarray([seed + place, count], seed.dtype))


def _all_but_none(function, values):
    """Applies a function to the list of what is not None, and puts the results in place."""
    flat = tf.nest.flatten(values, expand_composites=False)
    results = iter(function([value for value in flat if value is not None]))
    return tf.nest.pack_sequence_as(values, [value if value is None else next(results) for value in flat])
