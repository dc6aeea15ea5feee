"""The numbers of the recipe that all peers follow."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Radford, Metz & Chintala (2015), section 4, at the sizes of the preset `dcgan`.

    Attributes:
      features: width of the layer next to the image.
      epsilon: Adam's, as Keras has it.
      slope: of the leaky ReLU.
      momentum: share of the moving averages of batch normalisation that a step replaces.
      norm_epsilon: of batch normalisation.
      deviation: of the initial weights.
    """

    batch_size: int = 128
    features: int = 64
    latent_size: int = 100
    learning_rate: float = 0.0002
    beta_1: float = 0.5
    beta_2: float = 0.999
    epsilon: float = 1e-7
    slope: float = 0.2
    momentum: float = 0.1
    norm_epsilon: float = 1e-5
    deviation: float = 0.02
