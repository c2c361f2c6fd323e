//! The data protocol of DESIGN.md as a transition system.
//!
//! A `State` is the whole world: Postgres, the backends that run commits, the drives and every
//! process. `next` lists all steps that may come next. A process that is paused is one whose next
//! step comes arbitrarily late, a lost message is a step that never comes: both need no step of
//! their own. Every step is preceded by the sentence of DESIGN.md that it models; [Fn] marks a
//! rule that DESIGN.md lacks (see `Rules`).

pub const ND: usize = 4; // drives
pub const NB: usize = 3; // blobs: 0 and 1 belong to the uploaders, 2 exists from the start
pub const NP: usize = 3; // placement groups
pub const NO: u8 = 255;

/// true = the rule is kept.
#[derive(Clone, Copy)]
pub struct Rules {
    // Rules that DESIGN.md states; switching one off is a mutation.
    pub condemned_check: bool,     // §13.2 "Every commit rejects condemned blobs"
    pub xid_before_snapshot: bool, // §13.2 "A commit has its transaction id before the merge's snapshot"
    pub x_after_condemn: bool,     // §13.2 order: condemn is committed, then X is taken
    pub xmin_wait: bool,           // §13.2 "wait until pg_snapshot_xmin >= X"
    pub look_again: bool,          // §13.2 "look for references; only then delete"
    pub pg_lock: bool,             // §7 "Commits accept open and sealed PGs (shared lock on the row)"
    pub only_closed: bool,         // §13.4 "Moves: only of closed PGs"
    pub settle: bool,              // §13.1 "settled by inserting that id as aborted, never by sending again blindly"
    pub only_collector: bool,      // §13.1 "Once a batch is sent, only the orphan collector may remove its shards"
    pub cas: bool,                 // §13.4 "compare-and-set"
    pub repair_same_tx: bool,      // §5.5 "goes to the repair queue in the same transaction"
    pub repair_gen: bool,          // §13.4 "removed only with a generation check"
    pub pause: bool,               // §13.3 "after either changes, deletion pauses"
    pub quorum: bool,              // §5.5 "k + max(1, m - 1) answers are the least"
    pub compare: bool,             // §13.4 "inventories compared before the old copy goes"
    pub gc_waits_readers: bool,    // §6 "no running read is older"
    // Rules that DESIGN.md lacks or leaves open; off = the literal (or the obvious naive) reading.
    pub f1_keep_condemned: bool,   // a condemned row goes only when its PG is closed
    pub f2_uncondemn: bool,        // a suspect found referenced leaves `condemned`
    pub f3_superseded: u8,         // records of a PG the blob has left: 0 nobody collects, 1 naively, 2 condemned (blob, PG)
    pub f4_reencode_is_commit: bool, // CAS of blobs.pg takes the shared lock on the target PG
    pub f5_delete_names_pg: bool,  // a removal names (blob, PG, index)
    pub f6_read_names_pg: bool,    // a shard request and the checksum seed name the PG
    pub f7_stale_members: u8,      // records on a drive that is no longer member i: 0 nobody, 1 collected
    pub f8_move_intent: bool,      // generation + 1 and `incoming` before the first byte is copied
    pub f9_fence: bool,            // removals carry the generation; a drive refuses an older one
    pub f10_rows: bool,            // the inventory comes from the rows, not from the old member
    pub f11_no_revival: bool,      // copy adds a reference only to a blob that has one
    pub f12_replicated: bool,      // removals wait until what they rest on is on the standby
    pub f13_entry_version: bool,   // removing a repair entry fails if the shard was reported again meanwhile
    pub f15_timeline: bool,        // background work begun under another timeline gives up
    pub f14_keep_batches: bool,    // a row of commit_batches outlives the backend that its batch was sent to
}
pub const FIXED: Rules = Rules {
    condemned_check: true, xid_before_snapshot: true, x_after_condemn: true, xmin_wait: true, look_again: true,
    pg_lock: true, only_closed: true, settle: true, only_collector: true, cas: true, repair_same_tx: true,
    repair_gen: true, pause: true, quorum: true, compare: true, gc_waits_readers: true,
    f1_keep_condemned: true, f2_uncondemn: true, f3_superseded: 2, f4_reencode_is_commit: true,
    f5_delete_names_pg: true, f6_read_names_pg: true, f7_stale_members: 1, f8_move_intent: true, f9_fence: true,
    f10_rows: true, f11_no_revival: true, f12_replicated: true, f13_entry_version: true, f14_keep_batches: true, f15_timeline: true,
};

/// What exists and how much may happen in one bounded check.
#[derive(Clone, Copy)]
pub struct Scene {
    pub pgs: [(u8, u8, [u8; 3], u8); NP], // (k, n, members, state) ; n = 0: unused
    pub uploads: [u8; 2],                 // PGs that uploader u may choose (bit mask; any state: a stale view)
    pub old_blob: u8,                     // PG of blob 2, which is live on key 0 from the start; NO = none
    pub collectors: usize,
    pub movers: usize,
    pub budget: Budget,
    pub reader: bool,
    pub gc: bool,
    pub closer: bool,
    pub repair: bool,
    pub copy: bool,
    pub replica: bool,
    pub leaks: bool, // look for garbage in quiet states
}
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Budget {
    pub crash: u8, pub conn: u8, pub away: u8, pub dead: u8, pub expire: u8, pub drain: u8, pub reencode: u8,
    pub delete: u8, pub failover: u8, pub rot: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Pg { pub st: u8, pub k: u8, pub n: u8, pub mem: [u8; 3], pub gen: u8, pub inc_i: u8, pub inc_d: u8 }
pub const OPEN: u8 = 1; pub const SEALED: u8 = 2; pub const CLOSED: u8 = 3;

/// Postgres: what is committed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Db {
    pub obj: [u8; 2], pub hint: [u8; 2],   // key -> blob, and the PG hint of the object row
    pub brow: [u8; NB], pub refs: [u8; NB], // blobs: PG (NO = no row), keys that refer to it
    pub gcq: u8,
    pub cond: u16,                          // condemned (blob, PG)
    pub repq: u32,                          // repair queue (blob, PG, index)
    pub batch: [u8; 4],                     // commit_batches: 0 no row, 1 committed, 2 aborted
    pub pg: [Pg; NP],
}
/// A backend running a commit: 1 sent, 2 has xid, 3 has the merge's snapshot, 4 has the locks, 5 rejected.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Be { pub ph: u8, pub cond: bool, pub pgst: u8 }
/// 0 idle, 1 writing, 2 sealed, 3 batch sent, 4 outcome unknown, 5 acknowledged, 6 failed, 7 crashed
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Upl { pub ph: u8, pub pg: u8, pub i: u8, pub ok: u8, pub att: u8, pub live: bool }
/// 0 idle, 1 has a suspect, 2 condemned and waits, 3 waited, 4 deletes drive by drive
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Col { pub ph: u8, pub b: u8, pub p: u8, pub x: u8, pub d: u8 }
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Gc { pub ph: u8, pub b: u8, pub i: u8 }
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Rd { pub ph: u8, pub b: u8, pub p: u8, pub mem: [u8; 3], pub i: u8, pub got: u8 }
/// 0 idle, 1 copies, 2 switched, 3 compared
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Mv { pub ph: u8, pub p: u8, pub i: u8, pub old: u8, pub new: u8, pub gen: u8, pub todo: u8 }
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Rp { pub ph: u8, pub b: u8, pub p: u8, pub i: u8, pub gen: u8, pub d: u8, pub again: bool }
/// 0 idle, 1 writes new shards, 2 ready, 3 commit sent, 4 switched: removes old shards, 5 crashed while the commit runs
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Re { pub ph: u8, pub b: u8, pub p: u8, pub q: u8, pub i: u8 }
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Cp { pub ph: u8, pub b: u8 }
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Sc { pub ph: u8, pub d: u8, pub b: u8, pub p: u8, pub i: u8, pub gen: u8 }

pub const UP: u8 = 0; pub const AWAY: u8 = 1; pub const DEAD: u8 = 2;
pub const RE: usize = 4; // index of the re-encoder's backend

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct State {
    pub db: Db,
    pub rep: Db, // the standby; only in scenes with `replica`
    pub be: [Be; 5],
    pub drv: [u8; ND],
    pub rec: [[u16; NB]; ND],  // durable records: bit PG * 3 + index
    pub known: [[u8; NP]; ND], // [F9] highest generation this drive was told, per PG
    pub lease: [u8; NP],       // mover lease per PG: mover + 1
    pub upl: [Upl; 2],
    pub col: [Col; 2],
    pub gc: Gc, pub rd: Rd, pub mv: [Mv; 2], pub rp: Rp, pub re: Re, pub cp: Cp, pub scan: Sc,
    pub left: Budget,
    pub gone: u8, // ghost: blobs that were visible on key 0 and no longer are
    pub paused: bool,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Class { Progress, Client, Fault }
pub struct Step { pub label: &'static str, pub a: [u8; 4], pub class: Class, pub bad: Option<&'static str>, pub s: State }

pub fn bit(p: u8, i: u8) -> u16 { 1 << (p * 3 + i) }
fn cbit(b: u8, p: u8) -> u16 { 1 << (b * 3 + p) }
fn rbit(b: u8, p: u8, i: u8) -> u32 { 1 << (b * 9 + p * 3 + i) }

/// One step: class, label with {0}..{3}, numbers for the label, and what it changes.
macro_rules! step { ($out:ident, $s:ident, $class:ident, $label:expr, [$($x:expr),*], |$t:ident, $bad:ident| $body:block) => {{
    let mut $t = *$s;
    let mut $bad: Option<&'static str> = None;
    let _ = &mut $bad;
    $body
    let mut a = [0u8; 4];
    let v: &[u8] = &[$($x as u8),*];
    a[..v.len()].copy_from_slice(v);
    $out.push(Step { label: $label, a, class: Class::$class, bad: $bad, s: $t });
}}; }

impl State {
    pub fn init(c: &Scene) -> State {
        let mut s = State::default();
        s.db.obj = [NO; 2]; s.db.hint = [NO; 2]; s.db.brow = [NO; NB];
        for p in 0..NP {
            let (k, n, mem, st) = c.pgs[p];
            s.db.pg[p] = Pg { st: if n == 0 { 0 } else { st }, k, n, mem, gen: 0, inc_i: NO, inc_d: NO };
        }
        if c.old_blob != NO {
            let p = c.old_blob;
            s.db.obj[0] = 2; s.db.hint[0] = p; s.db.brow[2] = p; s.db.refs[2] = 1;
            for i in 0..s.db.pg[p as usize].n { s.rec[s.db.pg[p as usize].mem[i as usize] as usize][2] |= bit(p, i); }
        }
        for u in 0..2 { s.upl[u].live = true; }
        s.left = c.budget;
        if c.replica { s.rep = s.db; }
        s
    }
    fn has(&self, d: u8, b: u8, p: u8, i: u8) -> bool { self.rec[d as usize][b as usize] & bit(p, i) != 0 }
    fn up(&self, d: u8) -> bool { self.drv[d as usize] == UP }
    /// shards of `b` that can be read right now
    fn reachable(&self, b: u8, p: u8) -> u8 {
        let g = &self.db.pg[p as usize];
        (0..g.n).filter(|&i| { let d = g.mem[i as usize]; self.up(d) && self.has(d, b, p, i) }).count() as u8
    }
    /// members of the blob's PG that live on and lack their shard
    fn missing(&self, b: usize) -> u8 {
        let p = self.db.brow[b]; if p == NO { return 0; }
        let g = &self.db.pg[p as usize];
        (0..g.n).filter(|&i| { let d = g.mem[i as usize]; self.drv[d as usize] != DEAD && !self.has(d, b as u8, p, i) }).count() as u8
    }
    fn key_locked(&self) -> bool { (0..4).any(|x| self.be[x].ph == 4) }
    fn drop_ref(&mut self, key: u8) {
        let b = self.db.obj[key as usize]; if b == NO { return; }
        self.db.refs[b as usize] &= !(1 << key);
        if self.db.refs[b as usize] == 0 { self.db.gcq |= 1 << b; }
        if key == 0 { self.gone |= 1 << b; }
        self.db.obj[key as usize] = NO;
    }

    /// Forgets what can no longer matter, so that fewer states differ.
    pub fn tidy(&mut self) {
        for u in 0..2 {
            let w = &mut self.upl[u];
            if w.ph < 5 { continue; }
            for x in [u * 2, u * 2 + 1] { if self.be[x].ph == 5 { self.be[x] = Be::default(); } }
            if self.be[u * 2].ph == 0 && self.be[u * 2 + 1].ph == 0 {
                *w = Upl { ph: if w.ph == 5 { 5 } else { 6 }, ..Upl::default() };
                self.db.batch[u * 2] = 0; self.db.batch[u * 2 + 1] = 0; self.rep.batch[u * 2] = 0; self.rep.batch[u * 2 + 1] = 0;
            }
        }
    }

    /// What must hold in every state.
    pub fn check(&self) -> Option<&'static str> {
        for b in 0..NB {
            let p = self.db.brow[b]; if p == NO || self.db.refs[b] == 0 { continue; }
            let g = &self.db.pg[p as usize];
            let mut good = 0;
            for i in 0..g.n {
                let d = g.mem[i as usize];
                if self.drv[d as usize] == DEAD { continue; }
                if self.has(d, b as u8, p, i) { good += 1; }
                else if self.db.repq & rbit(b as u8, p, i) == 0 {
                    return Some("I1 a live member of a referenced blob's PG lacks its shard and no repair entry says so");
                }
            }
            if good < g.k { return Some("I1 fewer than k shards of a referenced blob are left"); }
        }
        for k in 0..2 {
            let b = self.db.obj[k];
            if b != NO && (self.db.brow[b as usize] == NO || self.db.refs[b as usize] & (1 << k) == 0) {
                return Some("I4 an object row names a blob that has no row or no reference");
            }
        }
        if self.paused { return None; }
        for u in 0..2 {
            if self.upl[u].ph == 5 && self.db.obj[0] != u as u8 && self.gone & (1 << u) == 0 {
                return Some("I1 an acknowledged PUT is not there");
            }
        }
        None
    }
    /// What must hold when no process has anything left to do.
    pub fn check_quiet(&self, c: &Scene) -> Option<&'static str> {
        if self.paused || !c.leaks { return None; }
        for d in 0..ND as u8 { if !self.up(d) { continue; }
            for b in 0..NB as u8 { for p in 0..NP as u8 { for i in 0..3 { if self.has(d, b, p, i) {
                if self.db.brow[b as usize] != p { return Some("I5 leak: records of a PG that the blob is not in, or of a blob without a row"); }
                if self.db.refs[b as usize] == 0 { return Some("I5 leak: an unreferenced blob"); }
                if self.db.pg[p as usize].mem[i as usize] != d { return Some("I5 leak: records on a drive that is not the member"); }
            } } } }
        }
        if c.collectors > 0 && (0..NB).any(|b| self.db.brow[b] != NO && self.db.cond & cbit(b as u8, self.db.brow[b]) != 0) {
            return Some("I1 a live blob stays condemned: every copy of it is refused for ever");
        }
        if c.gc && self.db.gcq != 0 { return Some("I5 the GC queue is not empty"); }
        if c.repair && self.db.repq != 0 && (0..ND).all(|d| self.drv[d] == UP) { return Some("I5 the repair queue is not empty"); }
        None
    }

    pub fn next(&self, c: &Scene, r: &Rules, out: &mut Vec<Step>) {
        let s = self;
        self.uploaders(c, r, out);
        self.backends(c, r, out);
        self.cleaners(c, r, out);
        self.movers(c, r, out);
        self.reencoder(c, r, out);
        // §6 "An overwrite or delete drops the reference in the same transaction"
        if s.left.delete > 0 && s.db.obj[0] != NO && !s.key_locked() {
            step!(out, s, Client, "client DELETEs the key, acknowledged", [], |t, bad| { t.left.delete -= 1; t.drop_ref(0); });
        }
        // §6 "rename and copy move or add references instead of bytes"
        if c.copy {
            if s.cp.ph == 0 && s.db.obj[0] != NO {
                step!(out, s, Client, "copier resolves the source: blob {0}", [s.db.obj[0]], |t, bad| { t.cp = Cp { ph: 1, b: s.db.obj[0] }; });
            }
            if s.cp.ph == 1 {
                let b = s.cp.b as usize; let p = s.db.brow[b];
                let condemned = p != NO && s.db.cond & cbit(b as u8, p) != 0;
                // [F11] literal: any blob row will do
                let ok = p != NO && (s.db.refs[b] != 0 || !r.f11_no_revival) && !condemned;
                if ok { step!(out, s, Progress, "copier adds the reference key 1 -> blob {0}, acknowledged", [b], |t, bad| {
                    t.cp.ph = 2; t.db.obj[1] = b as u8; t.db.hint[1] = p; t.db.refs[b] |= 2;
                }); } else { step!(out, s, Progress, "copier is refused (blob {0} has no reference or is condemned)", [b], |t, bad| {
                    t.cp.ph = 2;
                }); }
            }
        }
        // §6 "A read looks up the row"; "Object rows repeat the PG as a hint"; stale view = the PG's first members
        if c.reader {
            let k = &s.rd;
            if k.ph == 0 && s.db.obj[0] != NO {
                let p = s.db.hint[0];
                for stale in 0..2u8 {
                    let mem = if stale == 1 { c.pgs[p as usize].2 } else { s.db.pg[p as usize].mem };
                    if stale == 1 && mem == s.db.pg[p as usize].mem { continue; }
                    step!(out, s, Client, "reader looks up the key: blob {0}, hint PG {1} (stale view: {2})", [s.db.obj[0], p, stale], |t, bad| {
                        t.rd = Rd { ph: 1, b: s.db.obj[0], p, mem, i: 0, got: 0 };
                    });
                }
            }
            if k.ph == 1 {
                let g = &s.db.pg[k.p as usize];
                if k.i < g.n {
                    let d = k.mem[k.i as usize];
                    step!(out, s, Progress, "reader asks d{0} for shard {1}", [d, k.i], |t, bad| {
                        t.rd.i += 1;
                        if s.up(d) {
                            if s.has(d, k.b, k.p, k.i) { t.rd.got |= 1 << k.i; }
                            // [F6] literal: the request and the checksum know blob and index, not the PG
                            else if !r.f6_read_names_pg {
                                for q in 0..NP as u8 { if q != k.p && s.has(d, k.b, q, k.i) {
                                    t.rd.got |= 1 << k.i;
                                    if s.db.pg[q as usize].k != g.k { bad = Some("I2 a shard of another code passes its checksum: wrong bytes"); }
                                } }
                            }
                        }
                    });
                } else if (k.got.count_ones() as u8) >= g.k {
                    step!(out, s, Progress, "reader answers with blob {0}", [k.b], |t, bad| { t.rd = Rd::default(); });
                } else {
                    // §6 "moved" or "not here" sends the reader to the blob's row
                    let p = s.db.brow[k.b as usize];
                    if p == NO { step!(out, s, Progress, "reader finds blob {0} gone and starts over", [k.b], |t, bad| { t.rd = Rd::default(); }); }
                    else { step!(out, s, Progress, "reader reloads the rows: PG {0}", [p], |t, bad| { t.rd.p = p; t.rd.mem = s.db.pg[p as usize].mem; t.rd.i = 0; t.rd.got = 0; }); }
                }
                step!(out, s, Client, "reader is cut", [], |t, bad| { t.rd = Rd::default(); });
            }
        }
        // ---- faults
        let out_now = (0..ND).filter(|&d| s.drv[d] != UP).count();
        for d in 0..ND {
            if s.drv[d] == UP && s.left.away > 0 && out_now == 0 { step!(out, s, Fault, "d{0} goes away", [d], |t, bad| { t.drv[d] = AWAY; t.left.away -= 1; }); }
            if s.drv[d] == AWAY { step!(out, s, Fault, "d{0} returns with its old content", [d], |t, bad| { t.drv[d] = UP; }); }
            if s.drv[d] != DEAD && s.left.dead > 0 && (out_now == 0 || s.drv[d] == AWAY) {
                step!(out, s, Fault, "d{0} is lost", [d], |t, bad| { t.drv[d] = DEAD; t.rec[d] = [0; NB]; t.left.dead -= 1; });
            }
        }
        // §6 "A wrong CRC is repaired in the background": found, taken out and queued
        if s.left.rot > 0 { for b in 0..NB { let p = s.db.brow[b]; if p == NO || s.db.refs[b] == 0 || s.reachable(b as u8, p) <= s.db.pg[p as usize].k { continue; }
            for i in 0..s.db.pg[p as usize].n { let d = s.db.pg[p as usize].mem[i as usize];
                if s.up(d) && s.has(d, b as u8, p, i) { step!(out, s, Fault, "a wrong CRC in shard {1} of blob {0} on d{2} is found and queued", [b, i, d], |t, bad| {
                    t.left.rot -= 1; t.rec[d as usize][b] &= !bit(p, i); t.db.repq |= rbit(b as u8, p, i);
                    if s.rp.ph != 0 && s.rp.b == b as u8 && s.rp.p == p && s.rp.i == i { t.rp.again = true; }
                }); }
            }
        } }
        // §9 asynchronous standby: what it has is a prefix of the primary's commits
        if c.replica {
            if s.rep != s.db { step!(out, s, Progress, "the standby catches up", [], |t, bad| { t.rep = t.db; }); }
            if s.left.failover > 0 { step!(out, s, Fault, "failover: commits that the standby lacks are lost; deletion pauses (rule 3)", [], |t, bad| {
                t.left.failover -= 1; t.db = t.rep; t.paused = true; t.gone = 0; // `paused` also tells that a failover has been
                for x in 0..5 { if t.be[x].ph != 0 { t.be[x] = Be::default(); } }
                for u in 0..2 { if t.upl[u].ph == 3 { t.upl[u].ph = 4; } }
                if t.re.ph == 3 || t.re.ph == 5 { t.re = Re::default(); }
                // [F15] what was looked up before may be undone now
                if r.f15_timeline {
                    t.mv = Default::default(); t.lease = Default::default(); t.re = Re::default(); t.gc = Gc::default();
                    t.col = Default::default(); t.scan = Sc::default(); t.rp = Rp::default();
                }
            }); }
        }
    }
}

// after the macros that it uses
mod steps;
