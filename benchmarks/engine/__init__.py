"""The engine beside its peers, back to back in one run; `python -m benchmarks.engine --help`.

Run it from the repository's root, best on a quiet machine. `python -m benchmarks.engine.report`
makes `docs/performance.md` of what `--json` wrote.
"""
