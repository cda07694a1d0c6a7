"""Running studies: spec, cells, cache, pool, trial, store."""
