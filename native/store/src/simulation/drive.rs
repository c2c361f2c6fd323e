//! The drive under test, its disk, and the model of what it acknowledged.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::model::{Content, Model, random_block};
use super::step::{Ask, Handle, Step, Target, key_of};
use crate::buffers::Buffers;
use crate::core::{Core, CoreOptions, FAILED_FILE, Op, Stream};
use crate::disk::Disk;
use crate::disk::sim::{Rng, SimDisk};
use crate::format::identity::Identity;
use crate::index::INDEX_FILE;
use crate::limits::MIN_SEGMENT_BYTES;
use crate::types::StoreError;

pub struct Simulation {
    pub disk: SimDisk,
    pub core: Option<Arc<Core>>,
    pub model: Model,
    /// Stream, what it holds, whether it was removed meanwhile.
    pub streams: Vec<(Stream, Content, bool)>,
    /// Handles of shards that have been sealed.
    sealed: Vec<Stream>,
    /// Which copy of a segment's header rotted: the other one is left alone.
    rotten_copies: BTreeMap<String, Target>,
    gone: bool,
}

impl Simulation {
    pub fn new() -> Self {
        Self {
            disk: SimDisk::new(0xd15c),
            core: None,
            model: Model::default(),
            streams: Vec::new(),
            sealed: Vec::new(),
            rotten_copies: BTreeMap::new(),
            gone: false,
        }
    }

    pub fn core(&self) -> &Arc<Core> {
        self.core.as_ref().expect("open")
    }

    pub fn has_failed(&self) -> bool {
        self.core
            .as_ref()
            .is_none_or(|core| core.check_working().is_err())
    }

    pub fn apply(&mut self, step: &Step) {
        self.carry_out(step);
        self.disk.deeds().settle();
    }

    fn carry_out(&mut self, step: &Step) {
        if let Step::Open {
            broken_off,
            without_index,
        } = step
        {
            if self.core.is_none() {
                self.disk.set_full(false, false);
                for attempt in broken_off {
                    // Sometimes the power goes while the drive is being recovered.
                    self.disk.crash_after(attempt.after);
                    let opened = self.try_open();
                    self.core = None;
                    if opened.is_err() || attempt.crash.is_some() {
                        self.disk.crash(attempt.crash.unwrap_or(attempt.seed));
                    } else {
                        self.disk.kill();
                    }
                    let _ = self.disk.remove(FAILED_FILE);
                }
                if *without_index {
                    let _ = self.disk.remove(INDEX_FILE);
                }
                self.try_open().expect("the drive opens");
                self.check();
            }
            return;
        }
        if self.core.is_none() {
            return;
        }
        match step {
            Step::Open { .. } => {}
            Step::PowerFor(operations) => self.disk.crash_after(*operations),
            Step::SyncsFor(syncs) if !self.gone => self.disk.fail_sync_after(*syncs),
            Step::SyncsFor(_) => {}
            Step::Full {
                full,
                for_overwrites,
            } => self.disk.set_full(*full, *for_overwrites),
            Step::Gone => {
                self.disk.set_gone(true);
                self.gone = true;
            }
            Step::Pass(ms) => self.disk.pass_time(*ms),
            Step::Commit(asks) => {
                let ops = asks.iter().map(op_of).collect();
                self.commit(ops);
            }
            Step::Begin {
                key,
                generation,
                block_bytes,
            } => self.begin(*key, *generation, *block_bytes),
            Step::Append { at, seed } => self.append(*at, *seed),
            Step::Seal { at, handle } => self.seal(*at, *handle),
            Step::GiveUp { at, syncs } => {
                if let Some(at) = self.stream_at(*at) {
                    let (stream, ..) = self.streams.remove(at);
                    self.let_go(stream, *syncs);
                }
            }
            Step::LetGo { at, syncs } => self.let_sealed_go(*at, *syncs),
            Step::Flip {
                key,
                target,
                at,
                bit,
                value,
            } => self.flip(*key, *target, *at, *bit, *value),
            Step::Checkpoint => may_fail(self.core().checkpoint()),
            Step::CheckpointLettingGo { at, syncs } => {
                self.let_sealed_go(*at, Some(*syncs));
                may_fail(self.core().checkpoint());
            }
            Step::Spare => may_fail(self.core().prepare_spare()),
            Step::Reap => self.core().reap(),
            Step::Compact(bytes) => may_fail(self.core().compact(*bytes).map(|_| ())),
            Step::End {
                in_order,
                crash,
                seed,
            } => self.end(*in_order, *crash, *seed),
        }
    }

    fn try_open(&mut self) -> Result<(), StoreError> {
        let options = CoreOptions {
            reserve_bytes: 1000,
            segment_bytes: MIN_SEGMENT_BYTES,
            buffers: Buffers::new(1 << 20),
        };
        let (core, _) = Core::open(
            Arc::new(self.disk.clone()),
            Identity::new([1; 16], [2; 16]),
            options,
        )?;
        self.core = Some(Arc::new(core));
        Ok(())
    }

    fn end(&mut self, in_order: bool, crash: Option<u64>, seed: u64) {
        let in_order = in_order && !self.has_failed() && !self.disk.is_dead() && !self.gone;
        if in_order {
            self.disk.set_full(false, false);
            self.disk.pass_time(1000);
            if self.core().close().is_ok() {
                self.end_of_life();
                return self.disk.kill();
            }
        }
        let failure = self.core().check_working().err();
        let failed = failure.is_some();
        let vanished = failure.is_some_and(|failure| failure.to_string().contains("gone"));
        let dead = self.disk.is_dead();
        self.end_of_life();
        self.disk.set_gone(false);
        self.gone = false;
        if failed && !dead {
            self.disk.kill();
            // A full drive may have had no room for the word that is left.
            let told = self.disk.open(FAILED_FILE).is_ok();
            assert!(
                !told || !vanished,
                "word was left although the folder was gone"
            );
            assert!(
                !told || matches!(self.try_open(), Err(StoreError::Failed(_))),
                "a failed drive opened again"
            );
        }
        if (failed && !vanished) || dead || crash.is_some() {
            self.disk.crash(crash.unwrap_or(seed))
        } else {
            self.disk.kill()
        }
        let _ = self.disk.remove(FAILED_FILE);
    }

    fn end_of_life(&mut self) {
        self.streams.clear();
        self.sealed.clear();
        self.disk.deeds().forget();
        // Nothing may happen at the end that a dead process could not do.
        self.disk.crash_after(0);
        self.core = None;
    }

    /// Commits and tells the model.
    fn commit(&mut self, ops: Vec<Op>) {
        let answers = self.core().commit(&ops);
        for (op, answer) in ops.into_iter().zip(answers) {
            match answer {
                Err(StoreError::StaleGeneration { current }) => {
                    // A generation of the same batch may have been told and not been acknowledged yet.
                    let known = |pg| {
                        self.model
                            .generations
                            .get(&pg)
                            .map_or(0, |(_, high): &(u64, u64)| *high)
                    };
                    let too_low = match &op {
                        Op::Put {
                            key, generation, ..
                        } => *generation < known(key.pg),
                        Op::Delete { keys } => keys
                            .iter()
                            .any(|(key, generation)| *generation < known(key.pg)),
                        Op::Generation { pg, generation } => *generation < known(*pg),
                        _ => false,
                    };
                    assert!(too_low, "refused with {current} for no reason");
                }
                Err(StoreError::Full) => {}
                Err(StoreError::Failed(_) | StoreError::Io(_)) => self.carried_out(op, false),
                Err(error) => panic!("{error}"),
                Ok(()) => {
                    // What there was nothing to write for may be.
                    assert!(
                        !self.gone || !matches!(op, Op::Put { .. }),
                        "acknowledged without a folder"
                    );
                    self.carried_out(op, true)
                }
            }
        }
    }

    fn carried_out(&mut self, op: Op, acknowledged: bool) {
        let Model {
            shards,
            marks,
            damaged,
            generations,
            older,
        } = &mut self.model;
        match op {
            Op::Put {
                key,
                generation,
                block: data,
            } => {
                let content = vec![data.data];
                older.entry(key).or_default().push(content.clone());
                if acknowledged {
                    shards.entry(key).or_default().acknowledged(Some(content));
                    damaged.remove(&key);
                } else {
                    shards.entry(key).or_default().unanswered(Some(content));
                }
                self.model.told_generation(key.pg, generation, acknowledged);
            }
            Op::Delete { keys } => {
                for (key, generation) in keys {
                    if acknowledged {
                        shards.entry(key).or_default().acknowledged(None);
                        damaged.remove(&key);
                    } else {
                        shards.entry(key).or_default().unanswered(None);
                    }
                    for (stream, _, removed) in &mut self.streams {
                        *removed |= stream.key == key;
                    }
                    let (low, high) = generations.entry(key.pg).or_default();
                    *high = (*high).max(generation);
                    *low = if acknowledged {
                        (*low).max(generation)
                    } else {
                        *low
                    };
                }
            }
            Op::Generation { pg, generation } => {
                self.model.told_generation(pg, generation, acknowledged)
            }
            Op::Mark { name, value } => {
                let mark = marks.entry(name).or_default();
                if acknowledged {
                    mark.acknowledged(Some(value))
                } else {
                    mark.unanswered(Some(value))
                }
            }
            Op::Seal { .. } | Op::Move(_) => unreachable!("not made here"),
        }
    }

    fn begin(&mut self, key: u8, generation: u64, block_bytes: u32) {
        if self.streams.len() >= 4 {
            return;
        }
        let begun =
            self.core()
                .begin_stream(key_of(key), generation, Some(2), block_bytes as usize);
        match begun {
            Ok(stream) => self.streams.push((stream, Vec::new(), false)),
            Err(StoreError::Full | StoreError::Failed(_) | StoreError::StaleGeneration { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }

    fn stream_at(&self, at: u64) -> Option<usize> {
        Some((at.checked_rem(self.streams.len() as u64)?) as usize)
    }

    fn append(&mut self, at: u64, seed: u64) {
        let Some(at) = self.stream_at(at) else { return };
        let len = u64::from(self.streams[at].0.block_bytes);
        let block = random_block(&mut Rng(seed), len);
        let (stream, content, _) = &self.streams[at];
        match self.core().append(stream, content.len() as u32, &block) {
            Ok(()) => self.streams[at].1.push(block.data),
            Err(_) => self.drop_stream(at),
        }
    }

    fn seal(&mut self, at: u64, handle: Handle) {
        let Some(at) = self.stream_at(at) else { return };
        let (stream, content, removed) = self.streams.remove(at);
        let (key, generation) = (stream.key, stream.generation);
        let bytes = content.iter().map(|block| block.len() as u64).sum();
        let synced = self
            .core()
            .sync_stream(&stream, content.len() as u32, bytes);
        let mut held = Some(stream);
        if let Ok(sealed) = synced {
            if handle == Handle::WhileItIsWritten
                && let Some(stream) = held.take()
            {
                self.let_go(stream, Some(0));
            }
            let answer = self
                .core()
                .commit(&[Op::Seal {
                    generation,
                    stream: sealed,
                }])
                .remove(0);
            self.model
                .older
                .entry(key)
                .or_default()
                .push(content.clone());
            match answer {
                Ok(()) => {
                    assert!(!removed, "sealed although it was removed");
                    self.model
                        .shards
                        .entry(key)
                        .or_default()
                        .acknowledged(Some(content));
                    self.model.damaged.remove(&key);
                }
                // Or the handle went before the record had its place.
                Err(StoreError::NotFound) => {
                    assert!(removed || handle == Handle::WhileItIsWritten)
                }
                Err(StoreError::StaleGeneration { .. }) => {
                    assert!(generation < self.model.generation(key.pg))
                }
                Err(StoreError::Full) => {}
                Err(_) => self
                    .model
                    .shards
                    .entry(key)
                    .or_default()
                    .unanswered(Some(content)),
            }
        }
        match held {
            Some(stream) if handle == Handle::Later => self.sealed.push(stream),
            Some(stream) => self.core().drop_stream(&stream),
            None => {}
        }
    }

    fn let_sealed_go(&mut self, at: u64, syncs: Option<u64>) {
        if let Some(at) = at.checked_rem(self.sealed.len() as u64) {
            let stream = self.sealed.remove(at as usize);
            self.let_go(stream, syncs);
        }
    }

    fn let_go(&self, stream: Stream, syncs: Option<u64>) {
        let core = self.core().clone();
        match syncs {
            Some(syncs) => self
                .disk
                .deeds()
                .during_sync(syncs, move || core.drop_stream(&stream)),
            None => core.drop_stream(&stream),
        }
    }

    fn drop_stream(&mut self, at: usize) {
        let (stream, ..) = self.streams.remove(at);
        self.core().drop_stream(&stream);
    }

    fn flip(&mut self, key: u8, target: Target, at: u64, bit: u8, value: u64) {
        let key = key_of(key);
        // What rots in the very last batch before a crash cannot be told from a write that was torn.
        let value = format!("{value:x}");
        self.commit(vec![Op::Mark {
            name: "later".into(),
            value: value.clone(),
        }]);
        if self.core().mark("later") != Some(value) {
            return;
        }
        let Some(site) = self.core().data_of(&key) else {
            return;
        };
        let (from, len) = match target {
            Target::Data => site.data,
            Target::Header => site.header,
            Target::FirstCopy => (0, 72),
            Target::SecondCopy => (4096, 72),
        };
        if matches!(target, Target::FirstCopy | Target::SecondCopy) {
            if !site.dedicated
                && *self
                    .rotten_copies
                    .entry(site.path.clone())
                    .or_insert(target)
                    == target
            {
                self.disk.flip(&site.path, from + at % len, bit);
            }
            return;
        }
        // Never twice: the same bit would be right again.
        if len > 0 && !self.model.damaged.contains_key(&key) {
            self.disk.flip(&site.path, from + at % len, bit);
            self.model.damaged.insert(key, target);
        }
    }
}

fn op_of(ask: &Ask) -> Op {
    match ask {
        Ask::Put {
            key,
            generation,
            len,
            seed,
        } => Op::Put {
            key: key_of(*key),
            generation: *generation,
            block: random_block(&mut Rng(*seed), *len),
        },
        Ask::Delete(keys) => Op::Delete {
            keys: keys
                .iter()
                .map(|(key, generation)| (key_of(*key), *generation))
                .collect(),
        },
        Ask::Generation { pg, generation } => Op::Generation {
            pg: *pg,
            generation: *generation,
        },
        Ask::Mark { name, value } => Op::Mark {
            name: format!("m{name}"),
            value: format!("{value:x}"),
        },
    }
}

fn may_fail(result: Result<(), StoreError>) {
    if let Err(error) = result {
        assert!(
            matches!(
                error,
                StoreError::Full | StoreError::Failed(_) | StoreError::Io(_)
            ),
            "{error}"
        );
    }
}
