"""What a store holds, without a report: ``python -m harness.results list | show | compare | export``."""
