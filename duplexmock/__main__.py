"""`python -m duplexmock` and the `duplexmock` command."""

from duplexmock.cli.main import run

if __name__ == "__main__":
    run()
