//! IANA names of cipher suites, groups and versions.
