"""What stands above the tables of docs/explanation/claims.md."""

INTRODUCTION = """
Every number of the abstract of arXiv:2505.08474, run again from sampled shots, and one word on each. *Reproduced*: at
or above what was published, less one standard error of ours, or within the limit that was claimed with all of the 95
% interval. *Not reproduced*: the interval lies beyond. *Depends*: the interval holds the limit. *Void*: the number
says nothing of what it was meant for.

Unless a table says otherwise: 6,000 training and 600 test images drawn by seed from MNIST's training files, five
seeds, mean and standard deviation over seeds (ddof = 1); differences are taken seed by seed, with Student's 95 %
interval. "t10k" are the 10,000 images of MNIST's test files, which no seed draws and nothing was chosen on: a second
test set, the same for every run. p is sampled, 100,000 shots a setting and 1,000,000 at the end, at most 400 circuit
settings a run. Hyper-parameters were chosen on other images of the training files. The page is made of
`docs/results/*.json` by `make claims`; a test fails when they differ.
"""
BOND_TEXT = """
The published generator and its meshes, `examples/paper.toml`, in 102 settings a run. Published: four runs, ddof = 0,
from exact probabilities; training took 494,000 circuit evaluations a run.
"""
ABLATION_TEXT = """
Controls have the same images, batches, epochs and schedule, and as many trained numbers or fewer, but for the plain
network. "By exact gradients alone" is the same run without SPSA, from the same warm start.
"""
BETTER_TEXT = """
Published are 95.50 % with 3,292 numbers. Two generators train fewer, on training images that are shifted by a pixel
anew in every epoch, as those of the controls are; the third generates a network of twice as many weights, of which a
small network of as many weights as there are numbers is the first control to look at.
"""
COMPRESSION_TEXT = """
Test accuracy by the numbers that are trained; where a method does not come out at the same number, its own stands in
brackets. Each is trained for as many epochs as the generator: pruning is by magnitude of a trained network, then fine
tuning. What each is: [method](method.md#controls-and-baselines).
"""
NOISE_TEXT = """
chi = 10 on simulated devices with one figure of noise each, 20 million windows with a click a setting and 100 million
at the end, as a source of 80 MHz gives in the seconds that a setting takes anyway. All runs of a seed go on from one
warm start, so that losses against the device without noise are paired. Detectors of noisy devices only click.
"""
BUDGET_TEXT = """
The default generator with more or fewer circuit settings and shots of each; all runs of a seed go on from one warm
start of exact gradients, which asks no device. Machine time is 15 s a setting.
"""
COBYLA_TEXT = """
What was published, from sampled shots on the same simulated device: no warm start, 5 epochs of Adam and 1,000
evaluations of COBYLA a round, chi = 4. Published are 200 rounds, of which as many were run as the time allowed.
"""
CIRCUITS_TEXT = """
As many modes as 6,690 joint outcomes take; the generator is the default one. One photon in two circuits would take 82
modes.
"""
PHASES_TEXT = """
Where photons could matter most: weights that follow the joint distribution, each with a fixed random sign, so that
the phases and one gain are all that is trained. Beside them a random subspace of as many numbers, and the same
generator on circuits that nobody trained, whose gain is trained.
"""
