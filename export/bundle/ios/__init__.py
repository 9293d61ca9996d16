"""A Swift package for iOS and macOS, around Core ML."""
