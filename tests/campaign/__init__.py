"""The reliability campaign: many bad inputs and faults through the real command lines (docs/reliability.md)."""
