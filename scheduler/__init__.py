"""The Schedule: a plan with its means, checked without arrays, then run inside the budget."""
