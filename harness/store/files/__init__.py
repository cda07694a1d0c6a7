"""Files beside the database: ranks, learning curves, test queries."""
