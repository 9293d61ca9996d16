"""The web demo: a page that runs the exported web artifacts, and the server that hands it only what was proven."""
