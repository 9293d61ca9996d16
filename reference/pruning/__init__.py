"""A smaller portrait: whole channels cut out of the trained one."""
