"""Running a study: from options to trials, measurements and the report, or a dry run of them."""
