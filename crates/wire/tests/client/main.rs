//! The client sessions against a hostile server and a hostile path.

mod hostile;
