"""What a model is, for everyone: spec, weights, recipes, artifacts, preprocessing, measures, goldens."""
