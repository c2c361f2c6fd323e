//! The end of an upload: the digests first, then durability, then the result. What fails leaves nothing behind.

use std::sync::Arc;

use super::options::UploadResult;
use super::{State, Upload, body_error};
use crate::error::{Error, Kind, Result};
use crate::write::{Floor, Shards};

type Trailers = Vec<(String, String)>;

impl Upload {
    /// [`Upload::finish`] for a body that fits `inline_bytes`, without waiting for anything. None: it does not fit, and
    /// nothing has happened.
    pub fn finish_inline(self: &Arc<Self>) -> Result<Option<UploadResult>> {
        if !self.is_inline(&self.state.lock()) {
            return Ok(None);
        }
        let trailers = self.end_of_body(&mut self.state.lock());
        let finished = trailers.and_then(|trailers| self.take_inline(&trailers));
        match &finished {
            Ok(_) => self.home.close(),
            Err(error) => self.fail(error.clone()),
        }
        finished
    }

    /// The body is complete. Resolves when enough members have their shard on stable storage, or k at least (see
    /// [`UploadResult::below_quorum`]); on an error nothing of the upload stays.
    pub async fn finish(self: &Arc<Self>) -> Result<UploadResult> {
        let finished = self.try_finish().await;
        match &finished {
            Ok(_) => self.home.close(),
            Err(error) => self.fail(error.clone()),
        }
        finished
    }

    async fn try_finish(self: &Arc<Self>) -> Result<UploadResult> {
        let trailers = self.end_of_body(&mut self.state.lock())?;
        if let Some(result) = self.take_inline(&trailers)? {
            return Ok(result);
        }
        self.wait_until(|state| self.processed(state)).await?;
        let mut result = self.verified(&mut self.state.lock(), trailers)?;
        result.stripe_bytes = self.stripe_bytes;
        let shards = {
            let mut state = self.state.lock();
            state.check()?;
            match state.single.take() {
                Some(blocks) => Shards::Single(blocks),
                None => Shards::Streamed(std::mem::take(&mut state.members)),
            }
        };
        let writer = self.writer()?;
        result.missing = writer.durable(shards, Floor::Readable).await?;
        let durable = writer.pg.members.len() - result.missing.len();
        result.below_quorum = durable < writer.pg.write_quorum();
        Ok(result)
    }

    /// Nothing more may be written; the lengths must be right.
    fn end_of_body(&self, state: &mut State) -> Result<Trailers> {
        state.check()?;
        if std::mem::replace(&mut state.ended, true) {
            return Err(Error::internal("the upload was ended twice"));
        }
        let trailers = match &mut state.decoder {
            Some(decoder) => decoder.finish().map_err(body_error)?,
            None => Vec::new(),
        };
        match self.options.content_length {
            Some(length) if length != state.received => Err(Error::new(
                Kind::IncompleteBody,
                format!("{} of {length} bytes came", state.received),
            )),
            _ => Ok(trailers),
        }
    }

    fn is_inline(&self, state: &State) -> bool {
        state.received == 0
            || (state.submitted == 0
                && state.spill.is_empty()
                && state.received <= self.options.inline_bytes as u64)
    }

    /// A small body is hashed here and now and never meets a drive.
    fn take_inline(&self, trailers: &Trailers) -> Result<Option<UploadResult>> {
        let mut state = self.state.lock();
        if !self.is_inline(&state) {
            return Ok(None);
        }
        let body = state.current.take();
        let State {
            digests, decoder, ..
        } = &mut *state;
        if let (Some(body), Some(digests)) = (&body, digests) {
            digests.look_at(decoder.as_mut());
            digests.update(body.plain());
        }
        let mut result = self.verified(&mut state, trailers.clone())?;
        drop(state);
        result.inline =
            Some(body.map_or_else(Vec::new, |body| body.into_payload(self.blob_key.as_ref())));
        Ok(Some(result))
    }

    /// Polled after the end of the body: queues what is left, and is ready when all stripes are encoded.
    fn processed(self: &Arc<Self>, state: &mut State) -> Result<Option<()>> {
        state.check()?;
        if !self.unspill(state)? {
            return Ok(None);
        }
        if let Some(last) = state.current.take() {
            self.queue(state, last);
        }
        Ok((!state.busy && state.passed_on == state.submitted).then_some(()))
    }

    fn verified(&self, state: &mut State, trailers: Trailers) -> Result<UploadResult> {
        let mut digests = state
            .digests
            .take()
            .ok_or_else(|| Error::internal("the digests are away"))?;
        digests.look_at(state.decoder.as_mut());
        let digested = digests.finish()?;
        digested.verify(&self.options, &trailers)?;
        let mut result = UploadResult {
            size: state.received,
            ..UploadResult::default()
        };
        digested.report(&self.options, &mut result);
        result.trailers = trailers;
        Ok(result)
    }
}
