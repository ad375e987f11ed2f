//! One connection of a sender: its messages are kept and answered in order.
//!
//! Invariants: no message is answered before it is kept. A message that has begun must end in time, however slowly its
//! bytes come; what is no message keeps no connection open. When told to stop, what has begun is finished. Whoever sends
//! a message that is too long learns it: the rest is read first, for an unread rest would reset the connection.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::acknowledgement::{Verdict, acknowledgement};
use super::mllp::{Frame, Frames, TooLong, framed};
use super::receive::{Taken, refuse_too_long, take};
use crate::model::hl7::Hl7Settings;
use crate::store::{SharedStore, StoreError};

/// How long a message may take from its first byte to its last, at most.
const MESSAGE: Duration = Duration::from_secs(30);
/// How long the sender may take to receive an answer.
const ANSWER: Duration = Duration::from_secs(10);
/// How long a sender that is told to end has to hang up.
const HANG_UP: Duration = Duration::from_secs(2);
/// How much is read at once.
const CHUNK: usize = 16 * 1024;

/// Why a connection was ended by us, or broke.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// Too many senders are connected.
    #[error("{0} senders of HL7 are connected")]
    Full(usize),
    /// The address is none of those that may send (any more).
    #[error("it may not send HL7 messages: hl7.from says who may")]
    NotAllowed,
    /// A message did not end in time.
    #[error("a message did not end in time")]
    TooSlow,
    /// A message is too long.
    #[error(transparent)]
    TooLong(#[from] TooLong),
    /// The answer was not taken in time.
    #[error("it does not take our answers")]
    NotReading,
    /// The connection broke.
    #[error("the connection broke")]
    Broken(#[from] io::Error),
    /// A message could not be kept; it was not answered.
    #[error("a message could not be kept")]
    Store(#[from] StoreError),
}

/// The connection of a sender.
#[derive(Debug)]
pub struct Session<S, T> {
    /// Where messages are kept.
    pub store: SharedStore,
    /// The settings in force, asked anew for each message.
    pub settings: S,
    /// Told of each message that is kept.
    pub taken: T,
    /// How long it may be without a message, and a message without its end.
    pub idle: Duration,
}

impl<S, T> Session<S, T>
where
    S: Fn() -> Hl7Settings,
    T: Fn(&Taken),
{
    /// Serves it until it ends, is silent for too long, or `stop` is cancelled and no message has begun.
    pub async fn serve(
        &self,
        mut stream: TcpStream,
        from: IpAddr,
        stop: &CancellationToken,
    ) -> Result<(), SessionError> {
        let mut frames = Frames::default();
        let mut chunk = vec![0; CHUNK];
        let source = from.to_canonical().to_string();
        let mut deadline = Instant::now() + self.idle;
        loop {
            self.allow(from)?;
            let was_within = frames.is_within();
            let read = tokio::select! {
                biased;
                () = stop.cancelled(), if !was_within => return Ok(()),
                read = timeout_at(deadline, stream.read(&mut chunk)) => read,
            };
            let count = match read {
                Ok(count) => count?,
                Err(_) if frames.is_too_long() => {
                    give_up(&mut stream, &mut chunk).await?;
                    return Err(TooLong.into());
                }
                Err(_) if was_within => return Err(SessionError::TooSlow),
                Err(_) => return Ok(()),
            };
            if count == 0 {
                return Ok(());
            }
            let ended = match frames.push(chunk.get(..count).unwrap_or_default()) {
                Ok(ended) => ended,
                Err(error) => {
                    give_up(&mut stream, &mut chunk).await?;
                    return Err(error.into());
                }
            };
            let has_ended = !ended.is_empty();
            for frame in ended {
                let settings = self.allow(from)?;
                let taken = match frame {
                    Frame::Whole(message) => take(&self.store, &settings, message, &source).await?,
                    Frame::TooLong(header) => {
                        refuse_too_long(&self.store, &settings, &header, &source).await?
                    }
                };
                (self.taken)(&taken);
                answer(&mut stream, &taken.answer).await?;
            }
            // What is no part of a message moves no deadline.
            if frames.is_within() && (!was_within || has_ended) {
                deadline = Instant::now() + self.idle.min(MESSAGE);
            } else if has_ended {
                deadline = Instant::now() + self.idle;
            }
        }
    }

    fn allow(&self, from: IpAddr) -> Result<Hl7Settings, SessionError> {
        let settings = (self.settings)();
        match settings.from.include(from) {
            true => Ok(settings),
            false => Err(SessionError::NotAllowed),
        }
    }
}

/// Answers a message that has no end, and ends the connection so that the answer arrives.
async fn give_up(stream: &mut TcpStream, chunk: &mut [u8]) -> Result<(), SessionError> {
    let verdict = Verdict::Error(TooLong.to_string());
    answer(stream, &acknowledgement(None, &verdict, Timestamp::now())).await?;
    stream.shutdown().await?;
    let hung_up = async { while matches!(stream.read(chunk).await, Ok(1..)) {} };
    // Whoever does not hang up by then loses the answer.
    let _ = timeout(HANG_UP, hung_up).await;
    Ok(())
}

async fn answer(stream: &mut TcpStream, text: &str) -> Result<(), SessionError> {
    let sent = timeout(ANSWER, stream.write_all(&framed(text))).await;
    Ok(sent.map_err(|_| SessionError::NotReading)??)
}
