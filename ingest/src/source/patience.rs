//! How long a server is waited for: as long as its timeouts say, but never past the end of the task that waits.

use std::time::{Duration, Instant};

use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport};
use ureq::{Error, Timeout};

use super::http::GoOn;

/// After so long without a byte it is asked whether to go on.
const LOOK: Duration = Duration::from_secs(1);

/// Makes the connections that stand before it in a chain ask while they wait.
#[derive(Debug)]
pub struct Patience(GoOn);

impl Patience {
    pub fn new(go_on: GoOn) -> Patience {
        Patience(go_on)
    }
}

impl<In: Transport> Connector<In> for Patience {
    type Out = Waiting<In>;

    fn connect(&self, _: &ConnectionDetails, chained: Option<In>) -> Result<Option<Waiting<In>>, Error> {
        Ok(chained.map(|inner| Waiting { inner, go_on: self.0.clone() }))
    }
}

#[derive(Debug)]
pub struct Waiting<T> {
    inner: T,
    go_on: GoOn,
}

impl<T: Transport> Transport for Waiting<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.inner.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let whole = timeout.for_read();
        let began = Instant::now();
        loop {
            let left = whole.after.saturating_sub(began.elapsed());
            let is_last = left <= LOOK;
            let (after, reason) = if is_last { (left, whole.reason) } else { (LOOK, Timeout::PerRead) };
            let look = NextTimeout { after: after.into(), reason, per_read: None, ..whole };
            match self.inner.await_input(look) {
                // Another kind than Interrupted, after which readers ask again.
                Err(Error::Timeout(_)) if self.go_on.check().is_err() => {
                    return Err(Error::Io(std::io::ErrorKind::ConnectionAborted.into()));
                }
                Err(Error::Timeout(_)) if !is_last => {}
                came => return came,
            }
        }
    }

    fn is_open(&mut self) -> bool {
        self.inner.is_open()
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}
