"""Compares the local engine with other libraries; see `python -m benchmarks.engine --help`.

Run it from the root of the repository, best on an idle machine. The module `report` makes
`docs/measurements.md` from the files that `--json` writes.
"""
