"""Packages for apps: proven artifacts with the code that runs them. One folder per platform."""
