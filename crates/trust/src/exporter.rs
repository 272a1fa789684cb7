//! The value for `tls-exporter` channel bindings (RFC 9266).
