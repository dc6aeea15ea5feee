"""What teams write: classes of their own, named by dotted path, some of them wrong."""

import keras
from keras import layers

from gan.losses import BaseLoss, CrossEntropyLoss
from gan.models import BaseModel, SampleDiscriminator, SampleGenerator


class NoisyGenerator(BaseModel):
    """Has everything that a resumed run could forget: batch statistics, dropout, random numbers without a layer."""

    def create_model(self, image_shape, **unused_params):
        self.blocks = {"first": [layers.Dense(16), layers.BatchNormalization()], "drop": layers.Dropout(0.3)}
        self.last = layers.Dense(image_shape[0] * image_shape[1] * image_shape[2], activation="sigmoid")

    def run_model(self, model_input, is_training=True):
        dense, norm = self.blocks["first"]
        x = norm(dense(model_input), training=is_training)
        if is_training:
            x = x + 0.1 * keras.random.normal(keras.ops.shape(x))
        return {"output": self.last(self.blocks["drop"](x, training=is_training))}


class DropoutDiscriminator(BaseModel):
    def create_model(self, image_shape, **unused_params):
        self.stack = keras.Sequential([layers.Dense(16, activation="relu"), layers.Dropout(0.5), layers.Dense(1)])

    def run_model(self, model_input, is_training=True):
        logits = self.stack(model_input, training=is_training)
        return {"logits": logits, "predictions": keras.ops.sigmoid(logits)}


class RegularisedDiscriminator(SampleDiscriminator):
    def create_model(self, image_shape, latent_size, feature_size):
        self.hidden = layers.Dense(8, kernel_regularizer=keras.regularizers.L2(0.5))
        self.logit = layers.Dense(1)


class TanhGenerator(SampleGenerator):
    def create_model(self, image_shape, latent_size, feature_size):
        super().create_model(image_shape, latent_size, feature_size)
        self.image.activation = keras.activations.tanh


class SquareGenerator(SampleGenerator):
    def run_model(self, model_input, is_training=True):
        return {"output": keras.ops.reshape(super().run_model(model_input)["output"], (-1, 28, 28, 1))}


class FixedBatchGenerator(SampleGenerator):
    def run_model(self, model_input, is_training=True):
        return {"output": super().run_model(keras.ops.ones((128, 100)))["output"]}


class LogitDiscriminator(SampleDiscriminator):
    def run_model(self, model_input, is_training=True):
        logits = super().run_model(model_input)["logits"]
        return {"logits": logits, "predictions": logits}


class ForgetfulDiscriminator(SampleDiscriminator):
    def run_model(self, model_input, is_training=True):
        return super().run_model(model_input)["predictions"]


class BrokenGenerator(SampleGenerator):
    def run_model(self, model_input, is_training=True):
        return {"output": self.no_such_layer(model_input)}


class NotAModel:
    pass


class NanLoss(BaseLoss):
    def calculate_loss(self, predictions, labels):
        return keras.ops.log(-keras.ops.mean(predictions))


class SquaredLoss(BaseLoss):
    """On labels alone, as in 2017."""

    def calculate_loss(self, predictions, labels):
        return keras.ops.mean((predictions - labels) ** 2)


class VectorLoss(BaseLoss):
    def calculate_loss(self, predictions, labels):
        return (predictions - labels) ** 2


class RaisingLoss(BaseLoss):
    def calculate_loss(self, predictions, labels):
        return predictions @ labels.no_such_attribute


class SmoothedLoss(CrossEntropyLoss):
    """Label smoothing by overriding the one method that teams know."""

    def calculate_loss(self, predictions, labels):
        return super().calculate_loss(predictions, 0.9 * labels)


class WeightlessDiscriminator(BaseModel):
    def create_model(self, **unused_params):
        pass

    def run_model(self, model_input, is_training=True):
        logits = keras.ops.mean(model_input, axis=1, keepdims=True)
        return {"logits": logits, "predictions": keras.ops.sigmoid(logits)}


class FixedShapeGenerator(SampleGenerator):
    """Works for the batch of training, not for any batch."""

    def run_model(self, model_input, is_training=True):
        return super().run_model(keras.ops.reshape(model_input, (model_input.shape[0] * 1, 100)))


class ConstantGenerator(SampleGenerator):
    """Passes a check that tries one batch size alone."""

    def run_model(self, model_input, is_training=True):
        return {"output": super().run_model(keras.ops.ones((4, 100)))["output"]}


class ExitingGenerator(SampleGenerator):
    def run_model(self, model_input, is_training=True):
        raise SystemExit(0)
