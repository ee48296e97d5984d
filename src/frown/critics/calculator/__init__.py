"""The calculator: a critic that checks the arithmetic of a step exactly."""
