"""Chat platforms, pushed to over HTTP."""
