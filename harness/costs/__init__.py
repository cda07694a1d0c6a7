"""What a study measures beside its trials: memory of stages, teachers in the loop, inference, exported students.

Each measurement is a function of a trial's spec, which runs alone on the machine in a process of its own and returns
rows of JSON values (`harness.costs.measure` says which). It knows no store, and changes nothing but the cache.
"""
