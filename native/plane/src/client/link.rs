//! One proven connection to a peer, and requests on it.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;

use anvil_codec::crc;
use anvil_engine::RequestId;
use anvil_engine::id::Id128;
use anvil_engine::target::{ShardError, ShardKey, ShardResult};
use bytes::Bytes;
use parking_lot::Mutex;
use quinn::{Connection, RecvStream, SendStream};
use tokio::sync::{Semaphore, watch};

use super::puts::Puts;
use crate::limits::{ANSWER, BATCH, DRIVE_CREDIT_BYTES};
use crate::local::Local;
use crate::stream::{Outgoing, StreamError, read_data, read_frame, within};
use crate::wire::{Frame, REQUEST_VERSION};

/// Unit in which bytes on their way are counted.
const CREDIT_UNIT_BYTES: usize = 1024;

pub(crate) struct Link {
    pub(super) local: Arc<Local>,
    pub(crate) connection: Connection,
    /// The peer's process that this connection leads to.
    pub(crate) process: String,
    /// That both sides speak.
    version: u16,
    silent: watch::Sender<bool>,
    drives: Mutex<HashMap<Id128, DriveLine>>,
}

/// What is shared by all writes to one drive.
#[derive(Clone)]
struct DriveLine {
    credit: Arc<Semaphore>,
    puts: Puts,
}

/// A part of what may be on its way to a drive.
pub(super) type Credit = tokio::sync::OwnedSemaphorePermit;

impl Link {
    pub(super) fn new(
        local: Arc<Local>,
        connection: Connection,
        process: String,
        version: u16,
    ) -> Link {
        Link {
            local,
            connection,
            process,
            version,
            silent: watch::Sender::new(false),
            drives: Mutex::default(),
        }
    }

    /// Nothing has come for too long: what waits for an answer stops waiting.
    pub(super) fn fall_silent(&self) {
        self.silent.send_replace(true);
    }

    fn line(self: &Arc<Self>, drive: Id128) -> DriveLine {
        let mut drives = self.drives.lock();
        let line = drives.entry(drive).or_insert_with(|| DriveLine {
            credit: Arc::new(Semaphore::new(DRIVE_CREDIT_BYTES / CREDIT_UNIT_BYTES)),
            puts: Puts::start(self, drive),
        });
        line.clone()
    }

    pub(super) fn puts(self: &Arc<Self>, drive: Id128) -> Puts {
        self.line(drive).puts
    }

    /// Waits until so many bytes more may be on their way to the drive.
    pub(super) async fn credit(
        self: &Arc<Self>,
        drive: Id128,
        bytes: usize,
    ) -> ShardResult<Credit> {
        let whole = DRIVE_CREDIT_BYTES / CREDIT_UNIT_BYTES;
        let units = bytes.div_ceil(CREDIT_UNIT_BYTES).clamp(1, whole) as u32;
        let credit = self.line(drive).credit;
        credit
            .acquire_many_owned(units)
            .await
            .map_err(|_| ShardError::Closed)
    }

    /// The frame that names a request, for a peer that understands it.
    pub(super) fn naming(&self, request: Option<&RequestId>) -> Option<Frame> {
        let understood = self.version >= REQUEST_VERSION;
        request
            .filter(|_| understood)
            .map(|request| Frame::Request(request.clone()))
    }

    pub(super) async fn open(&self) -> Result<(SendStream, RecvStream), StreamError> {
        let opened = self.connection.open_bi().await;
        opened.map_err(|error| StreamError::Lost(error.to_string()))
    }

    /// An answer that must come soon, and does not when the peer falls silent.
    async fn answer<T>(&self, asking: impl Future<Output = ShardResult<T>>) -> ShardResult<T> {
        let mut silent = self.silent.subscribe();
        tokio::select! {
            biased;
            _ = silent.wait_for(|silent| *silent) => Err(ShardError::Stalled),
            answer = within(ANSWER, asking) => answer.unwrap_or(Err(ShardError::Stalled)),
        }
    }

    /// Sends a `Read` of `len` bytes.
    pub(super) async fn read(
        &self,
        request: Frame,
        named: Option<&RequestId>,
        len: u32,
    ) -> ShardResult<Bytes> {
        let mut out = Outgoing::default();
        if let Some(naming) = self.naming(named) {
            out.frame(&naming);
        }
        out.frame(&request);
        self.answer(async {
            let reading = async {
                let (mut send, mut receive) = self.open().await?;
                out.write(&mut send).await?;
                // Nothing more comes from us; a stream that is gone tells the reader below.
                let _ = send.finish();
                match read_frame(&mut receive).await? {
                    Some(Frame::Bytes { len: answered, crc }) if answered == len => {
                        let bytes = read_data(&mut receive, len as usize).await?;
                        if crc::crc32c(&bytes) == crc {
                            Ok(Ok(bytes))
                        } else {
                            Err(StreamError::Corrupt)
                        }
                    }
                    Some(Frame::Done(Err(error))) => Ok(Err(error)),
                    _ => Err(StreamError::Unexpected),
                }
            };
            reading
                .await
                .unwrap_or_else(|error| Err(error.into_shard_error()))
        })
        .await
    }

    pub(super) async fn delete(
        &self,
        drive: Id128,
        shards: Vec<(ShardKey, u64)>,
    ) -> ShardResult<()> {
        let requests = shards.chunks(BATCH).map(|shards| Frame::Delete {
            drive,
            shards: shards.to_vec(),
        });
        let mut outcome = Ok(());
        self.batches(requests.collect(), |answer| match answer {
            Frame::Done(Ok(())) => true,
            Frame::Done(Err(error)) => {
                outcome = Err(error);
                true
            }
            _ => false,
        })
        .await?;
        outcome
    }

    pub(super) async fn has(&self, drive: Id128, shards: Vec<ShardKey>) -> ShardResult<Vec<bool>> {
        let requests = shards.chunks(BATCH).map(|shards| Frame::Has {
            drive,
            shards: shards.to_vec(),
        });
        let mut all = Vec::with_capacity(shards.len());
        let mut outcome = Ok(());
        self.batches(requests.collect(), |answer| match answer {
            Frame::Held(held) => {
                all.extend(held);
                true
            }
            Frame::Done(Err(error)) => {
                outcome = Err(error);
                true
            }
            _ => false,
        })
        .await?;
        outcome?;
        if all.len() == shards.len() {
            Ok(all)
        } else {
            Err(StreamError::Unexpected.into_shard_error())
        }
    }

    /// Requests on one stream, with an answer to each that `take` says belongs there.
    async fn batches(
        &self,
        requests: Vec<Frame>,
        mut take: impl FnMut(Frame) -> bool,
    ) -> ShardResult<()> {
        if requests.is_empty() {
            return Ok(());
        }
        let opened =
            self.answer(async { self.open().await.map_err(StreamError::into_shard_error) });
        let (mut send, mut receive) = opened.await?;
        for request in requests {
            let asking = async {
                let mut out = Outgoing::default();
                out.frame(&request);
                out.write(&mut send).await?;
                let answer = read_frame(&mut receive).await?;
                if answer.is_some_and(&mut take) {
                    Ok(())
                } else {
                    Err(StreamError::Unexpected)
                }
            };
            self.answer(async { asking.await.map_err(StreamError::into_shard_error) })
                .await?;
        }
        Ok(())
    }
}
