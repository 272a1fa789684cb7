//! gatepost-trust
