//! gatepost-store
