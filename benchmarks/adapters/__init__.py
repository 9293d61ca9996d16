"""What several runtimes are made of: child processes, a vendor's coroutines, the files of TF.js."""
