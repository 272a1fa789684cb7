//! gatepost-fuzz
