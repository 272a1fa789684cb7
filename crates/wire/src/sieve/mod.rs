//! `ManageSieve` (RFC 5804): the client's session, to read what scripts a server keeps.

pub mod client;
