"""The npm package of a net. sources/ is the runtime that the demo and the benchmarks use too."""
