"""Ready-made mocks, each a short example: `duplexmock serve NAME`. They use the public names of duplexmock alone."""
