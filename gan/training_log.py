"""What a person sees of a run: progress bar, log file, pictures and the film of them, and what trackers show."""

import contextlib
import time

import tqdm

from gan import pictures, tracking
from gan.errors import Interrupted

_GIF_FRAMES = 100
_SECONDS_BETWEEN_LINES = 5.0
_COLUMNS = 4


class TrainingLog:
    """Reports one run.

    Args:
      train_dir: where `train.log` goes.
      image_dir: where `000.png`, `001.png`, ... and `training.gif` go.
      image_shape: (height, width, channels) of a picture's images.
      first_step, last_step: where this session begins and ends.
      batch_size: images per step, for the rate.
      pictures_written: how many pictures the run has written before.
      trackers: `tracking.BaseTracker` objects that are told of all this.
      run: the content of `run.json`, for them.

    Attributes:
      pictures_written: as above, with those of this session.
      places: after the end, where the trackers show the run; see `tracking.BaseTracker.places`.
    """

    def __init__(
        self,
        train_dir,
        image_dir,
        image_shape,
        first_step,
        last_step,
        batch_size,
        pictures_written,
        trackers=(),
        run=None,
    ):
        self._image_dir = image_dir
        self._image_shape = image_shape
        self._batch_size = batch_size
        self.pictures_written = pictures_written
        train_dir.mkdir(parents=True, exist_ok=True)
        self._files = contextlib.ExitStack()
        self._file = self._files.enter_context((train_dir / "train.log").open("a"))
        # tqdm draws nothing where stderr is not a terminal; there the log's lines are printed instead.
        self._bar = tqdm.tqdm(total=last_step, initial=first_step, unit=" steps", dynamic_ncols=True, disable=None)
        self._step_time = time.perf_counter()
        self._line_time = 0.0
        self._variety = ""
        self._collapsed = False
        self.places = {}
        self._watchers = tracking.Watchers(trackers, self.say)
        self._watchers.tell(lambda tracker: tracker.start(train_dir, run, first_step))

    def __enter__(self):
        return self

    def __exit__(self, _, error, __):
        failed = error is not None and not isinstance(error, Interrupted)
        self.places = self._watchers.places()
        self._watchers.tell(lambda tracker: tracker.close(failed))
        self._bar.close()
        self._files.close()

    def say(self, text):
        """Tells the terminal and the log file."""
        self._file.write(text + "\n")
        self._file.flush()
        self._bar.write(text) if not self._bar.disable else print(text, flush=True)

    def step(self, step, metrics, learning_rate):
        """Reports one training step.

        Args:
          step: the number of steps done.
          metrics: {"g_loss", "d_loss", "d_accuracy_on_generated", "d_accuracy_on_real", ...} as floats.
          learning_rate: the rate of this step.
        """
        now = time.perf_counter()
        examples_per_second = self._batch_size / (now - self._step_time)
        self._step_time = now
        line = (
            f"training step {step} | G Loss: {metrics['g_loss']:.4f} | D loss: {metrics['d_loss']:.4f} | "
            f"Examples/sec: {examples_per_second:.2f}"
        )
        tenth = step % 10 == 0
        if tenth:
            on_generated, on_real = metrics["d_accuracy_on_generated"], metrics["d_accuracy_on_real"]
            line += f" | D accuracy on G: {on_generated:.2f} | D accuracy on real: {on_real:.2f}"
            self._bar.set_postfix_str(
                f"G {metrics['g_loss']:.3f}, D {metrics['d_loss']:.3f}, "
                f"D right on G {on_generated:.0%}, on real {on_real:.0%}" + (self._variety and f", {self._variety}"),
                refresh=False,
            )
            self._scalars(step, {**metrics, "learning_rate": learning_rate, "images_per_second": examples_per_second})
        self._file.write(line + "\n")
        self._bar.update()
        if tenth and self._bar.disable and now - self._line_time >= _SECONDS_BETWEEN_LINES:
            print(line + (self._variety and f" | {self._variety}"), flush=True)
            self._line_time = now

    def quality(self, look):
        """Reports a `sample_quality.Look`, and warns where G has just collapsed."""
        names = ("variety", "distinctness", "kid", "frechet")
        numbers = {name: getattr(look, name) for name in names}
        numbers = {name: value for name, value in numbers.items() if value is not None}
        self._scalars(look.step, {**numbers, "collapsed": float(look.collapsed)})
        mark = " COLLAPSED" if look.collapsed else ""
        self._file.write(
            f"quality step {look.step} | " + " | ".join(f"{n}: {v:.4f}" for n, v in numbers.items()) + mark + "\n"
        )
        self._variety = f"variety {look.variety:.0%}{mark}"
        if look.collapsed and not self._collapsed:
            nearest = "" if look.distinctness is None else f", and from the one most like it {look.distinctness:.0%}"
            self.say(
                f"warning: step {look.step}: a generated image differs from others {look.variety:.0%} as much as a real"
                f" one{nearest}: G has collapsed to few images, and seldom comes back. Another --seed, a smaller "
                "--discriminator_rate_factor, --gradient_penalties or --augmentations may help"
            )
        self._collapsed = look.collapsed

    def _scalars(self, step, values):
        self._watchers.tell(lambda tracker: tracker.scalars(step, values))

    def draw(self, images):
        """Writes the next numbered picture, a grid of four columns, and returns it; in any one thread."""
        picture = pictures.grid(images, self._image_shape, _COLUMNS)
        pictures.save_png(self._picture_file(self.pictures_written), picture)
        self.pictures_written += 1
        return picture

    def show(self, step, picture):
        """Shows the trackers a picture of generated images."""
        self._watchers.tell(lambda tracker: tracker.picture(step, "generated", picture))

    def histograms(self, step, variables):
        """Shows the trackers the distribution of every variable, {name: variable}."""
        arrays = {name: variable.numpy() for name, variable in variables.items()}
        self._watchers.tell(lambda tracker: tracker.histograms(step, arrays))

    def artifact(self, step, name, path):
        """Gives the trackers a file or a folder that the run has written, as a thing of that name."""
        self._watchers.tell(lambda tracker: tracker.artifact(step, name, path))

    def film(self):
        """Writes `training.gif` of the run's pictures, thinned to a hundred, and returns it (None without any)."""
        files = [self._picture_file(number) for number in range(self.pictures_written)]
        files = [file for file in files if file.exists()]
        if not files:
            return None
        stride = -(-len(files) // _GIF_FRAMES)
        target = self._image_dir / "training.gif"
        pictures.save_gif(target, files[::-stride][::-1])
        return target

    def flush(self):
        self._file.flush()
        self._watchers.tell(lambda tracker: tracker.flush())

    def _picture_file(self, number):
        return self._image_dir / f"{number:03}.png"


def print_files(title, files):
    """Ends a command by naming what is worth opening: {file or folder: what it is}."""
    print(title)
    width = max(len(str(file)) for file in files)
    for file, text in files.items():
        print(f"  {file!s:{width}}  {text}")
