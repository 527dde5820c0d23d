"""treering: gradient-boosted trees on any number of SageMaker hosts."""

__version__ = "0.1.0"
