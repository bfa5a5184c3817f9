//! A mock server of the VOD multipart upload protocol.
