"""What was published: arXiv:2505.08474 and, where it says so, its authors' notebooks (percent; +- is ddof = 0)."""

from __future__ import annotations

#: Test accuracy by bond dimension, mean and spread over four runs.
BOND = {
    1: (55.775, 3.275),
    2: (81.375, 2.287),
    3: (87.058, 2.667),
    4: (93.293, 0.629),
    5: (93.043, 0.778),
    6: (94.918, 0.604),
    7: (94.958, 0.826),
    8: (94.708, 0.476),
    9: (94.835, 0.484),
    10: (95.503, 0.841),
}
#: The same of the rows 9 and 10, of which one entry was swapped, put right.
CORRECTED = {9: (95.42, 0.69), 10: (94.92, 0.75)}
#: The plain network, three runs.
PLAIN = (96.89, 0.311)
#: Test accuracy by non-zero weights, three runs: pruned before any training.
PRUNED = {675: (27.89, 4.83), 1300: (78.00, 1.61), 2120: (88.78, 1.50), 2745: (91.50, 0.47), 3370: (94.44, 0.92)}
#: By parameters, three runs: learning rate a tenth of the other methods'.
SHARED = {3042: (38.05, 0.77), 3234: (67.61, 1.50), 3618: (86.28, 1.19), 3810: (88.39, 1.02), 4770: (88.67, 1.21)}
#: The ablation by bond dimension, one run each (authors' notebooks): p and index drawn anew at each call.
ABLATION = {1: 10.83, 2: 10.50, 3: 12.50, 4: 10.33, 5: 11.00, 6: 10.67, 7: 8.50, 8: 12.00, 9: 11.67, 10: 8.17}
#: Circuit settings of a published run when identical ones are run once, and shots if each were of 100,000.
SETTINGS, SHOTS = 400_400, 4.004e10
