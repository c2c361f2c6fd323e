//! A drive in memory that does what drives do: at a crash it loses and tears what was not synced, it flips bits, its fsync
//! fails, it is full. Everything comes from one seed.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSlice};
use std::sync::Arc;

use parking_lot::Mutex;

use super::deeds::Deeds;
use super::{Disk, File, Space};

const SECTOR_BYTES: usize = 512;

/// SplitMix64.
#[derive(Clone, Debug)]
pub struct Rng(pub u64);

impl Rng {
    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let value = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.word() % bound.max(1)
    }

    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

#[derive(Clone)]
pub struct SimDisk(Arc<Mutex<World>>);

struct World {
    rng: Rng,
    now_ms: u64,
    files: BTreeMap<u64, Inode>,
    next_inode: u64,
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    /// Handles of an earlier life are dead.
    life: u64,
    /// Operations until the power goes.
    countdown: Option<u64>,
    /// Syncs until one fails.
    failing_sync: Option<u64>,
    full: bool,
    /// The folder has been taken away; files that are open can still be written.
    gone: bool,
    deeds: Arc<Deeds>,
    /// Even a write over existing bytes needs room (as on a copy-on-write file system).
    full_for_overwrites: bool,
}

#[derive(Default)]
struct Inode {
    content: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Change>,
}

#[derive(Clone)]
enum Change {
    Write(usize, Vec<u8>),
    Len(usize),
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Write(at, data) => {
                if content.len() < at + data.len() {
                    content.resize(at + data.len(), 0);
                }
                content[*at..at + data.len()].copy_from_slice(data);
            }
            Self::Len(len) => content.resize(*len, 0),
        }
    }

    /// What a crash may leave of it.
    fn torn(&self, rng: &mut Rng, keep_percent: u64) -> Vec<Self> {
        let Self::Write(at, data) = self else {
            return if rng.percent(keep_percent) {
                vec![self.clone()]
            } else {
                Vec::new()
            };
        };
        let mut kept = Vec::new();
        let mut from = 0;
        while from < data.len() {
            let to =
                ((at + from) / SECTOR_BYTES * SECTOR_BYTES + SECTOR_BYTES - at).min(data.len());
            if rng.percent(keep_percent) {
                kept.push(Self::Write(at + from, data[from..to].to_vec()));
            }
            from = to;
        }
        kept
    }
}

impl World {
    fn path_step(&mut self) -> io::Result<()> {
        if self.gone {
            return Err(io::Error::from_raw_os_error(libc::ENOENT));
        }
        self.step()
    }

    fn step(&mut self) -> io::Result<()> {
        match &mut self.countdown {
            Some(0) => Err(io::Error::other("the power is gone")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl SimDisk {
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(World {
            rng: Rng(seed),
            now_ms: 1_000_000,
            files: BTreeMap::new(),
            next_inode: 1,
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            life: 0,
            countdown: None,
            failing_sync: None,
            full: false,
            gone: false,
            deeds: Arc::default(),
            full_for_overwrites: false,
        })))
    }

    /// After so many more operations every one fails, until [`Self::crash`].
    pub fn crash_after(&self, operations: u64) {
        self.0.lock().countdown = Some(operations);
    }

    pub fn is_dead(&self) -> bool {
        self.0.lock().countdown == Some(0)
    }

    pub fn fail_sync_after(&self, syncs: u64) {
        self.0.lock().failing_sync = Some(syncs);
    }

    pub fn deeds(&self) -> Arc<Deeds> {
        self.0.lock().deeds.clone()
    }

    pub fn set_full(&self, full: bool, for_overwrites: bool) {
        let mut world = self.0.lock();
        (world.full, world.full_for_overwrites) = (full, full && for_overwrites);
    }

    /// The folder is taken away or comes back, as it is with a file system that is unmounted lazily.
    pub fn set_gone(&self, gone: bool) {
        self.0.lock().gone = gone;
    }

    pub fn pass_time(&self, ms: u64) {
        self.0.lock().now_ms += ms;
    }

    /// The process dies, the machine does not: what was written is there.
    pub fn kill(&self) {
        let mut world = self.0.lock();
        world.life += 1;
        (world.countdown, world.failing_sync) = (None, None);
    }

    /// The power goes and comes back; the seed says what is torn, and what chance gives from then on.
    pub fn crash(&self, seed: u64) {
        self.kill();
        let mut world = self.0.lock();
        let mut rng = Rng(seed);
        let names: BTreeSet<String> = world
            .names
            .keys()
            .chain(world.durable_names.keys())
            .cloned()
            .collect();
        for name in names {
            let (now, durable) = (
                world.names.get(&name).copied(),
                world.durable_names.get(&name).copied(),
            );
            let kept = if now == durable || rng.percent(50) {
                now
            } else {
                durable
            };
            match kept {
                Some(inode) => world.names.insert(name, inode),
                None => world.names.remove(&name),
            };
        }
        world.durable_names = world.names.clone();
        let kept: BTreeSet<u64> = world.names.values().copied().collect();
        world.files.retain(|inode, _| kept.contains(inode));
        let keep_percent = [0, 30, 60, 90, 100][rng.below(5) as usize];
        for file in world.files.values_mut() {
            for change in std::mem::take(&mut file.unsynced) {
                change
                    .torn(&mut rng, keep_percent)
                    .iter()
                    .for_each(|change| change.apply(&mut file.durable));
            }
            file.content = file.durable.clone();
        }
        world.rng = rng;
    }

    /// Turns one bit of a file, on the drive and in every cache.
    pub fn flip(&self, path: &str, offset: u64, bit: u8) {
        let mut world = self.0.lock();
        let Some(inode) = world.names.get(path).copied() else {
            return;
        };
        let Some(file) = world.files.get_mut(&inode) else {
            return;
        };
        for bytes in [&mut file.content, &mut file.durable] {
            if let Some(byte) = bytes.get_mut(offset as usize) {
                *byte ^= 1 << bit;
            }
        }
    }

    fn handle(&self, world: &World, inode: u64) -> Arc<dyn File> {
        Arc::new(SimFile {
            disk: self.clone(),
            inode,
            life: world.life,
        })
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &str) -> io::Result<Arc<dyn File>> {
        let mut world = self.0.lock();
        world.path_step()?;
        let inode = *world.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(self.handle(&world, inode))
    }

    fn create(&self, path: &str) -> io::Result<Arc<dyn File>> {
        let mut world = self.0.lock();
        world.path_step()?;
        if world.full {
            return Err(io::Error::from_raw_os_error(libc::ENOSPC));
        }
        let inode = world.next_inode;
        world.next_inode += 1;
        world.files.insert(inode, Inode::default());
        world.names.insert(path.to_owned(), inode);
        Ok(self.handle(&world, inode))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let mut world = self.0.lock();
        world.path_step()?;
        world
            .names
            .remove(path)
            .map(|_| ())
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let mut world = self.0.lock();
        world.path_step()?;
        let prefix = format!("{dir}/");
        Ok(world
            .names
            .keys()
            .filter_map(|name| Some(name.strip_prefix(&prefix)?.to_owned()))
            .collect())
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        let mut world = self.0.lock();
        world.path_step()?;
        let is_inside = |name: &String| match name.rsplit_once('/') {
            Some((parent, _)) => parent == dir,
            None => dir.is_empty(),
        };
        let inside: Vec<(String, u64)> = world
            .names
            .iter()
            .filter(|(name, _)| is_inside(name))
            .map(|(name, inode)| (name.clone(), *inode))
            .collect();
        world.durable_names.retain(|name, _| !is_inside(name));
        world.durable_names.extend(inside);
        Ok(())
    }

    fn leave_word(&self, name: &str, text: &[u8]) -> io::Result<()> {
        let gone = std::mem::take(&mut self.0.lock().gone);
        let written = self.create(name).and_then(|file| {
            file.write_at(&[IoSlice::new(text)], 0)?;
            file.sync()?;
            self.sync_dir("")
        });
        self.0.lock().gone = gone;
        written
    }

    fn space(&self) -> io::Result<Space> {
        self.check_there()?;
        let world = self.0.lock();
        Ok(Space {
            total: 1 << 40,
            free: if world.full { 0 } else { 1 << 39 },
        })
    }

    fn check_there(&self) -> io::Result<()> {
        match self.0.lock().gone {
            true => Err(io::Error::from_raw_os_error(libc::ENOENT)),
            false => Ok(()),
        }
    }

    fn now_ms(&self) -> u64 {
        let mut world = self.0.lock();
        world.now_ms += 1;
        world.now_ms
    }

    fn random(&self) -> u64 {
        self.0.lock().rng.word()
    }

    fn name(&self) -> &'static str {
        "simulated"
    }
}

struct SimFile {
    disk: SimDisk,
    inode: u64,
    life: u64,
}

impl SimFile {
    fn with<T>(&self, work: impl FnOnce(&mut World) -> io::Result<T>) -> io::Result<T> {
        let mut world = self.disk.0.lock();
        if world.life != self.life {
            return Err(io::Error::other("a handle from before the crash"));
        }
        world.step()?;
        work(&mut world)
    }

    fn change(&self, change: Change) -> io::Result<()> {
        self.with(|world| {
            let (full, for_overwrites) = (world.full, world.full_for_overwrites);
            let file = world
                .files
                .get_mut(&self.inode)
                .ok_or(io::ErrorKind::NotFound)?;
            let end = match &change {
                Change::Write(at, data) => at + data.len(),
                Change::Len(len) => *len,
            };
            let is_write = matches!(change, Change::Write(..));
            if full && (end > file.content.len() || (for_overwrites && is_write)) {
                // Some of it may have been written all the same.
                if let Change::Write(at, mut data) = change {
                    data.truncate(data.len() / 2);
                    data.truncate(file.content.len().saturating_sub(at));
                    let part = Change::Write(at, data);
                    part.apply(&mut file.content);
                    file.unsynced.push(part);
                }
                return Err(io::Error::from_raw_os_error(libc::ENOSPC));
            }
            change.apply(&mut file.content);
            file.unsynced.push(change);
            Ok(())
        })
    }
}

impl File for SimFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.with(|world| {
            let file = world
                .files
                .get(&self.inode)
                .ok_or(io::ErrorKind::NotFound)?;
            let from = (offset as usize).min(file.content.len());
            let len = buffer.len().min(file.content.len() - from);
            buffer[..len].copy_from_slice(&file.content[from..from + len]);
            Ok(len)
        })
    }

    fn read_cached_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<bool> {
        Ok(self.read_at(buffer, offset)? == buffer.len())
    }

    fn write_at(&self, parts: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        self.change(Change::Write(
            offset as usize,
            parts.iter().flat_map(|part| part.iter().copied()).collect(),
        ))
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.deeds().sync_begins();
        self.with(|world| {
            let fails = match &mut world.failing_sync {
                Some(0) => true,
                Some(left) => {
                    *left -= 1;
                    false
                }
                None => false,
            };
            let file = world
                .files
                .get_mut(&self.inode)
                .ok_or(io::ErrorKind::NotFound)?;
            let changes = std::mem::take(&mut file.unsynced);
            if fails {
                // The cache shows the bytes, marked clean; the drive has not got them.
                world.failing_sync = None;
                return Err(io::Error::from_raw_os_error(libc::EIO));
            }
            changes
                .iter()
                .for_each(|change| change.apply(&mut file.durable));
            Ok(())
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(Change::Len(len as usize))
    }

    fn len(&self) -> io::Result<u64> {
        self.with(|world| {
            Ok(world
                .files
                .get(&self.inode)
                .ok_or(io::ErrorKind::NotFound)?
                .content
                .len() as u64)
        })
    }

    fn is_linked(&self) -> io::Result<bool> {
        self.with(|world| Ok(world.names.values().any(|inode| *inode == self.inode)))
    }

    fn reserve(&self, _len: u64) -> io::Result<()> {
        Ok(())
    }
}
