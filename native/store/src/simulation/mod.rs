//! Random operations against a simulated drive that crashes, tears, rots, fills up and fails, compared with a model of what
//! was acknowledged.
//!
//! `ANVIL_SIM_SEED=n` replays one seed; `ANVIL_SIM_SECONDS=n` runs that long (default 10).

mod model;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::core::{Core, CoreOptions, FAILED_FILE, Op, Stream};
use crate::disk::Disk;
use crate::disk::sim::{Rng, SimDisk};
use crate::format::identity::Identity;
use crate::index::INDEX_FILE;
use crate::limits::MIN_SEGMENT_BYTES;
use crate::types::{ShardKey, StoreError};
use model::{Content, Model, random_block};

/// Seeds that once failed.
const REGRESSIONS: &[u64] = &[];

struct Simulation {
    rng: Rng,
    disk: SimDisk,
    core: Option<Core>,
    model: Model,
    streams: Vec<(Stream, Content, bool)>,
    compacted: u64,
    lives: u64,
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let disk = SimDisk::new(seed ^ 0xd15c);
        let mut simulation = Self {
            rng: Rng(seed),
            disk,
            core: None,
            model: Model::default(),
            streams: Vec::new(),
            compacted: 0,
            lives: 0,
        };
        simulation.open();
        simulation
    }

    fn try_open(&mut self) -> Result<(), StoreError> {
        let options = CoreOptions {
            reserve_bytes: 1000,
            segment_bytes: MIN_SEGMENT_BYTES,
        };
        let (core, _) = Core::open(
            Arc::new(self.disk.clone()),
            Identity::new([1; 16], [2; 16]),
            options,
        )?;
        self.core = Some(core);
        Ok(())
    }

    fn open(&mut self) {
        self.lives += 1;
        self.disk.set_full(false, false);
        // Sometimes the power goes while the drive is being recovered.
        while self.rng.percent(20) {
            self.disk.crash_after(self.rng.below(60));
            let opened = self.try_open();
            self.core = None;
            if opened.is_err() || self.rng.percent(50) {
                self.disk.crash();
            } else {
                self.disk.kill();
            }
            let _ = self.disk.remove(FAILED_FILE);
        }
        if self.rng.percent(25) {
            let _ = self.disk.remove(INDEX_FILE);
        }
        self.try_open().expect("the drive opens");
        self.check();
    }

    fn core(&self) -> &Core {
        self.core.as_ref().expect("open")
    }

    fn key(&mut self) -> ShardKey {
        let blob = self.rng.below(40) as u8;
        ShardKey {
            bucket: u64::from(blob % 3),
            blob: [blob; 16],
            pg: u64::from(blob % 4),
            index: (blob % 2),
        }
    }

    /// A generation that is mostly the present one.
    fn generation(&mut self, pg: u64) -> u64 {
        let present = self.model.generation(pg);
        match self.rng.below(30) {
            0 => present + 1,
            1 => present.saturating_sub(1),
            _ => present,
        }
    }

    fn batch(&mut self) {
        let ops: Vec<Op> = (0..1 + self.rng.below(6))
            .map(|_| self.random_op())
            .collect();
        self.commit(ops);
    }

    fn random_op(&mut self) -> Op {
        let key = self.key();
        let generation = self.generation(key.pg);
        match self.rng.below(20) {
            0 => Op::Generation {
                pg: key.pg,
                generation,
            },
            1 => Op::Mark {
                name: format!("m{}", key.pg),
                value: format!("{:x}", self.rng.word()),
            },
            2..=8 => {
                let mut keys = vec![(key, generation)];
                for _ in 0..self.rng.below(4) {
                    let key = self.key();
                    keys.push((key, self.generation(key.pg)));
                }
                Op::Delete { keys }
            }
            _ => {
                let len = if self.rng.percent(10) {
                    self.rng.below(16 * 1024 + 1)
                } else {
                    self.rng.below(3000)
                };
                Op::Put {
                    key,
                    generation,
                    block: random_block(&mut self.rng, len),
                }
            }
        }
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
                Ok(()) => self.carried_out(op, true),
            }
        }
    }

    fn carried_out(&mut self, op: Op, acknowledged: bool) {
        let Model {
            shards,
            marks,
            damaged,
            generations,
        } = &mut self.model;
        match op {
            Op::Put {
                key,
                generation,
                block: data,
            } => {
                let content = vec![data.data];
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

    fn stream(&mut self) {
        match self.rng.below(4) {
            0 if self.streams.len() < 4 => {
                let key = self.key();
                let generation = self.model.generation(key.pg);
                let bytes = 1 + self.rng.below(9000) as usize;
                match self.core().begin_stream(key, generation, Some(2), bytes) {
                    Ok(stream) => self.streams.push((stream, Vec::new(), false)),
                    Err(
                        StoreError::Full
                        | StoreError::Failed(_)
                        | StoreError::StaleGeneration { .. },
                    ) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            1 | 2 if !self.streams.is_empty() => {
                let at = self.rng.below(self.streams.len() as u64) as usize;
                let len = u64::from(self.streams[at].0.block_bytes);
                let data = random_block(&mut self.rng, len);
                let (stream, content, _) = &self.streams[at];
                match self.core().append(stream, content.len() as u32, &data) {
                    Ok(()) => self.streams[at].1.push(data.data),
                    Err(_) => self.drop_stream(at),
                }
            }
            3 if !self.streams.is_empty() => {
                let at = self.rng.below(self.streams.len() as u64) as usize;
                if self.rng.percent(70) {
                    self.seal(at)
                } else {
                    self.drop_stream(at)
                }
            }
            _ => {}
        }
    }

    fn seal(&mut self, at: usize) {
        let (stream, content, removed) = &self.streams[at];
        let (key, generation) = (stream.key, stream.generation);
        let bytes = content.iter().map(|block| block.len() as u64).sum();
        if let Ok(sealed) = self.core().sync_stream(stream, content.len() as u32, bytes) {
            let answer = self
                .core()
                .commit(&[Op::Seal {
                    generation,
                    stream: sealed,
                }])
                .remove(0);
            let content = content.clone();
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
                Err(StoreError::NotFound) => assert!(removed),
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
        self.drop_stream(at);
    }

    fn drop_stream(&mut self, at: usize) {
        let (stream, ..) = self.streams.remove(at);
        self.core().drop_stream(&stream);
    }

    fn flip(&mut self) {
        let key = self.key();
        // What rots in the very last batch before a crash cannot be told from a write that was torn.
        let value = format!("{:x}", self.rng.word());
        self.commit(vec![Op::Mark {
            name: "later".into(),
            value: value.clone(),
        }]);
        if self.core().mark("later") != Some(value) {
            return;
        }
        let Some((path, from, len)) = self.core().data_of(&key) else {
            return;
        };
        // Never twice: the same bit would be right again.
        if len > 0 && !self.model.damaged.contains(&key) {
            self.disk
                .flip(&path, from + self.rng.below(len), self.rng.below(8) as u8);
            self.model.damaged.insert(key);
        }
    }

    fn background(&mut self) {
        let result = match self.rng.below(5) {
            0 => self.core().checkpoint(),
            1 => self.core().prepare_spare(),
            2 => {
                self.core().reap();
                Ok(())
            }
            _ => {
                let max_bytes = 1 + self.rng.below(40_000);
                let step = self.core().compact(max_bytes);
                step.map(|step| self.compacted += step.freed_bytes)
            }
        };
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

    /// One shard as the drive gives it: `None` if there is none.
    fn read(&self, key: &ShardKey) -> Result<Option<Content>, StoreError> {
        let Some(entry) = self.core().entry_of(key) else {
            return Ok(None);
        };
        let blocks = 0..entry.blocks;
        blocks
            .map(|block| {
                self.core()
                    .read(key, u64::MAX, block, 0, entry.block_len(block))
            })
            .collect::<Result<_, _>>()
            .map(Some)
    }

    /// Compares everything, and settles what was open.
    fn check(&mut self) {
        let keys: Vec<ShardKey> = self.model.shards.keys().copied().collect();
        let mut present = BTreeSet::new();
        for key in keys {
            let found = match self.read(&key) {
                Ok(found) => found,
                Err(StoreError::Corrupt { .. }) if self.model.damaged.contains(&key) => {
                    present.insert(key);
                    continue;
                }
                Err(error) => panic!("shard {key:?}: {error}"),
            };
            let possible = &self.model.shards[&key];
            let lost_by_rot = found.is_none() && self.model.damaged.contains(&key);
            assert!(
                possible.0.contains(&found) || lost_by_rot,
                "shard {key:?} is {:?}, not of {:?}",
                short(&found),
                possible.0.iter().map(short).collect::<Vec<_>>()
            );
            if found.is_some() {
                present.insert(key);
                assert!(
                    !self.model.damaged.contains(&key) || possible.0.len() > 1,
                    "damaged shard {key:?} was served"
                );
            }
            self.model.damaged.remove(&key);
            self.model
                .shards
                .get_mut(&key)
                .expect("there")
                .acknowledged(found);
        }
        for (pg, (low, high)) in &mut self.model.generations {
            let known = self.core.as_ref().expect("open").generation(*pg);
            assert!(
                (*low..=*high).contains(&known),
                "generation {known} of {pg}, not {low}..={high}"
            );
            (*low, *high) = (known, known);
        }
        for (name, possible) in &mut self.model.marks {
            let found = self.core.as_ref().expect("open").mark(name);
            assert!(
                possible.0.contains(&found),
                "mark {name} is {found:?}, not of {possible:?}"
            );
            possible.acknowledged(found);
        }
        let (mut cursor, mut listed) = (None, BTreeSet::new());
        loop {
            let (page, next) = self
                .core()
                .list(cursor.as_deref(), 3, u64::MAX)
                .expect("a page");
            for record in page.iter().filter(|record| record.sealed) {
                assert!(listed.insert(record.key), "listed twice");
            }
            cursor = next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(listed, present, "listing");
        assert_eq!(self.core().stats().shards, present.len() as u64);
        let (mut cursor, mut damaged) = (None, BTreeSet::new());
        loop {
            let step = self
                .core()
                .scrub(cursor.as_deref(), 5000)
                .expect("scrubbed");
            damaged.extend(step.damaged.iter().map(|(key, _)| *key));
            cursor = step.cursor;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(damaged, self.model.damaged, "scrub");
    }

    fn life(&mut self) {
        match self.rng.below(10) {
            0..=4 => self.disk.crash_after(self.rng.below(400)),
            5 => self.disk.fail_sync_after(self.rng.below(60)),
            _ => {}
        }
        for _ in 0..self.rng.below(150) {
            self.disk.pass_time(self.rng.below(700));
            match self.rng.below(40) {
                0 => self
                    .disk
                    .set_full(self.rng.percent(50), self.rng.percent(30)),
                1 => self.flip(),
                2..=9 => self.stream(),
                10..=17 => self.background(),
                _ => self.batch(),
            }
            if self.core().check_working().is_err() {
                break;
            }
        }
        let failed = self.core().check_working().is_err();
        if !failed && !self.disk.is_dead() && self.rng.percent(30) {
            self.disk.set_full(false, false);
            self.disk.pass_time(1000);
            if self.core().close().is_ok() {
                self.end_of_life();
                self.disk.kill();
                return self.open();
            }
        }
        let failed = self.core().check_working().is_err();
        let dead = self.disk.is_dead();
        self.end_of_life();
        if failed && !dead {
            self.disk.kill();
            // A full drive may have had no room for the word that is left.
            let told = self.disk.open(FAILED_FILE).is_ok();
            assert!(
                !told || matches!(self.try_open(), Err(StoreError::Failed(_))),
                "a failed drive opened again"
            );
        }
        if failed || dead || self.rng.percent(70) {
            self.disk.crash()
        } else {
            self.disk.kill()
        }
        let _ = self.disk.remove(FAILED_FILE);
        self.open();
    }

    fn end_of_life(&mut self) {
        self.streams.clear();
        // Nothing may happen at the end that a dead process could not do.
        self.disk.crash_after(0);
        self.core = None;
    }
}

fn short(content: &Option<Content>) -> Option<Vec<(usize, Vec<u8>)>> {
    let blocks = content.as_ref()?.iter();
    Some(
        blocks
            .map(|block| (block.len(), block[..block.len().min(4)].to_vec()))
            .collect(),
    )
}

fn run(seed: u64, lives: u64) {
    let outcome = std::panic::catch_unwind(|| {
        let mut simulation = Simulation::new(seed);
        while simulation.lives < lives {
            simulation.life();
        }
        (simulation.lives, simulation.compacted)
    });
    if outcome.is_err() {
        panic!("seed {seed} failed; replay with ANVIL_SIM_SEED={seed}");
    }
}

#[test]
fn simulated_drives_keep_what_they_acknowledged() {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .and_then(|value| value.parse::<u64>().ok())
    };
    if let Some(seed) = number("ANVIL_SIM_SEED") {
        return run(seed, 30);
    }
    REGRESSIONS.iter().for_each(|seed| run(*seed, 30));
    let end = Instant::now() + Duration::from_secs(number("ANVIL_SIM_SECONDS").unwrap_or(10));
    let first = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos() as u64)
        >> 10;
    let mut seed = first;
    while Instant::now() < end {
        run(seed, 30);
        seed += 1;
    }
    println!("seeds {first}..{seed}, 30 lives each");
}
