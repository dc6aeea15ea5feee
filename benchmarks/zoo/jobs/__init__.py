"""The kinds of jobs, a module each, which makes its `Job`s and does their work; `measure` has the reference too."""
