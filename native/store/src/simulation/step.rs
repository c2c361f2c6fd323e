//! What a simulated drive goes through, step by step: made at random, or read from a script that once found a fault.

use serde::{Deserialize, Serialize};

use crate::disk::sim::Rng;
use crate::types::ShardKey;

/// A step that makes no sense at its time (because the program behaves differently today) is passed over.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Step {
    /// Opens the drive, after some attempts during which the power goes.
    Open {
        broken_off: Vec<BrokenOff>,
        without_index: bool,
    },
    /// The power goes after so many operations of the disk.
    PowerFor(u64),
    /// A sync fails after so many.
    SyncsFor(u64),
    Full {
        full: bool,
        for_overwrites: bool,
    },
    /// The folder is taken away until the next open.
    Gone,
    Pass(u64),
    Commit(Vec<Ask>),
    Begin {
        key: u8,
        generation: u64,
        block_bytes: u32,
    },
    /// `at` counts the streams that are being written, modulo their number.
    Append {
        at: u64,
        seed: u64,
    },
    Seal {
        at: u64,
        #[serde(default)]
        handle: Handle,
    },
    GiveUp {
        at: u64,
        /// In the middle of a sync, after so many; now if none.
        #[serde(default)]
        syncs: Option<u64>,
    },
    /// The handle of a shard that was sealed and kept goes. `at` counts them.
    LetGo {
        at: u64,
        syncs: Option<u64>,
    },
    /// One bit, of the byte `at` modulo the length of what it hits.
    Flip {
        key: u8,
        target: Target,
        at: u64,
        bit: u8,
        value: u64,
    },
    Checkpoint,
    /// The handle of a sealed shard goes while the index is being written.
    CheckpointLettingGo {
        at: u64,
        syncs: u64,
    },
    Spare,
    Reap,
    Compact(u64),
    /// The process ends: in order, killed, or with a loss of power of which the seed says what it tears.
    End {
        in_order: bool,
        crash: Option<u64>,
        seed: u64,
    },
}

/// When the handle of a shard that is sealed goes.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Handle {
    #[default]
    AtTheEnd,
    /// Before the answer: whoever sealed has gone away.
    WhileItIsWritten,
    Later,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BrokenOff {
    pub after: u64,
    /// Killed if none.
    pub crash: Option<u64>,
    pub seed: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Ask {
    Put {
        key: u8,
        generation: u64,
        len: u64,
        seed: u64,
    },
    /// Key and generation.
    Delete(Vec<(u8, u64)>),
    Generation {
        pg: u64,
        generation: u64,
    },
    Mark {
        name: u64,
        value: u64,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Target {
    Data,
    /// Of the record with the data.
    Header,
    /// One of the two copies of a shared segment's header.
    FirstCopy,
    SecondCopy,
}

pub fn key_of(number: u8) -> ShardKey {
    let blob = number % 40;
    ShardKey {
        bucket: u64::from(blob % 3),
        blob: [blob; 16],
        pg: u64::from(blob % 4),
        index: (blob % 2),
    }
}

/// Makes steps that suit what the drive has been told.
pub struct Generator {
    pub rng: Rng,
}

impl Generator {
    pub fn open(&mut self) -> Step {
        let mut broken_off = Vec::new();
        while self.rng.percent(20) {
            let after = self.rng.below(60);
            let crash = self.rng.percent(50).then(|| self.rng.word());
            let seed = self.rng.word();
            broken_off.push(BrokenOff { after, crash, seed });
        }
        Step::Open {
            broken_off,
            without_index: self.rng.percent(25),
        }
    }

    pub fn trouble(&mut self) -> Option<Step> {
        match self.rng.below(10) {
            0..=4 => Some(Step::PowerFor(self.rng.below(400))),
            5 => Some(Step::SyncsFor(self.rng.below(60))),
            _ => None,
        }
    }

    pub fn end(&mut self) -> Step {
        Step::End {
            in_order: self.rng.percent(30),
            crash: self.rng.percent(70).then(|| self.rng.word()),
            seed: self.rng.word(),
        }
    }

    pub fn step(&mut self, generation_of: &dyn Fn(u64) -> u64) -> Step {
        match self.rng.below(40) {
            0 if self.rng.percent(4) => Step::Gone,
            0 => Step::Full {
                full: self.rng.percent(50),
                for_overwrites: self.rng.percent(30),
            },
            1 => Step::Flip {
                key: self.key(),
                target: match self.rng.below(8) {
                    0 => Target::FirstCopy,
                    1 => Target::SecondCopy,
                    2..=4 => Target::Header,
                    _ => Target::Data,
                },
                at: self.rng.word(),
                bit: self.rng.below(8) as u8,
                value: self.rng.word(),
            },
            2..=9 => self.stream(generation_of),
            10..=17 => match self.rng.below(5) {
                0 if self.rng.percent(50) => Step::CheckpointLettingGo {
                    at: self.rng.word(),
                    syncs: self.rng.below(3),
                },
                0 => Step::Checkpoint,
                1 => Step::Spare,
                2 => Step::Reap,
                _ => Step::Compact(1 + self.rng.below(40_000)),
            },
            _ => {
                let count = 1 + self.rng.below(6);
                Step::Commit((0..count).map(|_| self.ask(generation_of)).collect())
            }
        }
    }

    fn stream(&mut self, generation_of: &dyn Fn(u64) -> u64) -> Step {
        let at = self.rng.word();
        match self.rng.below(4) {
            0 => {
                let key = self.key();
                Step::Begin {
                    key,
                    generation: generation_of(key_of(key).pg),
                    block_bytes: 1 + self.rng.below(9000) as u32,
                }
            }
            1 | 2 => Step::Append {
                at,
                seed: self.rng.word(),
            },
            _ if self.rng.percent(60) => Step::Seal {
                at,
                handle: match self.rng.below(5) {
                    0 | 1 => Handle::AtTheEnd,
                    2 => Handle::WhileItIsWritten,
                    _ => Handle::Later,
                },
            },
            _ if self.rng.percent(60) => Step::LetGo {
                at,
                syncs: self.syncs(),
            },
            _ => Step::GiveUp {
                at,
                syncs: self.syncs(),
            },
        }
    }

    fn ask(&mut self, generation_of: &dyn Fn(u64) -> u64) -> Ask {
        let key = self.key();
        let generation = self.generation(key, generation_of);
        let pg = key_of(key).pg;
        match self.rng.below(20) {
            0 => Ask::Generation { pg, generation },
            1 => Ask::Mark {
                name: pg,
                value: self.rng.word(),
            },
            2..=8 => {
                let mut keys = vec![(key, generation)];
                for _ in 0..self.rng.below(4) {
                    let key = self.key();
                    keys.push((key, self.generation(key, generation_of)));
                }
                Ask::Delete(keys)
            }
            _ => Ask::Put {
                key,
                generation,
                len: if self.rng.percent(10) {
                    self.rng.below(16 * 1024 + 1)
                } else {
                    self.rng.below(3000)
                },
                seed: self.rng.word(),
            },
        }
    }

    fn syncs(&mut self) -> Option<u64> {
        self.rng.percent(70).then(|| self.rng.below(3))
    }

    fn key(&mut self) -> u8 {
        self.rng.below(40) as u8
    }

    /// Mostly the present one.
    fn generation(&mut self, key: u8, generation_of: &dyn Fn(u64) -> u64) -> u64 {
        let present = generation_of(key_of(key).pg);
        match self.rng.below(30) {
            0 => present + 1,
            1 => present.saturating_sub(1),
            _ => present,
        }
    }
}
