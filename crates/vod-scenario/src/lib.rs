//! Runs and judges scenario files against the mock and any client.
