"""What duplexmock costs, measured against what it stands beside: `python -m bench`."""
