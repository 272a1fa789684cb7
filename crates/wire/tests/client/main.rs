//! The client sessions against a hostile server and a hostile path, and against what honest servers of others do.

mod hostile;
mod others;
mod script;
mod smtp;
mod times;
