"""Decompose ATen ops that a converter lacks, refuses or gets wrong: one file per op family."""
