"""What an issue needs to name: ``python -m harness.doctor``."""
