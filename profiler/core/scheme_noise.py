"""How noisy a Linear's output is under a scheme, by its number formats: where nothing can be measured.

SQNR in dB of one Linear of normal weights (variance 1 / K) on normal data, K 3072; a K of 64 is up to 1.5 dB quieter. Weights of
a trained model have outliers, and are noisier. Pruning half of such weights by magnitude leaves 8.8 dB, whatever comes after.
"""

from __future__ import annotations

SQNR_DB = {
    "int8wo": 40.9,
    "int8dq": 38.2,
    "fp8wo": 31.5,
    "fp8dq": 28.6,
    "fp8dqrow": 28.5,
    "fp6_e3m2": 25.6,
    "fp5_e2m2": 24.9,
    "int4dq": 20.4,
    "int4wo": 20.1,
    "fp4_e2m1": 18.6,
    "sparsify": 8.7,
    "fp8-sparse": 8.8,
}

UNIFORM_GAIN = 12.0
"""Noise at a transformer's output, of the mean noise of its Linears' outputs, where no gains were measured.

Fitted to four recorded runs of flux-dev with random weights (int8wo 22, int8dq 11, fp8wo 15, fp8dqrow 9): right to about 3 dB.
"""
