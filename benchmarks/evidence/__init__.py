"""Typed evidence: the measurements of each command as frozen dataclasses, and the files that hold them.

`envelope` alone reads and writes these files. Each of the other modules defines the rows of one kind of evidence.
"""
