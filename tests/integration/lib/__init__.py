"""Helpers of the integration tests: the server under test, a strict HTTP client, a load client."""
