"""Submissions made by hand, as strangers make them: TF1 graphs with queues and training ops, and broken ones."""

import contextlib

import numpy as np
import tensorflow as tf

v1 = tf.compat.v1
SIZE, LATENT = 12, 5


@contextlib.contextmanager
def tf1_checkpoint(folder, step=7, prefix="", global_step=True):
    """Builds a TF1 graph in the `with` block, initialises it and saves it as a checkpoint with step `step`.

    Args:
      prefix: written before the name in the `checkpoint` file, as savers of old wrote a path of their own machine.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tf.Graph().as_default():
        v1.set_random_seed(0)
        yield
        if global_step:
            v1.train.get_or_create_global_step()
        saver = v1.train.Saver()
        with v1.Session() as session:
            session.run(v1.global_variables_initializer())
            saver.save(session, str(folder / "model.ckpt"), step, write_state=False)
    (folder / "checkpoint").write_text(f'model_checkpoint_path: "{prefix}model.ckpt-{step}"\n')


def collect(**tensors):
    """Puts tensors into the collections of the contract."""
    for name, tensor in tensors.items():
        v1.add_to_collection(name, tensor)


def ref_variable(name, shape, seed):
    """A `VariableV2`, as TF1 made them, with values that follow from the seed."""
    values = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    return v1.Variable(values, name=name, use_resource=False)


def skeleton_2017():
    """The graph that the first contest's skeleton trained and saved: queue, towers' split, losses, optimizers, all."""
    with tf.device("/cpu:0"):
        files = v1.train.string_input_producer(["/data/of/another/machine/train.tfrecords"], num_epochs=50)
        _, serialized = v1.TFRecordReader().read(files)
        parsed = tf.io.parse_single_example(serialized, {"image_raw": tf.io.FixedLenFeature([SIZE], tf.int64)})
        image = tf.cast(parsed["image_raw"], tf.float32) / 255.0
        real = v1.train.shuffle_batch([image], 8, capacity=64, min_after_dequeue=16)
    noise = v1.placeholder(tf.float32, [None, LATENT], name="noise_input")
    weights = {
        name: ref_variable(name, shape, seed)
        for seed, (name, shape) in enumerate(
            {"gw1": [LATENT, 4], "gb1": [4], "gw2": [4, SIZE], "dw1": [SIZE, 4], "db1": [4], "dw2": [4, 1]}.items()
        )
    }

    def generator(z):
        return tf.sigmoid(tf.nn.relu(z @ weights["gw1"] + weights["gb1"]) @ weights["gw2"])

    def discriminator(x):
        return tf.sigmoid(tf.nn.relu(x @ weights["dw1"] + weights["db1"]) @ weights["dw2"])

    generated = tf.concat([generator(part) for part in tf.split(noise, 1)], 0)
    p_real, p_generated = discriminator(real), discriminator(generated)
    loss = -tf.reduce_mean(v1.log(p_real + 1e-5) + v1.log(1 - p_generated + 1e-5))
    train_op = v1.train.AdamOptimizer().minimize(loss, global_step=v1.train.get_or_create_global_step())
    v1.summary.scalar("loss", loss)
    collect(noise_input_placeholder=noise, generated_images=generated, input_batch_raw=real, p_for_data=p_real)
    v1.add_to_collection("train_op", train_op)
    return weights


def generator_of(body, noise_shape=(None, LATENT)):
    """A generator z -> body(z), in the collections."""
    noise = v1.placeholder(tf.float32, noise_shape, name="z")
    collect(noise_input_placeholder=noise, generated_images=body(noise))


def discriminator_of(body, image_shape=(None, SIZE)):
    """A discriminator x -> body(x), in the collections."""
    images = v1.placeholder(tf.float32, image_shape, name="x")
    collect(input_batch_raw=images, p_for_data=body(images))


def linear(x, size=SIZE):
    return tf.sigmoid(x @ ref_variable("w", [x.shape[1], size], 0))
