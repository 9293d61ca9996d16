"""Code that several runtimes share: child processes, coroutines of vendors, Core ML loading, TF.js files."""
