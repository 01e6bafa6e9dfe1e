"""What the benchmark's data sets and their parts are called, and which of them papers report."""

from __future__ import annotations

from paddle_darts.errors import DataError, nearest

DATASETS = ("cifar10-valid", "cifar10", "cifar100", "ImageNet16-120")
#: (data set, set) of the records by what one asks for. "cifar10-valid" is CIFAR-10 trained on half of its images.
CONVENTION = {
    ("cifar10", "valid"): ("cifar10-valid", "x-valid"),
    ("cifar10", "test"): ("cifar10", "ori-test"),
    ("cifar100", "valid"): ("cifar100", "x-valid"),
    ("cifar100", "test"): ("cifar100", "x-test"),
    ("ImageNet16-120", "valid"): ("ImageNet16-120", "x-valid"),
    ("ImageNet16-120", "test"): ("ImageNet16-120", "x-test"),
}
#: The sets behind the "valid-", "test-" and "valtest-" entries of `get_more_info`.
SETS = {
    "cifar10-valid": {"valid": "x-valid", "test": "ori-test"},
    "cifar10": {"test": "ori-test"},
    "cifar100": {"valid": "x-valid", "test": "x-test", "valtest": "ori-test"},
    "ImageNet16-120": {"valid": "x-valid", "test": "x-test", "valtest": "ori-test"},
}


def convention(dataset: str, split: str) -> tuple[str, str]:
    """(data set, set) of the records that papers report as ``split`` of ``dataset``; DataError if unknown."""
    if (dataset, split) not in CONVENTION:
        known = [" ".join(key) for key in CONVENTION]
        close = nearest(f"{dataset} {split}", known, 1)
        raise DataError(f"no results of {dataset} {split}{f'; did you mean {close[0]}?' if close else ''}")
    return CONVENTION[dataset, split]
