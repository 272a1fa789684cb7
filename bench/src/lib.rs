//! gatepost-bench
