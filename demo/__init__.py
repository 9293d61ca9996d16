"""The web demo: a page that runs the exported web artifacts, and the server that offers it only proven ones."""
