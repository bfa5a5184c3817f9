//! A client of the VOD multipart upload protocol: fast, resumable, honest.
