"""The database itself: URLs, retries, leases, and the private names of Optuna."""
