"""Datasets that come with the package, as files: see minigan.data for the code that reads them."""
