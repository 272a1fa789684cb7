//! gatepost-net
