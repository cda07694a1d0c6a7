from tests.toy import context, dataset, spec  # noqa: F401  fixtures
