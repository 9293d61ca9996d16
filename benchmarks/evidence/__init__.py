"""Typed evidence: what each command of this package measured, as frozen dataclasses, and the files that hold it.

`envelope` is the one place that reads and writes such files; every other module holds the rows of one kind.
"""
