//! gatepost-serve
