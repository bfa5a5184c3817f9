//! The rim both servers stand on: listener, fault engine, journal.
