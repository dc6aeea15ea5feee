"""DCGAN in the way of PyTorch's tutorial: modules, a `DataLoader`, and a loop."""

import itertools
import time

import torch
from torch import nn
from torch.utils import data


class Crop(nn.Module):
    """Leaves out the last row and column."""

    def forward(self, x):
        return x[:, :, :-1, :-1]


def make_generator(recipe):
    f = recipe.features
    return nn.Sequential(
        nn.Linear(recipe.latent_size, 4 * f * 7 * 7, bias=False),
        nn.Unflatten(1, (4 * f, 7, 7)),
        _batch_norm(recipe, 4 * f),
        nn.ReLU(inplace=True),
        nn.ConvTranspose2d(4 * f, 2 * f, 4, 2, 1, bias=False),
        Crop(),  # 14 to 13
        _batch_norm(recipe, 2 * f),
        nn.ReLU(inplace=True),
        nn.ConvTranspose2d(2 * f, f, 4, 2, 1, bias=False),
        Crop(),  # 26 to 25
        _batch_norm(recipe, f),
        nn.ReLU(inplace=True),
        nn.ConvTranspose2d(f, 1, 4, 2, 1),
        nn.Tanh(),
    )


def make_discriminator(recipe):
    f = recipe.features
    return nn.Sequential(
        nn.Conv2d(1, f, 4, 2, 1),
        nn.LeakyReLU(recipe.slope, inplace=True),
        nn.ZeroPad2d((1, 2, 1, 2)),  # 25 to 13
        nn.Conv2d(f, 2 * f, 4, 2, bias=False),
        _batch_norm(recipe, 2 * f),
        nn.LeakyReLU(recipe.slope, inplace=True),
        nn.ZeroPad2d((1, 2, 1, 2)),  # 13 to 7
        nn.Conv2d(2 * f, 4 * f, 4, 2, bias=False),
        _batch_norm(recipe, 4 * f),
        nn.LeakyReLU(recipe.slope, inplace=True),
        nn.Flatten(),
        nn.Linear(4 * f * 7 * 7, 1),
    )


def _batch_norm(recipe, features):
    return nn.BatchNorm2d(features, recipe.norm_epsilon, recipe.momentum)


def initialise(model, recipe):
    """Draws the weights as Radford et al. did."""
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            nn.init.normal_(module.weight, 0.0, recipe.deviation)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, recipe.deviation)
        if getattr(module, "bias", None) is not None:
            nn.init.zeros_(module.bias)


class Loop:
    """A training that goes on where it stopped.

    Args:
      recipe: the `recipe.Recipe`.
      images: float32 [N, 50, 50, 1] in [-1, 1].
      channels_last: whether weights and images lie in memory as NHWC.
      compiled: whether both networks go through `torch.compile`.
    """

    def __init__(self, recipe, images, channels_last=False, compiled=False):
        self._recipe = recipe
        self._layout = torch.channels_last if channels_last else torch.contiguous_format
        self.generator, self.discriminator = make_generator(recipe), make_discriminator(recipe)
        for model in (self.generator, self.discriminator):
            initialise(model, recipe)
            model.to(memory_format=self._layout)
        self._generator_optimizer = self._make_optimizer(self.generator)
        self._discriminator_optimizer = self._make_optimizer(self.discriminator)
        self._loss = nn.BCEWithLogitsLoss()
        if compiled:
            self.generator.compile()
            self.discriminator.compile()
        dataset = data.TensorDataset(torch.from_numpy(images).permute(0, 3, 1, 2))
        loader = data.DataLoader(dataset, recipe.batch_size, shuffle=True, drop_last=True)
        self._batches = itertools.chain.from_iterable(itertools.repeat(loader))  # anew each epoch

    def _make_optimizer(self, model):
        recipe = self._recipe
        betas = (recipe.beta_1, recipe.beta_2)
        return torch.optim.Adam(model.parameters(), recipe.learning_rate, betas, recipe.epsilon)

    def seconds_of(self, steps):
        """Makes steps; returns the seconds that they take."""
        begin = time.perf_counter()
        for (images,) in itertools.islice(self._batches, steps):
            self._update(images, torch.randn(self._recipe.batch_size, self._recipe.latent_size))
        return time.perf_counter() - begin

    def update(self, images, noise):
        """Makes one step with arrays of NHWC; returns (D's loss, G's loss)."""
        return self._update(torch.from_numpy(images).permute(0, 3, 1, 2), torch.from_numpy(noise))

    def _update(self, images, noise):
        images = images.contiguous(memory_format=self._layout)
        ones = torch.ones(len(images), 1)
        generated = self.generator(noise)

        self._discriminator_optimizer.zero_grad()
        d_loss_real = self._loss(self.discriminator(images), ones)
        d_loss_real.backward()
        d_loss_generated = self._loss(self.discriminator(generated.detach()), torch.zeros_like(ones))
        d_loss_generated.backward()
        self._discriminator_optimizer.step()

        self._generator_optimizer.zero_grad()
        g_loss = self._loss(self.discriminator(generated), ones)
        g_loss.backward(inputs=list(self.generator.parameters()))
        self._generator_optimizer.step()
        return (d_loss_real + d_loss_generated).detach(), g_loss.detach()

    def set_weights(self, generator, discriminator):
        """Takes trained variables, in the order and the layout of Keras."""
        features = 4 * self._recipe.features
        by_row, *others = generator  # of the first layer, whose outputs are 7x7 places of features
        first = by_row.reshape(-1, 7, 7, features).transpose(0, 3, 1, 2).reshape(len(by_row), -1)
        _assign(self.generator, [first, *others])
        *others, kernel, bias = discriminator  # of the last layer, whose inputs are
        last = kernel.reshape(7, 7, features, -1).transpose(2, 0, 1, 3).reshape(kernel.shape)
        _assign(self.discriminator, [*others, last, bias])

    def count_parameters(self):
        """Returns the numbers of trained parameters of (G, D)."""
        models = (self.generator, self.discriminator)
        return tuple(sum(parameter.numel() for parameter in model.parameters()) for model in models)


@torch.no_grad()
def _assign(model, arrays):
    for parameter, array in zip(model.parameters(), arrays, strict=True):
        # Keras has inputs before outputs, and the places of a kernel before both.
        own = array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T
        parameter.copy_(torch.from_numpy(own))
