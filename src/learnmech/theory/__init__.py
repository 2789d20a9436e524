"""What should happen: closed forms, differential equations and fixed points. NumPy, no torch."""
