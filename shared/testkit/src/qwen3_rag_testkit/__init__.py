"""Test material for this project and for pipelines that use it.

`backends` stands in for a model without torch, `checkpoints` writes small ones in the published
layout, `reference` is the model card's procedure, `golden` what others published, and `contracts`
what every backend and door has to do.
"""
