"""From today's calls to specialists that replace the model: jobs, evidence, monitors."""
