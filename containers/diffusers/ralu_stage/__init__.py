"""The stage server for diffusers' models: the contract of docs/stage-contract.md, on one GPU."""

__version__ = "0.1.0"
