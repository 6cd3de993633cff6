"""Controls: what the same budget reaches without a trained photonic circuit.

An accuracy of a photonic generator says little unless it is beside

* ``frozen_random``: the same generator and schedule, p drawn once at random and frozen;
* ``constant``: the same generator and schedule, p_i = 1 for every outcome;
* ``random_subspace``: as many trainable numbers, mapped to the weights by a fixed random matrix
  (Li et al., arXiv:1804.08838), no p at all;
* the plain network, all weights trained (:mod:`qpu_sdk.training.controls`).
"""

from __future__ import annotations
