"""One verb for a net: export, goldens, parity, size, report. It starts the other packages' commands as processes."""
