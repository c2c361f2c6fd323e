//! The thread that commits: takes everything that waits, writes it, one fdatasync, answers.

use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::Shared;
use crate::core::Op;
use crate::types::Result;

pub struct Request {
    pub op: Op,
    pub done: oneshot::Sender<Result<()>>,
    pub _slot: OwnedSemaphorePermit,
    pub _room: OwnedSemaphorePermit,
}

pub fn start(shared: &Arc<Shared>) -> std::io::Result<JoinHandle<()>> {
    let shared = shared.clone();
    Builder::new().name("anvil-log".into()).spawn(move || {
        super::wake::promptly();
        while let Some(requests) = shared.log.take_all() {
            let mut ops = Vec::with_capacity(requests.len());
            let mut waiting = Vec::with_capacity(requests.len());
            for Request {
                op,
                done,
                _slot,
                _room,
            } in requests
            {
                ops.push(op);
                waiting.push((done, _slot, _room));
            }
            let answers = shared.core.commit(&ops);
            drop(ops);
            for ((done, ..), answer) in waiting.into_iter().zip(answers) {
                // Whoever asked may have gone away.
                let _ = done.send(answer);
            }
        }
    })
}
