"""Medians of ratios, and how sure they are."""

import random
from statistics import median

RESAMPLES = 2_000


def ratios(values, yardstick):
    """Compares what was measured in the same round."""
    return [value / base for value, base in zip(values, yardstick, strict=True)]


def interval(values):
    """Returns the 95 % bootstrap interval of the median; the same for the same values."""
    chance = random.Random(1)
    medians = sorted(median(chance.choices(values, k=len(values))) for _ in range(RESAMPLES))
    return medians[int(0.025 * RESAMPLES)], medians[int(0.975 * RESAMPLES) - 1]
