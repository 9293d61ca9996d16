"""Compile and run Swift by the userland that `bash scripts/setup.sh swift` assembles."""
