//! The client sessions against a hostile server and a hostile path, and against what honest servers of others do.

mod hostile;
mod memory;
mod others;
mod script;
mod smtp;
mod times;
