//! The TLS engine, behind a type of our own.
