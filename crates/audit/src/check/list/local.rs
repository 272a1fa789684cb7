//! The ledger of one machine: lines as they are read, documents as they are done, and a state to go on from.

use std::io;

use serde_json::Value;
use tokio::sync::mpsc;

use super::state::{Chain, Progress, Unusable};
use super::{Ended, Finished, Ledger, Line};

/// Where documents go, and how far it is.
pub trait Sink {
    /// One line is done. An error ends the run.
    fn done(&mut self, document: &Value, progress: &Progress) -> io::Result<()>;
}

/// Lines from a sender, from where the progress is. They end when the sender goes away.
pub struct Local<'a, S> {
    lines: mpsc::Receiver<io::Result<String>>,
    order: Order,
    progress: &'a mut Progress,
    sink: &'a mut S,
}

impl<'a, S: Sink> Local<'a, S> {
    /// The ledger of a run.
    pub fn new(
        lines: mpsc::Receiver<io::Result<String>>,
        progress: &'a mut Progress,
        sink: &'a mut S,
    ) -> Self {
        Self {
            lines,
            order: Order::new(progress),
            progress,
            sink,
        }
    }
}

impl<S: Sink> Ledger for Local<'_, S> {
    async fn more(&mut self) -> Result<Option<Vec<Line>>, Ended> {
        let Some(line) = self.lines.recv().await else {
            self.order.end().map_err(Ended::State)?;
            return Ok(None);
        };
        let line = line.map_err(Ended::Reading)?;
        let lines = self.order.take(&line, self.progress);
        lines.map(Some).map_err(Ended::State)
    }

    fn done(&mut self, done: Finished) -> Result<(), Ended> {
        self.progress.summary.merge(&done.summary);
        self.progress.finish(done.line);
        let told = self.sink.done(&done.document, self.progress);
        told.map_err(Ended::Writing)
    }
}

/// The text of a line that is to be done; None for an empty one and for a remark.
#[must_use]
pub fn meant(line: &str) -> Option<&str> {
    let line = line.trim();
    (!line.is_empty() && !line.starts_with('#')).then_some(line)
}

/// Numbers the lines, and passes over what is done.
struct Order {
    chain: Chain,
    /// How many lines the state has read, and their hash.
    known: Option<(u64, String)>,
    /// Lines of those that are not done; kept back until the hash is compared.
    back: Vec<Line>,
}

impl Order {
    fn new(progress: &Progress) -> Self {
        Self {
            chain: Chain::default(),
            known: (progress.read > 0).then(|| (progress.read, progress.hash.clone())),
            back: Vec::new(),
        }
    }

    /// The next line as it was read; gives those to be worked on.
    fn take(&mut self, line: &str, progress: &mut Progress) -> Result<Vec<Line>, Unusable> {
        self.chain.add(line);
        let number = self.chain.count();
        if !progress.has(number) {
            match meant(line) {
                Some(line) => self.back.push((number, line.to_owned())),
                None => progress.finish(number),
            }
        }
        match &self.known {
            Some((read, _)) if number < *read => return Ok(Vec::new()),
            Some((read, hash)) if number == *read && *hash != self.chain.to_text() => {
                return Err(Unusable::OtherList);
            }
            Some((read, _)) if number == *read => self.known = None,
            _ => {}
        }
        progress.read = number;
        progress.hash = self.chain.to_text();
        Ok(std::mem::take(&mut self.back))
    }

    /// A list that is shorter than it was is another one.
    fn end(&self) -> Result<(), Unusable> {
        match self.known {
            Some(_) => Err(Unusable::OtherList),
            None => Ok(()),
        }
    }
}
