"""The benchmarks, a module a command."""
