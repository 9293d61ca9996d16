"""The package for Android: a Gradle library module in Kotlin on LiteRT's CompiledModel, and a sample app."""
