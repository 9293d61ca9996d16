"""Read torch.export archives (.pt2) as data: nothing in them is unpickled, evaluated or imported."""
