"""The objectives. Add a class here, or in a module of your own, and name it in `--label_loss`."""

import keras
from keras import ops


class BaseLoss:
    """Base of all losses.

    A loss on labels overrides `calculate_loss` alone. A loss that needs more (logits, pairs of real and generated
    images) overrides `discriminator_loss` and `generator_loss`, which are what the trainer calls.
    """

    def calculate_loss(self, predictions, labels):
        """Returns the scalar loss of a batch.

        Args:
          predictions: D's p [N, 1] in [0, 1].
          labels: what p should be, [N, 1]: 1 real, 0 generated.
        """
        raise NotImplementedError

    def discriminator_loss(self, real, generated):
        """Returns the scalar that D minimises.

        Args:
          real, generated: D's outputs {"logits", "predictions"}, [N, 1] each, for real and for generated images.
        """
        return self._labelled(real, 1) + self._labelled(generated, 0)

    def generator_loss(self, real, generated):
        """Returns the scalar that G minimises.

        Args:
          real: D's outputs before its update of this step.
          generated: D's outputs after it; the gradient flows through them into G.
        """
        return self._labelled(generated, 1)

    def _labelled(self, outputs, label):
        predictions = outputs["predictions"]
        return self.calculate_loss(predictions, label * ops.ones_like(predictions))


class CrossEntropyLoss(BaseLoss):
    """Cross entropy; G maximises log D(G(z)) (non-saturating: Goodfellow et al. 2014, section 3).

    In a traced step Keras takes the logits behind a sigmoid, so the gradient stays where p rounds to 0 or 1.
    """

    def calculate_loss(self, predictions, labels):
        return ops.mean(keras.losses.binary_crossentropy(labels, predictions))
