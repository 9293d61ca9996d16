"""Code that all other packages share: spec, weights, recipes, artifacts, preprocessing, measures, goldens."""
