//! What may happen next: uploaders, Postgres backends, cleaners, movers, re-encoding.
use super::*;

impl State {
    pub(super) fn uploaders(&self, c: &Scene, r: &Rules, out: &mut Vec<Step>) {
        let s = self;
        for u in 0..2usize {
            let w = &s.upl[u];
            let g = s.db.pg[w.pg as usize];
            let x = u * 2 + w.att as usize;
            match w.ph {
                // §5.1 "opens an upload with a PG chosen by placement" (the view may be stale: any state)
                0 => for p in 0..NP as u8 { if c.uploads[u] & (1 << p) != 0 {
                    step!(out, s, Client, "uploader {0} opens blob {0} in PG {1}", [u, p], |t, bad| { t.upl[u].ph = 1; t.upl[u].pg = p; });
                } },
                // §5.5 "each member makes its shard durable and answers"; suspect members are left out
                1 if w.i < g.n => {
                    let d = c.pgs[w.pg as usize].2[w.i as usize]; // the uploader's view of the members
                    step!(out, s, Progress, "uploader {0} writes shard {1} on d{2}", [u, w.i, d], |t, bad| {
                        t.upl[u].i += 1;
                        if s.up(d) { t.rec[d as usize][u] |= bit(w.pg, w.i); t.upl[u].ok |= 1 << w.i; }
                    });
                }
                // §5.5 "k + max(1, m - 1) answers are the least"
                1 => {
                    let m = g.n - g.k; let least = if m == 0 || !r.quorum { g.k } else { g.k + 1.max(m - 1) };
                    if w.ok.count_ones() as u8 >= least { step!(out, s, Progress, "uploader {0} has its quorum", [u], |t, bad| { t.upl[u].ph = 2; }); }
                    else { step!(out, s, Progress, "uploader {0} fails: no quorum", [u], |t, bad| { t.upl[u].ph = 6; }); }
                }
                // §5.6 "The metadata writer commits the row"
                2 => step!(out, s, Progress, "uploader {0} sends batch {1}", [u, x], |t, bad| { t.upl[u].ph = 3; t.be[x] = Be { ph: 1, ..Be::default() }; }),
                3 => {
                    if s.db.batch[x] == 1 { step!(out, s, Progress, "uploader {0} is acknowledged", [u], |t, bad| { t.upl[u].ph = 5; }); }
                    else if s.be[x].ph == 5 { step!(out, s, Progress, "uploader {0} learns that the commit was refused", [u], |t, bad| { t.upl[u].ph = 6; t.be[x] = Be::default(); }); }
                    if s.left.conn > 0 {
                        step!(out, s, Fault, "uploader {0} loses the connection to Postgres", [u], |t, bad| { t.upl[u].ph = 4; t.left.conn -= 1; });
                        if s.be[x].ph == 1 { step!(out, s, Fault, "uploader {0} loses the connection, batch {1} never arrives", [u, x], |t, bad| { t.upl[u].ph = 4; t.left.conn -= 1; t.be[x] = Be::default(); }); }
                    }
                }
                // §13.1 "settled on the primary by inserting that id as aborted (a conflict means that it committed)";
                // the insert waits for a transaction that has inserted the same id
                4 => {
                    if r.settle {
                        if s.db.batch[x] == 1 { step!(out, s, Progress, "uploader {0} settles batch {1}: it committed, acknowledged", [u, x], |t, bad| { t.upl[u].ph = 5; }); }
                        else if s.be[x].ph < 3 || s.be[x].ph == 5 { step!(out, s, Progress, "uploader {0} settles batch {1} as aborted", [u, x], |t, bad| {
                            t.db.batch[x] = 2; if t.be[x].ph == 5 { t.be[x] = Be::default(); }
                            if w.att == 0 { t.upl[u].att = 1; t.upl[u].ph = 2; } else { t.upl[u].ph = 6; }
                        }); }
                    } else if w.att == 0 {
                        step!(out, s, Progress, "MUTATION uploader {0} sends again blindly", [u], |t, bad| { t.upl[u].att = 1; t.upl[u].ph = 2; });
                    }
                    if !r.only_collector { step!(out, s, Progress, "MUTATION uploader {0} gives up and removes its shards", [u], |t, bad| {
                        t.upl[u].ph = 6;
                        for d in 0..ND { if s.drv[d] == UP { t.rec[d][u] = 0; } }
                    }); }
                }
                _ => {}
            }
            // [F14] literal: nothing says how long the row stays
            if !r.f14_keep_batches { for y in [u * 2, u * 2 + 1] { if s.db.batch[y] == 2 {
                step!(out, s, Fault, "the settled row of batch {0} is deleted by age", [y], |t, bad| { t.db.batch[y] = 0; });
            } } }
            if (1..=4).contains(&w.ph) {
                if s.left.crash > 0 { step!(out, s, Fault, "uploader {0} crashes", [u], |t, bad| { t.upl[u].ph = 7; t.upl[u].live = false; t.left.crash -= 1; }); }
                // §13.4 node lease; an expired uploader goes on unaware
                if w.live && c.closer && s.left.expire > 0 { step!(out, s, Fault, "uploader {0} is paused and its lease expires", [u], |t, bad| { t.upl[u].live = false; t.left.expire -= 1; }); }
            }
        }
    }

    /// §9 "COPY stage …; EXECUTE merge: one implicit transaction", READ COMMITTED.
    pub(super) fn backends(&self, _c: &Scene, r: &Rules, out: &mut Vec<Step>) {
        let s = self;
        for x in 0..5usize {
            let e = s.be[x]; if e.ph == 0 || e.ph == 5 { continue; }
            let (b, p) = if x == RE { (s.re.b, s.re.q) } else { ((x / 2) as u8, s.upl[x / 2].pg) };
            let g = s.db.pg[p as usize];
            match e.ph {
                // §13.2 "A commit has its transaction id before the merge's snapshot (the COPY gives it one)"
                1 => step!(out, s, Progress, "backend {0} starts: transaction id", [x], |t, bad| { t.be[x].ph = 2; }),
                // the merge's statement snapshot, and the insert into commit_batches
                2 => {
                    if x != RE && s.db.batch[x] != 0 { step!(out, s, Progress, "backend {0} aborts: its batch id is taken", [x], |t, bad| { t.be[x].ph = 5; }); }
                    else { step!(out, s, Progress, "backend {0} takes the merge's snapshot", [x], |t, bad| {
                        t.be[x] = Be { ph: 3, cond: s.db.cond & cbit(b, p) != 0, pgst: g.st };
                    }); }
                }
                // §7 "Commits accept open and sealed PGs (shared lock on the row)"; a locked row is read anew.
                // [F4] literal: the re-encoder's compare-and-set neither locks nor looks at the target PG
                3 => {
                    if x != RE && s.key_locked() { continue; }
                    let lock = r.pg_lock && (x != RE || r.f4_reencode_is_commit);
                    let st = if lock { g.st } else if x == RE && !r.f4_reencode_is_commit { OPEN } else { e.pgst };
                    let cond = e.cond && r.condemned_check && (x != RE || r.f3_superseded == 2);
                    if cond || st == CLOSED { step!(out, s, Progress, "backend {0} aborts: blob {1} condemned or PG {2} closed", [x, b, p], |t, bad| { t.be[x].ph = 5; }); }
                    else { step!(out, s, Progress, "backend {0} has the locks on PG {1} and the rows", [x, p], |t, bad| { t.be[x].ph = 4; }); }
                }
                4 if x == RE => {
                    // §7 "compare-and-set of the PG in the blob's row"
                    let ok = s.db.brow[b as usize] == s.re.p && s.db.refs[b as usize] != 0;
                    if ok { step!(out, s, Progress, "backend {0} commits: blob {1} is in PG {2}", [x, b, p], |t, bad| { t.be[x] = Be::default(); t.db.brow[b as usize] = p;
                        if s.re.ph == 5 { t.re = Re::default(); } else { t.re.ph = 4; t.re.i = 0; }
                    }); }
                    else { step!(out, s, Progress, "backend {0} aborts: blob {1} changed", [x, b], |t, bad| { t.be[x] = Be::default(); t.re = Re::default(); }); }
                }
                // §5.5 "what is missing goes to the repair queue in the same transaction as the object"
                4 => step!(out, s, Progress, "backend {0} commits: key 0 -> blob {1} in PG {2}", [x, b, p], |t, bad| {
                    if s.gone & (1 << b) != 0 { bad = Some("I3 a version that was overwritten or deleted is visible again"); }
                    // §13.1 "The merge never drops a reference to the blob it writes"
                    if s.db.obj[0] != b { t.drop_ref(0); }
                    t.db.obj[0] = b; t.db.hint[0] = p; t.db.brow[b as usize] = p; t.db.refs[b as usize] |= 1; t.db.gcq &= !(1 << b);
                    if r.repair_same_tx { for i in 0..g.n { if s.upl[x / 2].ok & (1 << i) == 0 { t.db.repq |= rbit(b, p, i); } } }
                    t.db.batch[x] = 1; t.be[x] = Be::default();
                }),
                _ => {}
            }
        }
    }

    pub(super) fn cleaners(&self, c: &Scene, r: &Rules, out: &mut Vec<Step>) {
        let s = self;
        // §13.3 "after either changes, deletion pauses": every removal below asks `may`
        let may = !s.paused || !r.pause;
        // ---- orphan collector, §13.2. A suspect is (blob, PG).
        for j in 0..c.collectors {
            let k = s.col[j];
            match k.ph {
                // §6 "each drive can ask for its old blobs by primary key" ("Time limits only decide when to try": any age).
                // [F3] literal: only blobs without a row
                0 => for b in 0..NB as u8 { for p in 0..NP as u8 {
                    let row = s.db.brow[b as usize];
                    // [F2] rows that a crashed collector left behind
                    if r.f2_uncondemn && row == p && s.db.cond & cbit(b, p) != 0 && s.col.iter().all(|o| o.ph == 0) {
                        step!(out, s, Progress, "collector {0} finds blob {1} condemned and referenced", [j, b], |t, bad| { t.db.cond &= !cbit(b, p); });
                    }
                    // [F1] no commit into a closed PG can come any more
                    if s.db.cond & cbit(b, p) != 0 && s.db.pg[p as usize].st == CLOSED && s.col.iter().all(|o| o.ph == 0 || o.b != b || o.p != p) {
                        step!(out, s, Progress, "collector {0} forgets condemned (blob {1}, PG {2}): the PG is closed", [j, b, p], |t, bad| { t.db.cond &= !cbit(b, p); });
                    }
                    if row == p || (row != NO && r.f3_superseded == 0) { continue; }
                    let seen = (0..ND).any(|d| s.drv[d] == UP && s.rec[d][b as usize] & (7 << (p * 3)) != 0);
                    if seen && may { step!(out, s, Progress, "collector {0} suspects blob {1} in PG {2}", [j, b, p], |t, bad| {
                        t.col[j] = Col { ph: 1, b, p, x: xids(s, r), d: 0 };
                    }); }
                } },
                // "commit the suspects' ids to condemned; take X = pg_snapshot_xmax"
                1 => step!(out, s, Progress, "collector {0} commits (blob {1}, PG {2}) to condemned and takes X", [j, k.b, k.p], |t, bad| {
                    t.db.cond |= cbit(k.b, k.p); t.col[j].ph = 2; if r.x_after_condemn { t.col[j].x = xids(s, r); }
                }),
                // "wait until pg_snapshot_xmin(pg_current_snapshot()) >= X"
                2 => if k.x & xids(s, r) == 0 || !r.xmin_wait {
                    step!(out, s, Progress, "collector {0} has waited", [j], |t, bad| { t.col[j].ph = 3; t.col[j].x = 0; });
                },
                // "look for references; only then delete". A row without references is the GC's.
                3 => {
                    let kept = s.db.brow[k.b as usize] == k.p && r.look_again;
                    if kept { step!(out, s, Progress, "collector {0} finds blob {1} referenced", [j, k.b], |t, bad| {
                        // [F2]
                        if r.f2_uncondemn { t.db.cond &= !cbit(k.b, k.p); }
                        t.col[j] = Col::default();
                    }); }
                    // [F12] the row of `condemned` is on the standby
                    else if !r.f12_replicated || !c.replica || s.rep.cond & cbit(k.b, k.p) != 0 && s.rep.brow[k.b as usize] != k.p {
                        step!(out, s, Progress, "collector {0} finds no reference to blob {1} in PG {2}", [j, k.b, k.p], |t, bad| { t.col[j].ph = 4; });
                    }
                }
                4 => {
                    if (k.d as usize) < ND {
                        if may { step!(out, s, Progress, "collector {0} removes blob {1}, PG {2} from d{3}", [j, k.b, k.p, k.d], |t, bad| {
                            t.col[j].d += 1;
                            if s.up(k.d) { t.remove(k.d, k.b, k.p, r, &mut bad); }
                        }); }
                    } else { step!(out, s, Progress, "collector {0} is done", [j], |t, bad| {
                        // [F1] literal: nothing says how long a row stays in `condemned`
                        if !r.f1_keep_condemned { t.db.cond &= !cbit(k.b, k.p); }
                        t.col[j] = Col::default();
                    }); }
                }
                _ => {}
            }
            if k.ph != 0 && s.left.crash > 0 { step!(out, s, Fault, "collector {0} crashes", [j], |t, bad| { t.col[j] = Col::default(); t.left.crash -= 1; }); }
        }
        // ---- garbage collector of replaced blobs, §6 "Garbage goes after a grace"
        if c.gc && may {
            match s.gc.ph {
                0 => for b in 0..NB as u8 { if s.db.gcq & (1 << b) != 0 {
                    let read = s.rd.ph == 1 && s.rd.b == b;
                    if read && r.gc_waits_readers { continue; }
                    // [F12]
                    if r.f12_replicated && c.replica && s.rep.gcq & (1 << b) == 0 { continue; }
                    // §13.3 "References are checked again at deletion"
                    if s.db.refs[b as usize] != 0 { step!(out, s, Progress, "GC finds blob {0} referenced again", [b], |t, bad| { t.db.gcq &= !(1 << b); }); }
                    else { step!(out, s, Progress, "GC takes blob {0}: no reference", [b], |t, bad| { t.gc = Gc { ph: 1, b, i: 0 }; }); }
                } },
                _ => {
                    let b = s.gc.b; let p = s.db.brow[b as usize];
                    if p != NO && s.gc.i < s.db.pg[p as usize].n {
                        let d = s.db.pg[p as usize].mem[s.gc.i as usize];
                        step!(out, s, Progress, "GC removes blob {0} from d{1}", [b, d], |t, bad| {
                            t.gc.i += 1;
                            if s.up(d) { t.remove(d, b, p, r, &mut bad); }
                            if s.rd.ph == 1 && s.rd.b == b { bad = Some("I2 a blob is removed under a running read that nobody cut"); }
                        });
                    } else { step!(out, s, Progress, "GC removes the row of blob {0}", [b], |t, bad| {
                        if s.db.refs[b as usize] != 0 { bad = Some("I4 the row of a referenced blob is removed"); }
                        t.db.brow[b as usize] = NO; t.db.gcq &= !(1 << b); t.gc = Gc::default();
                        for p in 0..NP as u8 { for i in 0..3 { t.db.repq &= !rbit(b, p, i); } }
                    }); }
                    if s.left.crash > 0 { step!(out, s, Fault, "GC crashes", [], |t, bad| { t.gc = Gc::default(); t.left.crash -= 1; }); }
                }
            }
        }
        // ---- [F7] a drive removes records of PGs in whose row it is no longer (and not about to be) member i
        if r.f7_stale_members > 0 && c.movers > 0 {
            let k = s.scan;
            if k.ph == 0 && may {
                for d in 0..ND as u8 { if s.up(d) { for b in 0..NB as u8 { for p in 0..NP as u8 { for i in 0..3 {
                    let g = &s.db.pg[p as usize];
                    if s.has(d, b, p, i) && s.db.brow[b as usize] == p && g.mem[i as usize] != d && !(g.inc_i == i && g.inc_d == d) {
                        if r.f12_replicated && c.replica && s.rep.pg[p as usize] != *g { continue; }
                        step!(out, s, Progress, "d{0} finds that it is not member {3} of PG {2} (blob {1})", [d, b, p, i], |t, bad| { t.scan = Sc { ph: 1, d, b, p, i, gen: g.gen }; });
                    }
                } } } } }
            } else if k.ph == 1 {
                step!(out, s, Progress, "d{0} removes its stale record: blob {1}, PG {2}, index {3}", [k.d, k.b, k.p, k.i], |t, bad| {
                    t.scan = Sc::default();
                    let old = r.f9_fence && s.known[k.d as usize][k.p as usize] > k.gen;
                    if may && s.up(k.d) && !old {
                        if s.db.brow[k.b as usize] == k.p && s.db.refs[k.b as usize] != 0 && s.db.pg[k.p as usize].mem[k.i as usize] == k.d { bad = Some("I4 a record of a referenced blob is removed from its member"); }
                        t.rec[k.d as usize][k.b as usize] &= !bit(k.p, k.i);
                    }
                });
            }
        }
        // ---- sealer and closer, §7 "one node at a time, holding a lease in the database, seals and closes"
        if c.closer { for p in 0..NP as u8 {
            let g = s.db.pg[p as usize];
            // §7 "A PG is sealed when a member is dead, when no slot's winners are its members any more, or at 64 GiB"
            if g.st == OPEN && c.pgs[p as usize].3 == OPEN { step!(out, s, Progress, "sealer seals PG {0}", [p], |t, bad| { t.db.pg[p as usize].st = SEALED; }); }
            // §7 "It is closed (exclusive lock) once no live node reports an upload in it"
            if g.st == SEALED {
                let live = (0..2).any(|u| s.upl[u].live && (1..=4).contains(&s.upl[u].ph) && s.upl[u].pg == p);
                let locked = r.pg_lock && (0..5).any(|x| s.be[x].ph == 4 && if x == RE { s.re.q == p && r.f4_reencode_is_commit } else { s.upl[x / 2].pg == p });
                if !live && !locked { step!(out, s, Progress, "closer closes PG {0}", [p], |t, bad| { t.db.pg[p as usize].st = CLOSED; }); }
            }
        } }
        // ---- repairer, §13.4 "Repair entries name (blob, PG, index) and are removed only with a generation check"
        if c.repair {
            let k = s.rp;
            match k.ph {
                0 => for b in 0..NB as u8 { for p in 0..NP as u8 { for i in 0..3 { if s.db.repq & rbit(b, p, i) != 0 {
                    let g = &s.db.pg[p as usize]; let d = g.mem[i as usize];
                    if s.db.brow[b as usize] != p { step!(out, s, Progress, "repairer drops an entry of blob {0}, which left PG {1}", [b, p], |t, bad| { t.db.repq &= !rbit(b, p, i); }); }
                    else if s.up(d) { step!(out, s, Progress, "repairer takes (blob {0}, PG {1}, index {2})", [b, p, i], |t, bad| { t.rp = Rp { ph: 1, b, p, i, gen: g.gen, d, again: false }; }); }
                } } } },
                1 => {
                    let can = s.has(k.d, k.b, k.p, k.i) || s.db.brow[k.b as usize] == k.p && s.reachable(k.b, k.p) >= s.db.pg[k.p as usize].k;
                    if can && s.up(k.d) { step!(out, s, Progress, "repairer rebuilds shard {1} of blob {0} on d{2}", [k.b, k.i, k.d], |t, bad| { t.rp.ph = 2; t.rec[k.d as usize][k.b as usize] |= bit(k.p, k.i); }); }
                    else { step!(out, s, Progress, "repairer lets go", [], |t, bad| { t.rp = Rp::default(); }); }
                }
                _ => step!(out, s, Progress, "repairer removes the entry (blob {0}, PG {1}, index {2}) if the generation is {3}", [k.b, k.p, k.i, k.gen], |t, bad| {
                    if (s.db.pg[k.p as usize].gen == k.gen || !r.repair_gen) && !(k.again && r.f13_entry_version) { t.db.repq &= !rbit(k.b, k.p, k.i); }
                    t.rp = Rp::default();
                }),
            }
        }
    }

    /// A removal by blob id on drive d. [F5] literal: it names the blob only.
    pub(super) fn remove(&mut self, d: u8, b: u8, p: u8, r: &Rules, bad: &mut Option<&'static str>) {
        let what = if r.f5_delete_names_pg { 7u16 << (p * 3) } else { 0x1ff };
        let q = self.db.brow[b as usize];
        if q != NO && self.db.refs[b as usize] != 0 {
            let g = &self.db.pg[q as usize];
            for i in 0..g.n { if g.mem[i as usize] == d && self.has(d, b, q, i) && what & bit(q, i) != 0 { *bad = Some("I4 a record of a referenced blob is removed from its member"); } }
        }
        self.rec[d as usize][b as usize] &= !what;
    }

    pub(super) fn movers(&self, c: &Scene, r: &Rules, out: &mut Vec<Step>) {
        let s = self;
        for j in 0..c.movers {
            let k = s.mv[j]; let pi = k.p as usize;
            match k.ph {
                // §7 "Only closed PGs move"; §13.4 "one mover per PG (lease)", "only after gossip and lease agree"
                0 => for p in 0..NP as u8 { let g = s.db.pg[p as usize]; if g.n == 0 || s.lease[p as usize] != 0 { continue; }
                    if !(g.st == CLOSED || g.st == SEALED && !r.only_closed) { continue; }
                    for i in 0..g.n { let old = g.mem[i as usize];
                        let want = s.drv[old as usize] != UP || g.inc_i == i;
                        if !want && s.left.drain == 0 { continue; }
                        for new in 0..ND as u8 { if !s.up(new) || g.mem[..g.n as usize].contains(&new) { continue; }
                            step!(out, s, Progress, "mover {0} starts: PG {1}, member {2} to d{3}", [j, p, i, new], |t, bad| {
                                if !want { t.left.drain -= 1; }
                                t.lease[p as usize] = j as u8 + 1;
                                // [F8] the intent is committed, and the target told, before the first byte is copied
                                if r.f8_move_intent { let h = &mut t.db.pg[p as usize]; h.gen += 1; h.inc_i = i; h.inc_d = new; t.known[new as usize][p as usize] = h.gen; }
                                let mut todo = 0;
                                for b in 0..NB as u8 { if s.db.brow[b as usize] == p {
                                    // [F10] literal: the old member's inventory where it answers
                                    if r.f10_rows || !s.up(old) || s.has(old, b, p, i) { todo |= 1 << b; }
                                } }
                                t.mv[j] = Mv { ph: 1, p, i, old, new, gen: t.db.pg[p as usize].gen, todo };
                            });
                        }
                    }
                },
                // §7 "A mover copies or rebuilds one member's shards onto its replacement"
                1 if k.todo != 0 => {
                    let b = k.todo.trailing_zeros() as u8;
                    let gone = s.db.brow[b as usize] != k.p;
                    let have = s.has(k.new, b, k.p, k.i);
                    let src = s.up(k.old) && s.has(k.old, b, k.p, k.i) || s.reachable(b, k.p) >= s.db.pg[pi].k;
                    let refused = r.f9_fence && s.known[k.new as usize][pi] > k.gen;
                    if !s.up(k.new) || refused { step!(out, s, Progress, "mover {0} gives up: d{1} is away or knows a newer generation", [j, k.new], |t, bad| { t.stop(j); }); }
                    else if gone || have || src { step!(out, s, Progress, "mover {0} copies or rebuilds blob {1} on d{2}", [j, b, k.new], |t, bad| {
                        t.mv[j].todo &= !(1 << b);
                        if !gone { t.rec[k.new as usize][b as usize] |= bit(k.p, k.i); }
                    }); }
                }
                // §7 "then changes one row (members[i], generation + 1, compare-and-set)"
                1 => {
                    let g = s.db.pg[pi];
                    if g.gen == k.gen || !r.cas { step!(out, s, Progress, "mover {0} switches PG {1}, member {2} to d{3}", [j, k.p, k.i, k.new], |t, bad| {
                        let h = &mut t.db.pg[pi]; h.mem[k.i as usize] = k.new; h.gen += 1; h.inc_i = NO; h.inc_d = NO;
                        t.mv[j].ph = 2; t.mv[j].gen = h.gen;
                        if s.up(k.new) { t.known[k.new as usize][pi] = h.gen; }
                        for b in 0..NB { if s.db.refs[b] != 0 && t.missing(b) > s.missing(b) { bad = Some("I6 a move makes a good shard fewer"); } }
                    }); } else { step!(out, s, Progress, "mover {0} fails its compare-and-set", [j], |t, bad| { t.stop(j); }); }
                }
                // §7 "then compares inventories once more before the old copy goes"
                2 => step!(out, s, Progress, "mover {0} compares inventories", [j], |t, bad| {
                    t.mv[j].ph = 3;
                    for b in 0..NB as u8 { if r.compare && s.db.brow[b as usize] == k.p && s.up(k.old) && s.up(k.new) && s.has(k.old, b, k.p, k.i) { t.rec[k.new as usize][b as usize] |= bit(k.p, k.i); } }
                }),
                // §7 "the old copy goes" ([F9] with the generation it rests upon, [F12] once that is on the standby)
                3 => if !(r.f12_replicated && c.replica && s.rep.pg[pi].gen < k.gen) && (!s.paused || !r.pause) { step!(out, s, Progress, "mover {0} removes the old copies of PG {1} from d{2}", [j, k.p, k.old], |t, bad| {
                    let old = r.f9_fence && s.known[k.old as usize][pi] > k.gen;
                    if s.up(k.old) && !old { for b in 0..NB {
                        if s.has(k.old, b as u8, k.p, k.i) && s.db.brow[b] == k.p && s.db.refs[b] != 0 && s.db.pg[pi].mem[k.i as usize] == k.old { bad = Some("I4 a record of a referenced blob is removed from its member"); }
                        t.rec[k.old as usize][b] &= !bit(k.p, k.i);
                    } }
                    t.stop(j);
                }); },
                _ => {}
            }
            if k.ph != 0 && s.left.crash > 0 { step!(out, s, Fault, "mover {0} crashes", [j], |t, bad| { t.stop(j); t.left.crash -= 1; }); }
            if k.ph != 0 && s.left.expire > 0 && s.lease[pi] == j as u8 + 1 { step!(out, s, Fault, "mover {0} is paused and loses its lease", [j], |t, bad| { t.lease[pi] = 0; t.left.expire -= 1; }); }
        }
    }
    pub(super) fn stop(&mut self, j: usize) {
        let p = self.mv[j].p as usize;
        if self.lease[p] == j as u8 + 1 { self.lease[p] = 0; }
        self.mv[j] = Mv::default();
    }

    /// §7 "what was written so is re-encoded into full PGs (new shards, then compare-and-set of the PG in the blob's row)".
    /// The same serves §5.5 "rebuilt on a substitute at once": a PG that is not closed cannot change its members.
    pub(super) fn reencoder(&self, c: &Scene, r: &Rules, out: &mut Vec<Step>) {
        let s = self;
        let k = s.re;
        match k.ph {
            0 => if s.left.reencode > 0 && s.be[RE].ph == 0 { for b in 0..NB as u8 { let p = s.db.brow[b as usize]; if p == NO || s.db.refs[b as usize] == 0 { continue; }
                for q in 0..NP as u8 { let g = &s.db.pg[q as usize]; if q == p || g.n == 0 || g.st != OPEN { continue; }
                    step!(out, s, Progress, "re-encoder takes blob {0}: PG {1} to PG {2}", [b, p, q], |t, bad| { t.left.reencode -= 1; t.re = Re { ph: 1, b, p, q, i: 0 }; });
                }
            } },
            1 => {
                let d = c.pgs[k.q as usize].2[k.i as usize];
                let src = s.db.brow[k.b as usize] == k.p && s.reachable(k.b, k.p) >= s.db.pg[k.p as usize].k;
                if !src || !s.up(d) { step!(out, s, Progress, "re-encoder gives up", [], |t, bad| { t.re = Re::default(); }); }
                else { step!(out, s, Progress, "re-encoder writes shard {1} of blob {0}, PG {2}, on d{3}", [k.b, k.i, k.q, d], |t, bad| {
                    t.rec[d as usize][k.b as usize] |= bit(k.q, k.i); t.re.i += 1;
                    if t.re.i == s.db.pg[k.q as usize].n { t.re.ph = 2; }
                }); }
            }
            2 => step!(out, s, Progress, "re-encoder sends its compare-and-set", [], |t, bad| { t.re.ph = 3; t.be[RE] = Be { ph: 1, ..Be::default() }; }),
            3 | 5 => if s.be[RE].ph == 5 { step!(out, s, Progress, "re-encoder learns that it was refused", [], |t, bad| { t.be[RE] = Be::default(); t.re = Re::default(); }); },
            _ => {
                // the old shards; what an unreachable drive keeps is left to the collector ([F3])
                let g = &s.db.pg[k.p as usize];
                if k.i < g.n {
                    let d = g.mem[k.i as usize];
                    if !(r.f12_replicated && c.replica && s.rep.brow[k.b as usize] == k.p) && (!s.paused || !r.pause) {
                        step!(out, s, Progress, "re-encoder removes blob {0}, PG {1} from d{2}", [k.b, k.p, d], |t, bad| { t.re.i += 1; if s.up(d) { t.remove(d, k.b, k.p, r, &mut bad); } });
                    }
                } else { step!(out, s, Progress, "re-encoder is done", [], |t, bad| { t.re = Re::default(); }); }
            }
        }
        if (1..=4).contains(&k.ph) && s.left.crash > 0 { step!(out, s, Fault, "re-encoder crashes", [], |t, bad| {
            if k.ph == 3 { t.re.ph = 5; } else { t.re = Re::default(); }
            t.left.crash -= 1;
        }); }
    }
}

/// Backends whose transaction id is older than X and still running (what pg_snapshot_xmin waits for).
/// MUTATION snapshot before id: the id comes only with the first write, after the merge's snapshot.
fn xids(s: &State, r: &Rules) -> u8 {
    let from = if r.xid_before_snapshot { 2 } else { 4 };
    (0..5).filter(|&x| s.be[x].ph >= from && s.be[x].ph < 5).fold(0, |m, x| m | 1 << x)
}
