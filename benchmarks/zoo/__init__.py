"""The comparison of the presets; `python -m benchmarks.zoo --help` says how to run it.

From the ground up: `plans` is what is trained for how long, `presets` which presets there are, `results` what is kept;
`commands` runs gan's, `judge` measures images. A `comparison` brings these together for one data set; `jobs` has a
module for each kind of job, and `schedule` their order. `texts`, `tables` and `readme` write what came of them.
"""
