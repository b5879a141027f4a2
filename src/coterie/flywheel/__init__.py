"""From the calls made today to specialists that take them over: jobs, evidence, monitors."""
