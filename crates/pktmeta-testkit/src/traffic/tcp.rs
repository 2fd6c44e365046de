//! TCP connections that ask one question each.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::Result;
use crate::error::{Context, Error};

/// An answer that is longer is a mistake of the server, not a reason to fill up memory.
const MAX_ANSWER: u64 = 16 * 1024 * 1024;

/// What a [`TcpClient`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TcpReport {
    /// What the server answered on each connection, in the order of their numbers.
    pub answers: Vec<Vec<u8>>,
    /// From the first connection attempt to the last answer.
    pub elapsed: Duration,
}

/// Opens TCP connections; on each it sends a payload, closes its direction, and reads the answer
/// until the server closes.
///
/// ```no_run
/// use pktmeta_testkit::traffic::TcpClient;
///
/// let report = TcpClient::new("[2001:db8::2]:80".parse().unwrap())
///     .connections(100)
///     .parallel(4)
///     .run(|n| format!("question {n}").into_bytes())?;
/// assert_eq!(report.answers.len(), 100);
/// # Ok::<(), pktmeta_testkit::Error>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "nothing is sent until run() is called"]
pub struct TcpClient {
    to: SocketAddr,
    connections: u64,
    parallel: usize,
    timeout: Duration,
}

impl TcpClient {
    /// One connection, unless told otherwise.
    pub fn new(to: SocketAddr) -> Self {
        Self {
            to,
            connections: 1,
            parallel: 1,
            timeout: Duration::from_secs(10),
        }
    }

    /// How many connections to open.
    pub fn connections(mut self, count: u64) -> Self {
        self.connections = count;
        self
    }

    /// How many connections to have open at a time, each in a thread of its own; 1 by default, and
    /// 0 is taken for 1.
    pub fn parallel(mut self, threads: usize) -> Self {
        self.parallel = threads.max(1);
        self
    }

    /// How long each connect, write and read may take, 10 seconds by default.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = limit;
        self
    }

    /// Opens the connections. The closure makes the payload of each from its number, which starts
    /// at 0.
    ///
    /// # Errors
    /// A connection failed or took too long; says which one. No more are opened then.
    pub fn run(&self, payload: impl Fn(u64) -> Vec<u8> + Sync) -> Result<TcpReport> {
        if self.timeout.is_zero() {
            return Err(Error::new(format!(
                "cannot connect to {} within no time: set a timeout",
                self.to
            )));
        }
        let started = Instant::now();
        let next = AtomicU64::new(0);
        let work = || self.work(&next, &payload);
        let finished = thread::scope(|scope| {
            let workers: Vec<_> = (0..self.parallel).map(|_| scope.spawn(work)).collect();
            workers
                .into_iter()
                .map(|worker| worker.join())
                .collect::<Vec<_>>()
        });
        let mut answers = Vec::new();
        for result in finished {
            match result {
                Ok(result) => answers.extend(result?),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        answers.sort_unstable_by_key(|(n, _)| *n);
        let answers = answers.into_iter().map(|(_, answer)| answer).collect();
        Ok(TcpReport {
            answers,
            elapsed: started.elapsed(),
        })
    }

    /// One thread: takes numbers until there are no more.
    fn work(
        &self,
        next: &AtomicU64,
        payload: &(impl Fn(u64) -> Vec<u8> + Sync),
    ) -> Result<Vec<(u64, Vec<u8>)>> {
        let mut answers = Vec::new();
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            if n >= self.connections {
                return Ok(answers);
            }
            match self.ask(&payload(n)) {
                Ok(answer) => answers.push((n, answer)),
                Err(error) => {
                    // Nothing is left for the other threads.
                    next.store(self.connections, Ordering::Relaxed);
                    return Err(error.context(format!("TCP connection {n} to {} failed", self.to)));
                }
            }
        }
    }

    fn ask(&self, payload: &[u8]) -> Result<Vec<u8>> {
        let mut stream = TcpStream::connect_timeout(&self.to, self.timeout)
            .context(|| "cannot connect; does the server listen, in its namespace?".into())?;
        let limits = stream
            .set_write_timeout(Some(self.timeout))
            .and_then(|()| stream.set_read_timeout(Some(self.timeout)));
        limits.context(|| "cannot set time limits on the socket".into())?;
        stream
            .write_all(payload)
            .context(|| format!("cannot send {} bytes", payload.len()))?;
        match stream.shutdown(Shutdown::Write) {
            // The server may have answered and gone without waiting for the end.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => {}
            result => result.context(|| "cannot close our direction".into())?,
        }
        let mut answer = Vec::new();
        let read = stream.take(MAX_ANSWER + 1).read_to_end(&mut answer);
        read.context(|| format!("no end of the answer after {} bytes", answer.len()))?;
        match answer.len() as u64 > MAX_ANSWER {
            true => Err(Error::new(format!(
                "the answer is longer than {MAX_ANSWER} bytes"
            ))),
            false => Ok(answer),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn echo(listener: &TcpListener, connections: usize) {
        for _ in 0..connections {
            let (mut stream, _) = listener.accept().unwrap();
            let mut question = Vec::new();
            stream.read_to_end(&mut question).unwrap();
            stream.write_all(&question).unwrap();
        }
    }

    #[test]
    fn answers_come_in_the_order_of_their_connections() {
        for any in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(any).unwrap();
            let client = TcpClient::new(listener.local_addr().unwrap())
                .connections(20)
                .parallel(3);
            thread::scope(|scope| {
                scope.spawn(|| echo(&listener, 20));
                let report = client.run(|n| vec![n as u8; 3]).unwrap();
                let expected: Vec<_> = (0..20).map(|n| vec![n; 3]).collect();
                assert_eq!(report.answers, expected);
            });
        }
    }

    #[test]
    fn a_refused_connection_is_an_error_that_says_which() {
        let closed = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let error = TcpClient::new(closed)
            .connections(5)
            .run(|_| Vec::new())
            .unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ECONNREFUSED));
        assert!(
            error
                .to_string()
                .starts_with("TCP connection 0 to 127.0.0.1:"),
            "{error}"
        );
    }
}
