"""Folders of facts that the harness writes: prepared from others, or random ones."""
