"""A contest of generative models: train a generator and a discriminator, then battle with them."""

__version__ = "1.4.0"
