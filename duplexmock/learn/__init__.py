"""What several runs of one program tell together: which of its values are new each time, and which come back."""
