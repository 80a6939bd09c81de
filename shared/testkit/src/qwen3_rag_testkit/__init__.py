"""Test helpers for this project and for pipelines that use it.

`backends` has backends that need no torch, `checkpoints` writes small random checkpoints,
`contracts` has test classes for backends and for the model classes, `reference` is the model cards'
procedure, and `golden` has published results.
"""
