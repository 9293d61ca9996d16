"""The report: all evidence of one model on one page, and the same as Markdown."""
