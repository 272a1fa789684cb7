//! The ClientHello, read before a TLS engine sees it.
