//! Listeners.
/// A listener's place; dropping it ends the listening.
#[must_use = "dropping it ends the listening"]
#[derive(Debug)]
pub struct Subscription {}
