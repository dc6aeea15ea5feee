"""Writes record files, good and broken ones, for the tests."""

import tensorflow as tf


def example(pixels, label=None, name="image_raw"):
    """Returns a serialized `tf.train.Example` with the pixels as an int64 list."""
    features = {name: tf.train.Feature(int64_list=tf.train.Int64List(value=[int(value) for value in pixels]))}
    if label is not None:
        features["label"] = tf.train.Feature(int64_list=tf.train.Int64List(value=[int(label)]))
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def bytes_example(*strings, label=None):
    """Returns a serialized `tf.train.Example` with the pixels as strings of bytes; one is right."""
    features = {"image_raw": tf.train.Feature(bytes_list=tf.train.BytesList(value=strings))}
    if label is not None:
        features["label"] = tf.train.Feature(int64_list=tf.train.Int64List(value=[int(label)]))
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def write(path, serialized, compression=""):
    with tf.io.TFRecordWriter(str(path), compression) as writer:
        for record in serialized:
            writer.write(record)
    return str(path)


def write_images(path, pixels, labels=None, compression=""):
    labels = [None] * len(pixels) if labels is None else labels
    return write(path, [example(row, label) for row, label in zip(pixels, labels, strict=True)], compression)
